#!/usr/bin/env bash
#
# Subject      cypcap 0.6.3 (with libpcap 1.10.6 inside) and pycapng 0.19.7, beside
#              dpkt 1.9.8 (all PyPI).
# Expected     A capture file whose magic number is a1b23c4d counts the fraction of a
#              second in nanoseconds (draft-ietf-opsawg-pcap). libpcap gives them on
#              request (PCAP_TSTAMP_PRECISION_NANO); a binding that offers the request
#              then divides by a thousand million.
# Happens      Both divide by a million all the same, so 0.25 s become 250 s: packets
#              are up to 16 minutes and 39 seconds late, each by another amount, and
#              their order is lost where a second begins. In cypcap that is so for
#              *every* file as soon as nanoseconds are asked for, and right without;
#              in pycapng for every file that has them.
# Why it       More precision gives a worse time. One second of traffic is spread over
# matters      a quarter of an hour, and the log rows it belongs to are elsewhere.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    cypcap==0.6.3 pycapng==0.19.7 dpkt==1.9.8

cat > "$tmp/run.py" <<'PY'
import struct, sys
import cypcap, dpkt, pycapng

START = 1767225600  # 2026-01-01T00:00:00Z
frame = bytes.fromhex("020000000002020000000001 88b5") + bytes(46)


def capture(magic, units):
    head = struct.pack("<IHHiIII", magic, 2, 4, 0, 0, 262144, 1)
    times = (START, units // 4), (START + 1, 0)
    return head + b"".join(struct.pack("<IIII", *time, 60, 60) + frame for time in times)


def late(times):
    return ["%.2f" % (float(time) - START) for time in times]


for name, magic, units in (("micro", 0xA1B2C3D4, 10**6), ("nano", 0xA1B23C4D, 10**9)):
    path = f"{sys.argv[1]}/{name}.pcap"
    with open(path, "wb") as out:
        out.write(capture(magic, units))
    with open(path, "rb") as file:
        print(name, "dpkt", *late(time for time, _ in dpkt.pcap.Reader(file)))
    for asked in cypcap.TstampPrecision:
        with cypcap.open_offline(path, asked) as packets:
            print(name, "cypcap", asked.name, *late(head.ts for head, _ in packets if head))
    print(name, "pycapng", *late(p.timestamp_ns / 1e9 for p in pycapng.read_packets(path)))
PY

seen=$("$tmp/venv/bin/python" "$tmp/run.py" "$tmp" 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected='micro dpkt 0.25 1.00
micro cypcap MICRO 0.25 1.00
micro cypcap NANO 250.00 1.00
micro pycapng 0.25 1.00
nano dpkt 0.25 1.00
nano cypcap MICRO 0.25 1.00
nano cypcap NANO 250.00 1.00
nano pycapng 250.00 1.00'

echo "Two packets, 0.25 s and 1.00 s after the start; read as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: where nanoseconds come in, the first packet is 250 s late and behind the second."
