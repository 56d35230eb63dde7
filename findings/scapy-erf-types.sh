#!/usr/bin/env bash
#
# Subject      scapy 2.8.0 (PyPI), rderf().
# Expected     ERF, the format of Endace's capture cards, numbers its record types:
#              2 Ethernet, 11, 16 and 20 Ethernet with a colour, a hash or a filter's
#              result, 22 IPv4, 27 provenance (the card's own notes), 48 padding
#              ("ERF types" reference; the same numbers are in Wireshark's reader).
#              scapy's reader is named and made for Ethernet records, so 2, 11, 16 and
#              20 should be packets and the others refused or passed over.
# Happens      It doesn't compare the number: it looks at one bit of it (the one worth
#              2). Types 16 and 20 are Ethernet and refused as "Not TYPE_ETH", while
#              an IPv4 record and the card's notes become Ethernet frames with
#              made-up addresses. And only one extension header is passed over: with
#              two, which the format chains by a bit, the second one's eight bytes
#              are read as the frame's beginning.
# Why it       A capture from such a card shows hosts that do not exist, or no TLS at
# matters      all, and the file is in order.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input scapy==2.8.0

cat > "$tmp/run.py" <<'PY'
import struct, sys
from scapy.error import Scapy_Exception
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import rderf

TAKEN = (1767225600 << 32) | (1 << 30)
packet = bytes(IP(src="192.0.2.1", dst="198.51.100.4") / TCP(sport=49153, dport=443))
frame = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")) [:12] + b"\x08\x00" + packet


def record(kind, body, extensions=b""):
    kind |= 0x80 if extensions else 0
    length = 16 + len(extensions) + len(body)
    pad = -length % 8
    head = struct.pack("<Q", TAKEN) + struct.pack(">BBHHH", kind, 4, length + pad, 0, len(frame) + 4)
    return head + extensions + body + bytes(pad)


ethernet = b"\0\0" + frame  # offset and padding byte, then the frame
host_id = struct.pack(">Q", 0x11 << 56 | 1)  # extension header 17, none behind it
flow_id = struct.pack(">Q", 0x90 << 56 | 1)  # extension header 16, and the bit for one more behind it
note = struct.pack(">HH", 21, 16) + b"gateway.example\0"  # a provenance tag: section, length, value

cases = {
    "2 Ethernet": record(2, ethernet),
    "11 Ethernet, colour": record(11, ethernet),
    "16 Ethernet, filter and colour": record(16, ethernet),
    "20 Ethernet, hash and colour": record(20, ethernet),
    "22 IPv4": record(22, packet),
    "27 provenance": record(27, note),
    "48 padding": record(48, bytes(8)),
    "2 with one extension header": record(2, ethernet, host_id),
    "2 with two extension headers": record(2, ethernet, flow_id + host_id),
}
for name, data in cases.items():
    path = f"{sys.argv[1]}/capture.erf"
    with open(path, "wb") as out:
        out.write(data)
    try:
        for read in rderf(path):
            port = read[TCP].dport if TCP in read else "none"
            print(f"{name}: from {read.src} to {read.dst}, TCP port {port}")
    except Scapy_Exception as error:
        print(f"{name}: {error}")
PY

seen=$("$tmp/venv/bin/python" "$tmp/run.py" "$tmp" 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected='2 Ethernet: from 02:00:00:00:00:01 to 02:00:00:00:00:02, TCP port 443
11 Ethernet, colour: from 02:00:00:00:00:01 to 02:00:00:00:00:02, TCP port 443
16 Ethernet, filter and colour: Invalid ERF Type (Not TYPE_ETH)
20 Ethernet, hash and colour: Invalid ERF Type (Not TYPE_ETH)
22 IPv4: from 40:06:8e:96:c0:00 to 00:28:00:01:00:00, TCP port none
27 provenance: from 77:61:79:2e:65:78 to 00:10:67:61:74:65, TCP port none
48 padding: Invalid ERF Type (Not TYPE_ETH)
2 with one extension header: from 02:00:00:00:00:01 to 02:00:00:00:00:02, TCP port 443
2 with two extension headers: from 00:00:02:00:00:00 to 00:00:00:00:00:01, TCP port none'

echo "Every Ethernet record holds the same SYN from 02:..:01 to 02:..:02, port 443; read as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: two kinds of Ethernet are refused, and what isn't Ethernet is read as it."
