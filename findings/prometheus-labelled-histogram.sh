#!/usr/bin/env bash
#
# Subject      parse-prometheus-text-format 1.1.1 (npm), beside prom2javascript 0.2.0
#              (npm) and prometheus-client 0.26.0 (PyPI).
# Expected     A histogram with a label is as many histograms as the label has values
#              (Prometheus, "Exposition formats", histograms and summaries). The
#              parser's README says that its output aims to be compatible with
#              prom2json, which gives one entry for each.
# Happens      One entry comes out, without labels, sum or count: the buckets of the
#              value that came last, which overwrote all the others. Counters with the
#              same label are right, and nothing is raised. (Known upstream, by issue 13
#              and the open pull request 8; the README does not say so.)
# Why it       A latency histogram by cause or by server name shows one series, and
# matters      which one depends on the order in which the exporter wrote them.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

npm install --prefix "$tmp" --silent --no-audit --no-fund --ignore-scripts \
    parse-prometheus-text-format@1.1.1 prom2javascript@0.2.0 >/dev/null
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    prometheus-client==0.26.0

cat > "$tmp/metrics.txt" <<'TXT'
# TYPE tls_failures_total counter
tls_failures_total{cause="pinned"} 3
tls_failures_total{cause="expired"} 40
# TYPE tls_handshake_seconds histogram
tls_handshake_seconds_bucket{cause="pinned",le="0.1"} 1
tls_handshake_seconds_bucket{cause="pinned",le="+Inf"} 3
tls_handshake_seconds_sum{cause="pinned"} 0.5
tls_handshake_seconds_count{cause="pinned"} 3
tls_handshake_seconds_bucket{cause="expired",le="0.1"} 20
tls_handshake_seconds_bucket{cause="expired",le="+Inf"} 40
tls_handshake_seconds_sum{cause="expired"} 8
tls_handshake_seconds_count{cause="expired"} 40
TXT

cat > "$tmp/read.js" <<'JS'
const { readFileSync, createReadStream } = require("fs");
const parse = require("parse-prometheus-text-format").default || require("parse-prometheus-text-format");
const { getMetricsFromStream } = require("prom2javascript");

const file = process.argv[2];
(async () => {
    for (const metric of parse(readFileSync(file, "utf8"))) {
        for (const one of metric.metrics) {
            console.log("parse-prometheus-text-format", metric.name, JSON.stringify(one));
        }
    }
    const { tls_handshake_seconds: other } = await getMetricsFromStream(createReadStream(file));
    for (const one of other.data) console.log("prom2javascript", JSON.stringify(one));
})();
JS

cat > "$tmp/read.py" <<'PY'
import sys
from prometheus_client.parser import text_fd_to_metric_families

with open(sys.argv[1]) as file:
    for family in text_fd_to_metric_families(file):
        for sample in family.samples:
            if sample.name.endswith("seconds_count"):
                print("prometheus-client", sample.name, sample.labels, float(sample.value))
PY

seen=$({
    node "$tmp/read.js" "$tmp/metrics.txt"
    "$tmp/venv/bin/python" "$tmp/read.py" "$tmp/metrics.txt"
} 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected=$(cat <<'TXT'
parse-prometheus-text-format tls_failures_total {"value":"3","labels":{"cause":"pinned"}}
parse-prometheus-text-format tls_failures_total {"value":"40","labels":{"cause":"expired"}}
parse-prometheus-text-format tls_handshake_seconds {"buckets":{"0.1":"20","+Inf":"40"}}
prom2javascript {"labels":{"cause":"pinned"},"buckets":{"0.1":1,"+Inf":3},"count":3,"sum":0.5}
prom2javascript {"labels":{"cause":"expired"},"buckets":{"0.1":20,"+Inf":40},"count":40,"sum":8}
prometheus-client tls_handshake_seconds_count {'cause': 'pinned'} 3.0
prometheus-client tls_handshake_seconds_count {'cause': 'expired'} 40.0
TXT
)

echo "A counter and a histogram, each for two causes; read as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: of two histograms the second's buckets are left, without its label."
