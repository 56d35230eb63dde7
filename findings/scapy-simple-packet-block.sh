#!/usr/bin/env bash
#
# Subject      scapy 2.8.0 (PyPI), beside dpkt 1.9.8 and libpcap 1.10.6 as
#              cypcap 0.6.3 ships it (PyPI).
# Expected     A Simple Packet Block has no length of its own for what was kept: it is
#              the smaller of the packet's length and the interface's SnapLen, and a
#              SnapLen of 0 means "no limit" (draft-ietf-opsawg-pcapng, "Interface
#              Description Block" and "Simple Packet Block"). It has no time either,
#              so a reader gives none, or zero.
# Happens      scapy takes the 0 at its word: the packet comes out empty, without an
#              error or a warning, though all its bytes are in the file. And it has a
#              time: the moment at which it was *read*, so that two readings of one
#              file differ. dpkt skips such blocks without a word. libpcap gives
#              every byte, and the time 0.
# Why it       "The capture has no ClientHello" may be the reader's doing; and a
# matters      packet of today in a capture of last week is one without a time.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    scapy==2.8.0 dpkt==1.9.8 cypcap==0.6.3

cat > "$tmp/run.py" <<'PY'
import struct, sys, time


def block(kind, body):
    size = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + size + body + size


def capture(snaplen):
    section = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(1, struct.pack("<HHI", 1, 0, snaplen))
    frame = bytes.fromhex("020000000002020000000001 88b5") + bytes(46)
    return section + interface + block(3, struct.pack("<I", len(frame)) + frame)


import cypcap, dpkt
from scapy.utils import PcapNgReader

for snaplen in (262144, 0):
    path = f"{sys.argv[1]}/{snaplen}.pcapng"
    with open(path, "wb") as out:
        out.write(capture(snaplen))
    with cypcap.open_offline(path) as packets:
        print("snaplen", snaplen, "libpcap", [(len(data), int(head.ts)) for head, data in packets if head])
    with open(path, "rb") as file:
        print("snaplen", snaplen, "dpkt", [(len(data), int(at)) for at, data in dpkt.pcapng.Reader(file)])
    before = time.time()
    read = list(PcapNgReader(path))
    now = [(len(bytes(p)), "now" if before <= p.time <= time.time() else int(p.time)) for p in read]
    print("snaplen", snaplen, "scapy", now)
PY

seen=$("$tmp/venv/bin/python" "$tmp/run.py" "$tmp" 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected="snaplen 262144 libpcap [(60, 0)]
snaplen 262144 dpkt []
snaplen 262144 scapy [(60, 'now')]
snaplen 0 libpcap [(60, 0)]
snaplen 0 dpkt []
snaplen 0 scapy [(0, 'now')]"

echo "Each file has one packet of 60 bytes without a time; read as (bytes, time):"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: scapy empties the packet and dates it today; dpkt has none."
