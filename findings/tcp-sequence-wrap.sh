#!/usr/bin/env bash
#
# Subject      scapy 2.8.0 and httpreplay-ng 0.4.2 (PyPI) and tcptrace 6.6.7-6 (Debian
#              12), beside tcpick 0.2.1-10 (Debian 12).
# Expected     TCP numbers bytes modulo 2^32 and begins anywhere (RFC 9293, sections
#              3.4 and 3.4.1), so that 0 follows 4294967295 in the middle of a
#              connection: in one of 43 that carry 100 MB. The order of bytes is what
#              these tools are for: scapy's TCPSession puts messages together,
#              httpreplay requests and answers, and tcptrace -e and tcpick -wR write
#              each direction to a file.
# Happens      scapy takes what follows 0 for data four gigabytes further back, drops it
#              with a warning and never has that message. To httpreplay the segment that
#              passes 0 and those acknowledged with it never are, for it adds lengths
#              without the modulus: they are left out, and a request without its
#              beginning is no HTTP, an answer without its beginning none. tcptrace's
#              file ends with the segment that passes 0, while the report of the same
#              run counts every byte and none missed. tcpick has all.
# Why it       It depends on a random number, so the same transfer is there in one
# matters      capture and cut short in another, as if the network had done it.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    httpreplay-ng==0.4.2 dpkt==1.9.8 scapy==2.8.0
(
    cd "$tmp"
    apt-get download -qq tcptrace tcpick libpcap0.8 >/dev/null 2>&1
    for package in *.deb; do dpkg -x "$package" debian; done
)
case "$(cd "$tmp" && echo tcptrace_*.deb tcpick_*.deb)" in
tcptrace_6.6.7-6*" "tcpick_0.2.1-10*) ;;
*)
    echo "this distribution has other versions" >&2
    exit 1
    ;;
esac
libraries=$(find "$tmp/debian" -name '*.so.*' -printf '%h\n' | sort -u | paste -sd:)

cat > "$tmp/make.py" <<'PY'
import sys
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

REQUEST = b"POST / HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 2000\r\n\r\n" + bytes(2000)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n" + bytes(4000)
SEGMENT = 500


def capture(name, client_first, server_first):
    next_byte = {"client": client_first, "server": server_first}
    packets = []

    def send(sender, flags, data=b""):
        client = sender == "client"
        here, there = ("192.0.2.1", 49153), ("198.51.100.4", 80)
        source, target = (here, there) if client else (there, here)
        acknowledged = next_byte["server" if client else "client"] if "A" in flags else 0
        packet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(
            src=source[0], dst=target[0]
        ) / TCP(
            sport=source[1], dport=target[1], flags=flags,
            seq=next_byte[sender], ack=acknowledged,
        )
        if data:
            packet /= Raw(data)
        packet.time = 1767225600 + len(packets) / 100
        packets.append(packet)
        length = len(data) + ("S" in flags) + ("F" in flags)
        next_byte[sender] = (next_byte[sender] + length) % 2**32

    def send_all(sender, receiver, data):
        for start in range(0, len(data), SEGMENT):
            send(sender, "PA", data[start:start + SEGMENT])
        send(receiver, "A")

    send("client", "S")
    send("server", "SA")
    send("client", "A")
    send_all("client", "server", REQUEST)
    send_all("server", "client", ANSWER)
    send("client", "FA")
    send("server", "FA")
    send("client", "A")
    wrpcap(f"{sys.argv[1]}/{name}.pcap", packets)


capture("no-wrap", 1000, 5000)
capture("wrap-in-request", 2**32 - 800, 5000)
capture("wrap-in-answer", 1000, 2**32 - 1200)
PY

cat > "$tmp/read.py" <<'PY'
import logging, sys
logging.disable(logging.CRITICAL)


def httpreplay(path):
    from httpreplay.cut import http_handler
    from httpreplay.reader import PcapReader
    from httpreplay.smegma import TCPPacketStreamer
    with open(path, "rb") as file:
        reader = PcapReader(file)
        reader.tcp = TCPPacketStreamer(reader, {80: http_handler})
        for _, _, protocol, sent, received in reader.process():
            yield protocol
            for side in (sent, received):
                yield getattr(side, "method", None) or getattr(side, "status", None) or "-"
                yield len(getattr(side, "body", side) or "")


def scapy(path):
    from scapy.layers.http import HTTPRequest, HTTPResponse
    from scapy.sendrecv import sniff
    from scapy.sessions import TCPSession
    for packet in sniff(offline=path, session=TCPSession):
        for layer, field in ((HTTPRequest, "Method"), (HTTPResponse, "Status_Code")):
            if layer in packet:
                yield getattr(packet[layer], field).decode()
                yield len(packet[layer].payload)


for name in ("no-wrap", "wrap-in-request", "wrap-in-answer"):
    for reader in (scapy, httpreplay):
        print(f"{name}: {reader.__name__}", *reader(f"{sys.argv[1]}/{name}.pcap"))
PY

"$tmp/venv/bin/python" "$tmp/make.py" "$tmp" 2>"$tmp/stderr" || { cat "$tmp/stderr"; exit 1; }
seen=$({
    "$tmp/venv/bin/python" "$tmp/read.py" "$tmp" 2>"$tmp/stderr"
    for name in no-wrap wrap-in-request wrap-in-answer; do
        mkdir "$tmp/$name"
        cd "$tmp/$name"
        LD_LIBRARY_PATH=$libraries "$tmp/debian/usr/sbin/tcpick" -n -r "$tmp/$name.pcap" -wR >/dev/null 2>&1
        echo "$name: tcpick wrote $(stat -c %s tcpick_*.serv.dat) and $(stat -c %s tcpick_*.clnt.dat)"
        report=$(LD_LIBRARY_PATH=$libraries "$tmp/debian/usr/bin/tcptrace" -n -l -e "$tmp/$name.pcap" 2>/dev/null)
        counted() { echo "$report" | sed -nE "s/^ *$1: *([0-9]+).* $1: *([0-9]+).*/\1 and \2/p"; }
        echo "$name: tcptrace wrote $(stat -c %s a2b_contents.dat) and $(stat -c %s b2a_contents.dat)," \
            "counted $(counted 'unique bytes sent'), missed $(counted 'missed data')"
    done
} | LC_ALL=C sort) || { cat "$tmp/stderr"; exit 1; }

expected='no-wrap: httpreplay http POST 2000 200 4000
no-wrap: scapy POST 2000 200 4000
no-wrap: tcpick wrote 2059 and 4041
no-wrap: tcptrace wrote 2059 and 4041, counted 2059 and 4041, missed 0 and 0
wrap-in-answer: httpreplay http POST 2000 - 0
wrap-in-answer: scapy POST 2000
wrap-in-answer: tcpick wrote 2059 and 4041
wrap-in-answer: tcptrace wrote 2059 and 1500, counted 2059 and 4041, missed 0 and 0
wrap-in-request: httpreplay tcp - 1059 - 4041
wrap-in-request: scapy 200 4000
wrap-in-request: tcpick wrote 2059 and 4041
wrap-in-request: tcptrace wrote 1000 and 4041, counted 2059 and 4041, missed 0 and 0'

echo "A request of 2059 bytes and an answer of 4041, read as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: where the numbers begin again, three of the four lose bytes."
