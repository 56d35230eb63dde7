#!/usr/bin/env bash
#
# Subject      scapy 2.8.0 on Linux, beside dpkt 1.9.8 and wa1kpcap 0.2.0 (all PyPI).
# Expected     Loopback and tunnel interfaces of the BSDs and of macOS (OpenVPN's and
#              WireGuard's among them) are captured as LINKTYPE_NULL or LINKTYPE_LOOP:
#              a number for the protocol, and the packet. 2 is IPv4; IPv6 is 24, 28 or
#              30, by system, and "code reading files should check for all of them". In
#              LINKTYPE_NULL the number is in the byte order of the machine that
#              captured, in LINKTYPE_LOOP it is big-endian (tcpdump.org's pages on
#              both). So it doesn't matter on which system the file is read.
# Happens      scapy has all three numbers by name, "IPv6", and takes none of them for
#              IPv6 on Linux: it compares with the number of the system that it runs
#              on, 10, which no such file has. The packet is raw bytes. From a
#              big-endian machine it is worse: an IPv4 packet of ICMP from 0.0.0.0.
#              IPv4 is right in each of these files. dpkt and wa1kpcap read all.
# Why it       In a capture of a firewall's tunnel (pfSense, OPNsense) or of a Mac's the
# matters      clients with IPv6 have no TLS at all, and those with IPv4 are complete.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    scapy==2.8.0 dpkt==1.9.8 wa1kpcap==0.2.0

cat > "$tmp/read.py" <<'PY'
import logging, struct, sys
from socket import AF_INET6, inet_aton, inet_pton
logging.disable(logging.CRITICAL)

NULL, LOOP = 0, 108
SYN = struct.pack("!HHIIBBHHH", 49153, 443, 1, 0, 0x50, 2, 65535, 0, 0)
IPV4 = struct.pack(
    "!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, inet_aton("192.0.2.1"), inet_aton("198.51.100.4")
) + SYN
IPV6 = struct.pack(
    "!IHBB16s16s", 6 << 28, 20, 6, 64, inet_pton(AF_INET6, "2001:db8::1"), inet_pton(AF_INET6, "2001:db8::4")
) + SYN


def capture(link_type, number, packet, machine="<"):
    """The file's header and the number of LINKTYPE_NULL are in the machine's byte order."""
    frame = struct.pack(">I" if link_type == LOOP else machine + "I", number) + packet
    header = struct.pack(machine + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type)
    return header + struct.pack(machine + "IIII", 1767225600, 0, len(frame), len(frame)) + frame


cases = {
    "NULL, IPv4": capture(NULL, 2, IPV4),
    "NULL, IPv6 of NetBSD (24)": capture(NULL, 24, IPV6),
    "NULL, IPv6 of FreeBSD (28)": capture(NULL, 28, IPV6),
    "NULL, IPv6 of macOS (30)": capture(NULL, 30, IPV6),
    "NULL, big-endian, IPv4": capture(NULL, 2, IPV4, ">"),
    "NULL, big-endian, IPv6 (24)": capture(NULL, 24, IPV6, ">"),
    "LOOP, IPv4": capture(LOOP, 2, IPV4),
    "LOOP, IPv6 of OpenBSD (24)": capture(LOOP, 24, IPV6),
}


def scapy(path):
    from scapy.layers.inet import IP, TCP
    from scapy.layers.inet6 import IPv6
    from scapy.utils import rdpcap
    packet = rdpcap(path)[0]
    if TCP in packet:
        return f"TCP port {packet[TCP].dport}"
    return f"{packet.sprintf('%IP.src% %IP.proto%')}" if IP in packet else type(packet.payload).__name__


def dpkt(path):
    import dpkt
    with open(path, "rb") as file:
        frame = next(iter(dpkt.pcap.Reader(file)))[1]
    return f"TCP port {dpkt.loopback.Loopback(frame).data.data.dport}"


def wa1kpcap(path):
    from wa1kpcap import Wa1kPcap
    return f"TCP port {Wa1kPcap().analyze_file(path)[0].key.dst_port}"


for name, data in cases.items():
    path = f"{sys.argv[1]}/case.pcap"
    with open(path, "wb") as out:
        out.write(data)
    for reader in (dpkt, wa1kpcap, scapy):
        print(f"{name}: {reader.__name__} {reader(path)}")
PY

seen=$("$tmp/venv/bin/python" "$tmp/read.py" "$tmp" 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected='NULL, IPv4: dpkt TCP port 443
NULL, IPv4: wa1kpcap TCP port 443
NULL, IPv4: scapy TCP port 443
NULL, IPv6 of NetBSD (24): dpkt TCP port 443
NULL, IPv6 of NetBSD (24): wa1kpcap TCP port 443
NULL, IPv6 of NetBSD (24): scapy Raw
NULL, IPv6 of FreeBSD (28): dpkt TCP port 443
NULL, IPv6 of FreeBSD (28): wa1kpcap TCP port 443
NULL, IPv6 of FreeBSD (28): scapy Raw
NULL, IPv6 of macOS (30): dpkt TCP port 443
NULL, IPv6 of macOS (30): wa1kpcap TCP port 443
NULL, IPv6 of macOS (30): scapy Raw
NULL, big-endian, IPv4: dpkt TCP port 443
NULL, big-endian, IPv4: wa1kpcap TCP port 443
NULL, big-endian, IPv4: scapy TCP port 443
NULL, big-endian, IPv6 (24): dpkt TCP port 443
NULL, big-endian, IPv6 (24): wa1kpcap TCP port 443
NULL, big-endian, IPv6 (24): scapy 0.0.0.0 icmp
LOOP, IPv4: dpkt TCP port 443
LOOP, IPv4: wa1kpcap TCP port 443
LOOP, IPv4: scapy TCP port 443
LOOP, IPv6 of OpenBSD (24): dpkt TCP port 443
LOOP, IPv6 of OpenBSD (24): wa1kpcap TCP port 443
LOOP, IPv6 of OpenBSD (24): scapy Raw'

echo "A SYN to port 443 is in each file; read as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: on Linux scapy reads no IPv6 behind these headers."
