#!/usr/bin/env bash
#
# Subject      read-tls-client-hello 2.0.0 (npm), beside ja4plus 1.4.0 (PyPI). The hello
#              comes from a real client: rustls, in rtls 2026.9.21 (PyPI), told to
#              speak TLS 1.2 at most.
# Expected     JA4's second part is the highest version in the supported_versions
#              extension (FoxIO's JA4.md, "TLS and DTLS Version"). A client that speaks
#              1.2 at most may send the extension all the same (RFC 8446, section
#              4.2.1, asks for it only from those that offer 1.3, and forbids it to
#              nobody); rustls does, and so does Java's JSSE.
# Happens      read-tls-client-hello looks whether the extension is there, not what it
#              says: t13 for a client that cannot speak 1.3. ja4plus says t12. All
#              that follows the version is the same in both.
# Why it       The fingerprint claims a version that the client refuses, so a service
# matters      that shows "only 1.3 clients fail" may be counting 1.2 clients; and the
#              two tools' JA4 of one Java application never join.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    rtls==2026.9.21 ja4plus==1.4.0 scapy==2.8.0
npm install --prefix "$tmp/node" --silent --no-audit --no-fund --ignore-scripts \
    read-tls-client-hello@2.0.0 >/dev/null

cat > "$tmp/hello.py" <<'PY'
import sys
import rtls

for name, highest in (("1.2", rtls.TLSVersion.TLSv1_2), ("1.3", rtls.TLSVersion.TLSv1_3)):
    context = rtls.create_default_context()
    context.maximum_version = highest
    incoming, outgoing = rtls.MemoryBIO(), rtls.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname="gw.example").do_handshake()
    except rtls.SSLWantReadError:
        pass
    with open(f"{sys.argv[1]}/{name}.hello", "wb") as out:
        out.write(outgoing.read())
PY

cat > "$tmp/ja4.py" <<'PY'
import sys
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw
from ja4plus import generate_ja4
from ja4plus.utils.tls_utils import extract_tls_info

for name in ("1.2", "1.3"):
    with open(f"{sys.argv[1]}/{name}.hello", "rb") as file:
        info = extract_tls_info(IP() / TCP(sport=49153, dport=443) / Raw(file.read()))
    offers = ",".join(f"{v:04x}" for v in info["supported_versions"])
    print(f"at most {name}, supported_versions {offers}")
    print(f"at most {name}, ja4plus {generate_ja4(info)}")
PY

cat > "$tmp/node/ja4.js" <<'JS'
const { Readable } = require("stream");
const { readFileSync } = require("fs");
const { readTlsClientHello, calculateJa4 } = require("read-tls-client-hello");

(async () => {
    for (const name of ["1.2", "1.3"]) {
        const bytes = readFileSync(`${process.argv[2]}/${name}.hello`);
        const hello = await readTlsClientHello(Readable.from([bytes], { objectMode: false }));
        console.log(`at most ${name}, read-tls-client-hello ${calculateJa4(hello)}`);
    }
})();
JS

seen=$({
    "$tmp/venv/bin/python" "$tmp/hello.py" "$tmp"
    "$tmp/venv/bin/python" "$tmp/ja4.py" "$tmp"
    node "$tmp/node/ja4.js" "$tmp"
} 2>"$tmp/stderr" | sort) || { cat "$tmp/stderr"; exit 1; }

expected='at most 1.2, ja4plus t12d100800_61a7ad8aa9b6_d711469814ef
at most 1.2, read-tls-client-hello t13d100800_61a7ad8aa9b6_d711469814ef
at most 1.2, supported_versions 0303
at most 1.3, ja4plus t13d101000_61a7ad8aa9b6_0d308c48d2a3
at most 1.3, read-tls-client-hello t13d101000_61a7ad8aa9b6_0d308c48d2a3
at most 1.3, supported_versions 0304,0303'

echo "Two hellos of one client, fingerprinted twice:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: t13 from read-tls-client-hello for a client that offers nothing above 1.2."
