#!/usr/bin/env bash
#
# Subject      scapy 2.8.0, dpkt 1.9.8, pktcap 0.1.3 and pypcapkit 1.4.1.post2 (PyPI)
#              and pcap-parser 0.2.1 (npm), beside libpcap 1.10.6 as cypcap 0.6.3
#              ships it (PyPI).
# Expected     Only the low 16 bits of the last field of a pcap file's header are the
#              link type. Above it, bit 26 says that each frame ends in its frame check
#              sequence, and the top four bits how long that is, in 16-bit words
#              (draft-ietf-opsawg-pcap, "File Header"; LT_FCS_LENGTH in libpcap's
#              pcap.h). Ethernet with 4 such bytes is 0x24000001.
# Happens      The five others take the whole field, or 28 bits of it, for the link
#              type: to scapy the same SYN is raw bytes (it warns), to pypcapkit a
#              link type that it doesn't know, to pktcap a frame without layers.
#              dpkt and pcap-parser say 603979777, so that code that asks for Ethernet
#              (1) finds none. None of the five says where the frame ends.
# Why it       A capture from a card that keeps the check sequence has no TLS in it, or
# matters      4 bytes more than the connection sent; tcpdump shows it as it should be.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

for name in one two; do python3 -m venv "$tmp/$name"; done
"$tmp/one/bin/pip" install --quiet --disable-pip-version-check --no-input \
    scapy==2.8.0 dpkt==1.9.8 pktcap==0.1.3 cypcap==0.6.3
"$tmp/two/bin/pip" install --quiet --disable-pip-version-check --no-input pypcapkit==1.4.1.post2
npm install --prefix "$tmp" --silent --no-audit --no-fund --ignore-scripts pcap-parser@0.2.1 >/dev/null

cat > "$tmp/make.py" <<'PY'
import struct, sys, zlib
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

frame = bytes(
    Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    / IP(src="192.0.2.1", dst="198.51.100.4")
    / TCP(sport=49153, dport=443, options=[("MSS", 1460), ("NOP", None), ("WScale", 7)])
)
for name, network, data in (
    ("without", 1, frame),
    ("with", 0x24000001, frame + struct.pack("<I", zlib.crc32(frame))),
):
    with open(f"{sys.argv[1]}/{name}.pcap", "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, network))
        out.write(struct.pack("<IIII", 1767225600, 0, len(data), len(data)) + data)
PY

cat > "$tmp/read.py" <<'PY'
import logging, sys
logging.disable(logging.CRITICAL)


def scapy(path):
    import scapy.layers.inet, scapy.layers.l2
    from scapy.utils import PcapReader
    with PcapReader(path) as reader:
        return f"link type {reader.linktype}; " + "/".join(layer.__name__ for layer in next(reader).layers())


def dpkt(path):
    import dpkt
    with open(path, "rb") as file:
        return f"link type {dpkt.pcap.Reader(file).datalink()}"


def pktcap(path):
    import pktcap
    [frame] = pktcap.read_dissected(path)
    layers = [type(layer).__name__ for layer in frame.layers]
    return f"link type {frame.frame.linktype}; " + ("/".join(layers) or "no layers")


def libpcap(path):
    import cypcap
    with cypcap.open_offline(path) as capture:
        return f"link type {int(capture.datalink())}"


def pypcapkit(path):
    import pcapkit
    [frame] = pcapkit.extract(fin=path, nofile=True, store=True).frame
    return frame.info.protocols


for reader in sys.argv[2:]:
    for name in ("without", "with"):
        print(f"{name}, {reader}: {globals()[reader](f'{sys.argv[1]}/{name}.pcap')}")
PY

cat > "$tmp/read.js" <<'JS'
const { parse } = require("pcap-parser");
for (const name of ["without", "with"]) {
    parse(`${process.argv[2]}/${name}.pcap`).on("globalHeader", (header) =>
        console.log(`${name}, pcap-parser: link type ${header.linkLayerType}`));
}
JS

"$tmp/one/bin/python" "$tmp/make.py" "$tmp"
seen=$({
    "$tmp/one/bin/python" "$tmp/read.py" "$tmp" libpcap scapy dpkt pktcap
    "$tmp/two/bin/python" "$tmp/read.py" "$tmp" pypcapkit
    node "$tmp/read.js" "$tmp"
} 2>"$tmp/stderr" | LC_ALL=C sort) || { cat "$tmp/stderr"; exit 1; }

expected='with, dpkt: link type 603979777
with, libpcap: link type 1
with, pcap-parser: link type 603979777
with, pktcap: link type 67108865; no layers
with, pypcapkit: Unassigned_603979777
with, scapy: link type 603979777; Raw
without, dpkt: link type 1
without, libpcap: link type 1
without, pcap-parser: link type 1
without, pktcap: link type 1; EthernetLayer/IPv4Layer/TCPLayer
without, pypcapkit: Ethernet:IPv4:TCP
without, scapy: link type 1; Ether/IP/TCP'

echo "One SYN, in a file without and in one with the frame check sequence; read as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: where the check sequence is announced, five readers find no Ethernet."
