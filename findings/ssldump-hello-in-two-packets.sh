#!/usr/bin/env bash
#
# Subject      ssldump 1.5-1 (Debian 12), beside scapy 2.8.0. The hellos and alerts are
#              real ones, of pyOpenSSL 26.4.0 with cryptography 50.0.2 (OpenSSL 4.0.3
#              within); all PyPI.
# Expected     TLS is read from a stream of bytes: TCP cuts it into segments as it likes
#              (RFC 9293, section 3.7), and records know nothing of that (RFC 8446,
#              section 5.1). ssldump(1) decodes the records of TCP connections; a
#              comment in its source says that it assumes one segment for nothing but
#              the hello of SSL 2.
# Happens      It keeps the first part of a ClientHello, but does not note that TLS has
#              begun. A second part is text before TLS to it unless it happens to begin
#              with 16, and is not shown; nor is what follows, such as the server's
#              alert (15). Of a refused connection there is its opening and the two
#              FINs, without an error or a warning. In one packet, as a capture on the
#              client with segmentation offload has it, the same hello is shown.
# Why it       A hello with a hybrid key share (X25519MLKEM768, 1216 bytes of it) is
# matters      longer than an Ethernet packet, and the default of today's libraries and
#              browsers. In a gateway's capture the refusals of old clients can be read,
#              and nearly all of the current ones' are not there.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3.11 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: \
    pyOpenSSL==26.4.0 cryptography==50.0.2 scapy==2.8.0
(
    cd "$tmp"
    apt-get download -qq ssldump libnet1 libjson-c5 libpcap0.8 >/dev/null 2>&1
    for package in *.deb; do dpkg -x "$package" debian; done
)
# It calls itself 1.4, so the package's name tells.
case "$(cd "$tmp" && echo ssldump_*.deb)" in
ssldump_1.5-1_*) ;;
*)
    echo "this distribution has another version" >&2
    exit 1
    ;;
esac
libraries=$(find "$tmp/debian" -name '*.so.*' -printf '%h\n' | sort -u | paste -sd:)

cd "$tmp"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 \
    -keyout key.pem -out certificate.pem -subj /CN=gw.example 2>/dev/null

cat > make.py <<'PY'
"""A server with an RSA certificate that wants ECDSA refuses three clients."""
from OpenSSL import SSL
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

SEGMENT = 1460
old, new = SSL.Context(SSL.TLS_CLIENT_METHOD), SSL.Context(SSL.TLS_CLIENT_METHOD)
old.set_max_proto_version(SSL.TLS1_2_VERSION)
refuses = SSL.Context(SSL.TLS_SERVER_METHOD)
refuses.set_max_proto_version(SSL.TLS1_2_VERSION)
refuses.set_cipher_list(b"ECDHE-ECDSA-AES128-GCM-SHA256")
refuses.use_certificate_file("certificate.pem")
refuses.use_privatekey_file("key.pem")


def step(connection):
    try:
        connection.do_handshake()
    except SSL.Error:
        return connection.bio_read(65536)


def hello(context):
    client = SSL.Connection(context)
    client.set_tlsext_host_name(b"gw.example")
    client.set_connect_state()
    return step(client)


def hello_cut_before(condition):
    """The byte after the cut is one of the key share's, and so a random one."""
    while not condition((made := hello(new))[SEGMENT]):
        pass
    return made


def alert(client_hello):
    server = SSL.Connection(refuses)
    server.set_accept_state()
    server.bio_write(client_hello)
    return step(server)


def capture(name, client_hello, longest):
    next_byte = {"client": 1000, "server": 5000}
    packets = []

    def send(sender, flags, data=b""):
        client = sender == "client"
        here, there = ("192.0.2.1", 49153), ("198.51.100.4", 443)
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
        next_byte[sender] += len(data) + ("S" in flags) + ("F" in flags)

    send("client", "S")
    send("server", "SA")
    send("client", "A")
    for start in range(0, len(client_hello), longest):
        send("client", "A", client_hello[start:start + longest])
    send("server", "A")
    send("server", "PA", alert(client_hello))
    send("server", "FA")
    send("client", "FA")
    send("server", "A")
    wrpcap(f"{name}.pcap", packets)


usual = hello_cut_before(lambda byte: byte != 0x16)
capture("old-client", hello(old), SEGMENT)
capture("one-packet", usual, 65495)
capture("two-packets", usual, SEGMENT)
capture("two-packets-16", hello_cut_before(lambda byte: byte == 0x16), SEGMENT)
PY

cat > read.py <<'PY'
import sys
from scapy.layers.tls.all import TLS
from scapy.sendrecv import sniff
from scapy.sessions import TCPSession

found = []
for packet in sniff(offline=sys.argv[1], session=TCPSession):
    if TLS in packet:
        found += [type(message).__name__.removeprefix("TLS") for message in packet[TLS].msg]
print(*found)
PY

"$tmp/venv/bin/python" make.py 2>stderr || { cat stderr; exit 1; }
seen=$(for name in old-client one-packet two-packets two-packets-16; do
    shown=$(LD_LIBRARY_PATH=$libraries debian/usr/sbin/ssldump -n -r "$name.pcap" 2>&1 |
        grep -oE 'New TCP connection|ClientHello|Alert|handshake_failure|TCP FIN' | paste -sd, | sed 's/,/, /g')
    echo "$name: ssldump $shown"
    echo "$name: scapy $("$tmp/venv/bin/python" read.py "$name.pcap" 2>stderr)"
done) || { cat stderr; exit 1; }

expected='old-client: ssldump New TCP connection, ClientHello, Alert, handshake_failure, TCP FIN, TCP FIN
old-client: scapy ClientHello Alert
one-packet: ssldump New TCP connection, ClientHello, Alert, handshake_failure, TCP FIN, TCP FIN
one-packet: scapy ClientHello Alert
two-packets: ssldump New TCP connection, TCP FIN, TCP FIN
two-packets: scapy ClientHello Alert
two-packets-16: ssldump New TCP connection, ClientHello, Alert, handshake_failure, TCP FIN, TCP FIN
two-packets-16: scapy ClientHello Alert'

echo "Four refused connections, shown as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: a hello in two packets is not shown, and neither is the answer to it."
