#!/usr/bin/env bash
#
# Subject      scapy 2.8.0, dpkt 1.9.8 and pycapng 0.19.7, beside
#              python-pcapng 2.1.1 and pypcapkit 1.4.1.post2 (all PyPI).
# Expected     An interface's number counts within its section only: every Section
#              Header Block starts a new numbering (draft-ietf-opsawg-pcapng,
#              "Section Header Block" and "Interface Description Block"). So two
#              valid captures written one behind the other are one valid capture,
#              and each packet is timed by the interface of its own section.
# Happens      Three of the five readers never forget the first section's
#              interfaces. Nothing is raised and no packet is lost: the second
#              capture's packets come out with a clock that is a thousand times too
#              slow (21 January 1970) or too fast (around the year 57971; in pycapng
#              64 bits overflow on the way there, and it is 2438), depending on which
#              file came first.
# Why it       Captures of two taps are put together with `cat`, one in nanoseconds
# matters      and one in microseconds; a reader that joins TLS failures to firewall
#              logs by time then finds no partner for half of them.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

for name in one two; do python3 -m venv "$tmp/$name"; done
"$tmp/one/bin/pip" install --quiet --disable-pip-version-check --no-input \
    scapy==2.8.0 dpkt==1.9.8 pycapng==0.19.7
# In an environment of its own: another package claims its import name.
"$tmp/two/bin/pip" install --quiet --disable-pip-version-check --no-input \
    python-pcapng==2.1.1 pypcapkit==1.4.1.post2

cat > "$tmp/make.py" <<'PY'
import struct, sys

START = 1767225600  # 2026-01-01T00:00:00Z


def block(kind, body):
    size = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + size + body + size


def capture(digits):
    """One section, one Ethernet interface with 10^-digits s units, one packet."""
    section = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    unit = struct.pack("<HHB3xHH", 9, 1, digits, 0, 0)
    interface = block(1, struct.pack("<HHI", 1, 0, 262144) + unit)
    time = START * 10**digits + 10**digits // 4
    frame = bytes.fromhex("020000000002020000000001 88b5") + bytes(46)
    head = struct.pack("<IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame))
    return section + interface + block(6, head + frame)


for name, order in (("nano-micro", (9, 6)), ("micro-nano", (6, 9))):
    with open(f"{sys.argv[1]}/{name}.pcapng", "wb") as out:
        out.write(b"".join(map(capture, order)))
PY

cat > "$tmp/one.py" <<'PY'
import sys
import dpkt, pycapng
from scapy.utils import PcapNgReader

for name in ("nano-micro", "micro-nano"):
    path = f"{sys.argv[1]}/{name}.pcapng"
    print(name, "scapy", *("%.3f" % p.time for p in PcapNgReader(path)))
    with open(path, "rb") as file:
        print(name, "dpkt", *("%.3f" % time for time, _ in dpkt.pcapng.Reader(file)))
    print(name, "pycapng", *("%.3f" % (p.timestamp_ns / 1e9) for p in pycapng.read_packets(path)))
PY

cat > "$tmp/two.py" <<'PY'
import logging, sys
logging.disable(logging.CRITICAL)
import pcapkit
from pcapng import FileScanner
from pcapng.blocks import EnhancedPacket

for name in ("nano-micro", "micro-nano"):
    path = f"{sys.argv[1]}/{name}.pcapng"
    with open(path, "rb") as file:
        packets = [b for b in FileScanner(file) if isinstance(b, EnhancedPacket)]
    print(name, "python-pcapng", *("%.3f" % p.timestamp for p in packets))
    frames = pcapkit.extract(fin=path, nofile=True, store=True).frame
    print(name, "pypcapkit", *("%.3f" % f.info.timestamp_epoch for f in frames))
PY

python3 "$tmp/make.py" "$tmp"
seen=$({
    "$tmp/one/bin/python" "$tmp/one.py" "$tmp"
    "$tmp/two/bin/python" "$tmp/two.py" "$tmp"
} 2>"$tmp/stderr" | sort) || { cat "$tmp/stderr"; exit 1; }

expected='micro-nano dpkt 1767225600.250 1767225600250.000
micro-nano pycapng 1767225600.250 14784913247.593
micro-nano pypcapkit 1767225600.250 1767225600.250
micro-nano python-pcapng 1767225600.250 1767225600.250
micro-nano scapy 1767225600.250 1767225600250.000
nano-micro dpkt 1767225600.250 1767225.600
nano-micro pycapng 1767225600.250 1767225.600
nano-micro pypcapkit 1767225600.250 1767225600.250
nano-micro python-pcapng 1767225600.250 1767225600.250
nano-micro scapy 1767225600.250 1767225.600'

echo "Both packets of both files were taken at 1767225600.250; read as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: three of five readers time the second section by the first one's interface."
