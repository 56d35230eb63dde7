#!/usr/bin/env bash
#
# Subject      scapy 2.8.0 (PyPI), its contributed layers for ERSPAN and GTP-U.
# Expected     An ERSPAN type III header says what it carries: frame type 0 is Ethernet,
#              2 is an IP packet (draft-foschiano-erspan, on type III). A GTP-U header
#              may be followed by a chain of extension headers, each with its own
#              length and the number of the next, and 0 at the end, behind which the
#              user's packet begins (3GPP TS 29.281, section 5.2.1): who has no use for
#              one of them goes on by its length.
# Happens      scapy's ERSPAN layer has both frame types by name, and reads Ethernet
#              whatever the field says: out of an IP packet come made-up addresses of
#              cards and no TCP. Its GTP-U layer finds the packet behind a PDU session
#              container and stops behind the PDCP number, which packets have that are
#              passed on in a handover, even if the container follows.
# Why it       A mirror of such traffic has hosts that do not exist, or no TLS in it at
# matters      all; tools on top of scapy say the same.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input scapy==2.8.0

cat > "$tmp/run.py" <<'PY'
import struct
from scapy.contrib import erspan, gtp
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Raw

packet = bytes(IP(src="192.0.2.1", dst="198.51.100.4") / TCP(sport=49153, dport=443))
frame = bytes.fromhex("020000000002 020000000001 0800") + packet
outer = {"src": "10.0.0.1", "dst": "10.0.0.2"}


def erspan_iii(frame_type, inside):
    gre = struct.pack("!HHI", 0x1000, 0x22EB, 1)
    header = struct.pack("!HHIHH", 0x2064, 5, 99, 0, 0x8000 | frame_type << 10)
    return IP(**outer, proto=47) / Raw(gre + header + inside)


def gtp_u(*extensions):
    """Each extension header: its number, and its content without length and next number."""
    numbers = [number for number, _ in extensions] + [0]
    chain = b"\0\0\0" + bytes(numbers[:1]) if extensions else b""
    for (_, content), following in zip(extensions, numbers[1:]):
        chain += bytes([(len(content) + 2) // 4]) + content + bytes([following])
    header = struct.pack("!BBHI", 0x34 if extensions else 0x30, 255, len(chain) + len(packet), 1)
    return IP(**outer) / UDP(sport=2152, dport=2152) / Raw(header + chain + packet)


session = (0x85, bytes([0x10, 9]))  # a PDU session container, uplink
pdcp = (0xC0, struct.pack("!H", 5))  # a PDCP PDU number
cases = {
    "ERSPAN, Ethernet": erspan_iii(0, frame),
    "ERSPAN, IP": erspan_iii(2, packet),
    "GTP-U, no extension": gtp_u(),
    "GTP-U, PDU session": gtp_u(session),
    "GTP-U, PDCP number": gtp_u(pdcp),
    "GTP-U, PDCP number and PDU session": gtp_u(pdcp, session),
}
for name, case in cases.items():
    read = IP(bytes(case))
    port = read[TCP].dport if TCP in read else "none"
    cards = f"; from {read[Ether].src} to {read[Ether].dst}" if Ether in read else ""
    print(f"{name}: TCP port {port}{cards}")
PY

seen=$("$tmp/venv/bin/python" "$tmp/run.py" 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected='ERSPAN, Ethernet: TCP port 443; from 02:00:00:00:00:01 to 02:00:00:00:00:02
ERSPAN, IP: TCP port none; from 00:00:40:06:8e:96 to 45:00:00:28:00:01
GTP-U, no extension: TCP port 443
GTP-U, PDU session: TCP port 443
GTP-U, PDCP number: TCP port none
GTP-U, PDCP number and PDU session: TCP port none'

echo "The same SYN to port 443 is in each; read as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: an IP packet is read as Ethernet, and an extension header hides it."
