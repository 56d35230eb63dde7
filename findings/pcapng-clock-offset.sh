#!/usr/bin/env bash
#
# Subject      scapy 2.8.0, python-pcapng 2.1.1, pycapng 0.19.7 and
#              pypcapkit 1.4.1.post2, beside dpkt 1.9.8 and libpcap 1.10.6 as
#              cypcap 0.6.3 ships it (all PyPI).
# Expected     An interface may say by how many seconds its time stamps are off
#              (option 14, if_tsoffset): a *signed* 64-bit number that readers add
#              (draft-ietf-opsawg-pcapng, "Interface Description Block"). A probe
#              may thus count from the start of its capture and give the start once.
# Happens      scapy, python-pcapng and pycapng take the option for nothing and say
#              nothing: the packet of such a probe is of 1 January 1970. pypcapkit
#              adds it, but reads it unsigned: a clock that runs ahead, and so has a
#              negative offset, is an OverflowError.
# Why it       The same capture has different times in different tools. Where one
# matters      shows 1970 or is an hour off, the file is right and the reader is not.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

for name in one two; do python3 -m venv "$tmp/$name"; done
"$tmp/one/bin/pip" install --quiet --disable-pip-version-check --no-input \
    scapy==2.8.0 dpkt==1.9.8 pycapng==0.19.7 cypcap==0.6.3
# In an environment of its own: another package claims its import name.
"$tmp/two/bin/pip" install --quiet --disable-pip-version-check --no-input \
    python-pcapng==2.1.1 pypcapkit==1.4.1.post2

cat > "$tmp/make.py" <<'PY'
import struct, sys

TAKEN = 1767225600  # 2026-01-01T00:00:00Z


def block(kind, body):
    size = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + size + body + size


def capture(offset):
    section = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    options = struct.pack("<HHqHH", 14, 8, offset, 0, 0)
    interface = block(1, struct.pack("<HHI", 1, 0, 262144) + options)
    time = (TAKEN - offset) * 10**6 + 250000
    frame = bytes.fromhex("020000000002020000000001 88b5") + bytes(46)
    head = struct.pack("<IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame))
    return section + interface + block(6, head + frame)


for name, offset in (("from-zero", TAKEN), ("hour-behind", 3600), ("hour-ahead", -3600)):
    with open(f"{sys.argv[1]}/{name}.pcapng", "wb") as out:
        out.write(capture(offset))
PY

cat > "$tmp/read.py" <<'PY'
import logging, sys
logging.disable(logging.CRITICAL)


def scapy(path):
    from scapy.utils import PcapNgReader
    return [p.time for p in PcapNgReader(path)]


def dpkt(path):
    import dpkt
    with open(path, "rb") as file:
        return [time for time, _ in dpkt.pcapng.Reader(file)]


def pycapng(path):
    import pycapng
    return [p.timestamp_ns / 1e9 for p in pycapng.read_packets(path)]


def libpcap(path):
    import cypcap
    with cypcap.open_offline(path) as capture:
        return [header.ts for header, _ in capture if header]


def python_pcapng(path):
    from pcapng import FileScanner
    from pcapng.blocks import EnhancedPacket
    with open(path, "rb") as file:
        return [b.timestamp for b in FileScanner(file) if isinstance(b, EnhancedPacket)]


def pypcapkit(path):
    import pcapkit
    return [f.info.timestamp_epoch for f in pcapkit.extract(fin=path, nofile=True, store=True).frame]


for reader in sys.argv[2:]:
    for name in ("from-zero", "hour-ahead", "hour-behind"):
        try:
            times = ["%.2f" % time for time in globals()[reader](f"{sys.argv[1]}/{name}.pcapng")]
        except Exception as error:
            times = [type(error).__name__]
        print(name, reader, *times)
PY

python3 "$tmp/make.py" "$tmp"
seen=$({
    "$tmp/one/bin/python" "$tmp/read.py" "$tmp" libpcap dpkt scapy pycapng
    "$tmp/two/bin/python" "$tmp/read.py" "$tmp" python_pcapng pypcapkit
} 2>"$tmp/stderr" | sort) || { cat "$tmp/stderr"; exit 1; }

expected='from-zero dpkt 1767225600.25
from-zero libpcap 1767225600.25
from-zero pycapng 0.25
from-zero pypcapkit 1767225600.25
from-zero python_pcapng 0.25
from-zero scapy 0.25
hour-ahead dpkt 1767225600.25
hour-ahead libpcap 1767225600.25
hour-ahead pycapng 1767229200.25
hour-ahead pypcapkit OverflowError
hour-ahead python_pcapng 1767229200.25
hour-ahead scapy 1767229200.25
hour-behind dpkt 1767225600.25
hour-behind libpcap 1767225600.25
hour-behind pycapng 1767222000.25
hour-behind pypcapkit 1767225600.25
hour-behind python_pcapng 1767222000.25
hour-behind scapy 1767222000.25'

echo "The packet of each file was taken at 1767225600.25; read as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: three readers drop the offset, one cannot take a negative one, two are right."
