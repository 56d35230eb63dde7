#!/usr/bin/env bash
#
# Subject      haralyzer 2.4.0 and mitmproxy 11.0.2 (PyPI), pagexray 4.4.4 (npm) on the
#              HTTP Archive that chrome-har 1.3.1 (npm) makes of Chrome's events.
# Expected     In an archive's timings "ssl" is a part of "connect", so that readers of
#              1.1, who don't know it, are right too: the time of a request is blocked,
#              dns, connect, send, wait and receive, without ssl. Fields that begin with
#              an underscore are ignored by all but the tool that wrote them (HAR 1.2,
#              "timings" and "Custom Fields").
# Happens      chrome-har writes it so. pagexray, of the same project, adds ssl to the
#              total all the same; haralyzer adds it to the time to first byte, and
#              chrome-har's own _queued, which gives a first byte after the last. mitmproxy
#              writes a connect without ssl: TCP took -20 ms, and by the rule the
#              request is over before its answer came.
# Why it       The file is asked for because a connection is slow. A handshake of 40 ms
# matters      is one of 80, or none, by the pair of tools; and the two errors cancel
#              out, so that a check of one tool with the other finds nothing.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

npm install --prefix "$tmp" --silent --no-audit --no-fund --ignore-scripts \
    chrome-har@1.3.1 pagexray@4.4.4 >/dev/null
for name in one two; do python3 -m venv "$tmp/$name"; done
"$tmp/one/bin/pip" install --quiet --disable-pip-version-check --no-input haralyzer==2.4.0
"$tmp/two/bin/pip" install --quiet --disable-pip-version-check --no-input mitmproxy==11.0.2

# A request by HTTPS: 5 ms blocked, 10 DNS, 20 TCP, 40 TLS, 1 to send, 20 to wait, 4 to receive.
cat > "$tmp/by-chrome.mjs" <<'JS'
import { writeFileSync } from "node:fs";
import { harFromMessages } from "chrome-har";

const url = "https://gw.example/";
const same = { requestId: "1", frameId: "F", loaderId: "1", type: "Document" };
const begin = 100; // seconds on Chrome's clock
const timing = {
    requestTime: begin, dnsStart: 5, dnsEnd: 15, connectStart: 15, sslStart: 35, sslEnd: 75, connectEnd: 75,
    sendStart: 75, sendEnd: 76, receiveHeadersEnd: 96, pushStart: 0, pushEnd: 0,
};
const request = { url, method: "GET", headers: {}, initialPriority: "VeryHigh" };
const response = {
    url, status: 200, statusText: "", headers: {}, mimeType: "text/html", protocol: "h2", timing,
    connectionId: 1, remoteIPAddress: "192.0.2.1", encodedDataLength: 100,
};
const har = harFromMessages([
    ["Page.frameStartedLoading", { frameId: "F" }],
    ["Network.requestWillBeSent",
        { ...same, request, timestamp: begin - 0.007, wallTime: 1767225600, initiator: { type: "other" } }],
    ["Network.responseReceived", { ...same, response, timestamp: begin + 0.096 }],
    ["Network.loadingFinished", { ...same, timestamp: begin + 0.1, encodedDataLength: 100 }],
    ["Page.domContentEventFired", { timestamp: begin + 0.1 }],
    ["Page.loadEventFired", { timestamp: begin + 0.1 }],
].map(([method, params]) => ({ method, params })));
writeFileSync("by-chrome.har", JSON.stringify(har));
JS

cat > "$tmp/by-mitmproxy.py" <<'PY'
import json
from mitmproxy.addons.savehar import SaveHar
from mitmproxy.test import tflow

begin = 1767225600.0  # 2026-01-01T00:00:00Z
flow = tflow.tflow(resp=True)
flow.server_conn.timestamp_start = begin
flow.server_conn.timestamp_tcp_setup = begin + 0.020
flow.server_conn.timestamp_tls_setup = begin + 0.060
flow.request.scheme = "https"
flow.request.timestamp_start = begin + 0.060
flow.request.timestamp_end = begin + 0.061
flow.response.timestamp_start = begin + 0.081
flow.response.timestamp_end = begin + 0.085
with open("by-mitmproxy.har", "w") as out:
    json.dump(SaveHar().make_har([flow]), out)
PY

cat > "$tmp/rule.py" <<'PY'
import json

for writer in ("chrome", "mitmproxy"):
    with open(f"by-{writer}.har") as file:
        entry = json.load(file)["log"]["entries"][0]
    times = {name: round(time) for name, time in entry["timings"].items()}
    parts = (times.get(name, 0) for name in ("blocked", "dns", "connect", "send", "wait", "receive"))
    print(f"{writer}: connect {times['connect']}, ssl {times['ssl']}, so TCP {times['connect'] - times['ssl']};"
          f" time {round(entry['time'])}, by the rule {sum(part for part in parts if part > 0)}")
PY

cat > "$tmp/by-haralyzer.py" <<'PY'
from haralyzer import HarParser

page = HarParser.from_file("by-chrome.har").pages[0]
timings = {name: round(time) for name, time in page.entries[0].timings.items()}
print("haralyzer, of chrome: first byte after", round(page.time_to_first_byte), "of", round(page.entries[0].time),
      "ms; _queued", timings["_queued"])
PY

cat > "$tmp/by-pagexray.js" <<'JS'
const { readFileSync } = require("fs");
const { convert } = require("pagexray");

for (const writer of ["chrome", "mitmproxy"]) {
    const har = JSON.parse(readFileSync(`by-${writer}.har`, "utf8"));
    if (har.log.pages.length === 0) { // it asks for a page
        har.log.pages.push({ id: "1", startedDateTime: har.log.entries[0].startedDateTime, title: "", pageTimings: {} });
        har.log.entries[0].pageref = "1";
    }
    const { assets } = convert(har, { includeAssets: true })[0];
    console.log(`pagexray, of ${writer}: total`, Math.round(assets[0].totalTime), "of", Math.round(har.log.entries[0].time), "ms");
}
JS

cd "$tmp"
seen=$({
    node by-chrome.mjs
    two/bin/python by-mitmproxy.py
    one/bin/python rule.py
    one/bin/python by-haralyzer.py
    node by-pagexray.js
} 2>stderr) || { cat stderr; exit 1; }

expected='chrome: connect 60, ssl 40, so TCP 20; time 100, by the rule 100
mitmproxy: connect 20, ssl 40, so TCP -20; time 85, by the rule 45
haralyzer, of chrome: first byte after 143 of 100 ms; _queued 7
pagexray, of chrome: total 140 of 100 ms
pagexray, of mitmproxy: total 85 of 85 ms'

echo "A request whose TCP takes 20 ms and whose TLS takes 40, in two archives and by two readers:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: TLS counts twice with the readers, and mitmproxy's archive is the one that suits them."
