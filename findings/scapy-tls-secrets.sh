#!/usr/bin/env bash
#
# Subject      scapy 2.8.0 (PyPI), with secrets that TLS libraries write to
#              SSLKEYLOGFILE; beside it tshark, where it is installed.
# Expected     A pcapng file can carry the secrets of its connections: several
#              Decryption Secrets Blocks, each before the packets that need it
#              (draft-ietf-opsawg-pcapng, "Decryption Secrets Block"). editcap writes
#              two side by side if it is given two key logs. In a key log an empty
#              line is ignored, as a comment is (RFC 9850, section 2).
# Happens      Each block replaces the keys of the one before, without a word: of two
#              blocks before the packets, the connections of the first stay encrypted.
#              For one empty line scapy drops every secret of the block or of the file,
#              those above the line too.
# Why it       Two programs under test have a key log each; with both in the file, one's
# matters      connections stay closed. It looks as if the keys were another connection's,
#              while Wireshark shows the same file in plain text.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    scapy==2.8.0 cryptography==44.0.3

# Two connections with TLS 1.2 by the ssl module, each with a key log of its own, in four files.
cat > "$tmp/make.py" <<'PY'
import datetime, ssl, struct, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

folder = sys.argv[1]


def write_certificate(path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string("CN=gw.example")
    begin = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.public_key(key.public_key())
    builder = builder.not_valid_before(begin).not_valid_after(begin + datetime.timedelta(3650))
    with open(path, "wb") as out:
        out.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                    serialization.NoEncryption()))
        out.write(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def connection(name, port):
    """Returns the packets of a connection and the line of its key log."""
    log = f"{folder}/{name}.keys"
    for_client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for_client.check_hostname = False
    for_client.verify_mode = ssl.CERT_NONE
    for_client.maximum_version = ssl.TLSVersion.TLSv1_2
    for_client.keylog_filename = log
    for_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for_server.load_cert_chain(f"{folder}/gw.pem")

    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = for_client.wrap_bio(to_client, to_server)
    server = for_server.wrap_bio(to_server, to_client, server_side=True)
    ends = {client: ("192.0.2.1", port), server: ("198.51.100.4", 443)}
    next_byte = {client: 1000, server: 5000}
    packets = []

    def send(sender, receiver, pipe):
        data = pipe.read()
        if data:
            pipe.write(data)
            packet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
            packet /= IP(src=ends[sender][0], dst=ends[receiver][0])
            packet /= TCP(sport=ends[sender][1], dport=ends[receiver][1], flags="PA",
                          seq=next_byte[sender], ack=next_byte[receiver]) / data
            next_byte[sender] += len(data)
            packets.append(bytes(packet))

    sides = ((client, server, to_server), (server, client, to_client))
    waiting = {client, server}
    while waiting:
        for sender, receiver, pipe in sides:
            try:
                sender.do_handshake()
                waiting.discard(sender)
            except ssl.SSLWantReadError:
                pass
            send(sender, receiver, pipe)
    client.write(f"request of {name}".encode())
    send(*sides[0])
    server.read(100)
    server.write(f"answer to {name}".encode())
    send(*sides[1])

    with open(log) as file:
        return packets, "".join(line for line in file if line.startswith("CLIENT_RANDOM"))


def block(kind, body):
    size = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + size + body + size


def secrets(text):
    text = text.encode()
    return block(10, b"KSLT" + struct.pack("<I", len(text)) + text + bytes(-len(text) % 4))


def enhanced_packet(frame):
    time = 1767225600 * 10**6  # 2026-01-01T00:00:00Z
    head = struct.pack("<IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame))
    return block(6, head + frame + bytes(-len(frame) % 4))


write_certificate(f"{folder}/gw.pem")
packets, keys = zip(connection("first", 49153), connection("second", 49154))
begin = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
begin += block(1, struct.pack("<HHI", 1, 0, 262144))
end = b"".join(map(enhanced_packet, packets[0] + packets[1]))
for name, blocks in (
    ("one-block", [keys[0] + keys[1]]),
    ("comment", [keys[0] + "# the second\n" + keys[1]]),
    ("empty-line", [keys[0] + "\n" + keys[1]]),
    ("two-blocks", keys),
    ("no-block", []),
):
    with open(f"{folder}/{name}.pcapng", "wb") as out:
        out.write(begin + b"".join(map(secrets, blocks)) + end)
for name, between in (("both", ""), ("empty-line", "\n")):
    with open(f"{folder}/{name}.keys", "w") as out:
        out.write(keys[0] + between + keys[1])
PY

cat > "$tmp/read.py" <<'PY'
import logging, sys
logging.disable(logging.CRITICAL)
from scapy.config import conf
from scapy.main import load_layer
from scapy.utils import rdpcap

load_layer("tls")
from scapy.layers.tls.record import TLS, TLSApplicationData

if len(sys.argv) > 2:
    conf.tls_session_enable = True
    conf.tls_nss_filename = sys.argv[2]
for packet in rdpcap(sys.argv[1]):
    if TLS in packet and packet[TLS].type == 23:
        data = packet[TLSApplicationData].data if TLSApplicationData in packet else b"\xff"
        print("", data.decode() if data.isascii() else "encrypted", end=",")
print()
PY

"$tmp/venv/bin/python" "$tmp/make.py" "$tmp" 2>"$tmp/stderr" || { cat "$tmp/stderr"; exit 1; }

seen=$(
    for name in one-block comment empty-line two-blocks; do
        echo "$name:$("$tmp/venv/bin/python" "$tmp/read.py" "$tmp/$name.pcapng" 2>"$tmp/stderr")"
    done
    echo "one key log:$("$tmp/venv/bin/python" "$tmp/read.py" "$tmp/no-block.pcapng" "$tmp/both.keys" 2>"$tmp/stderr")"
    echo "the same with an empty line:$("$tmp/venv/bin/python" "$tmp/read.py" "$tmp/no-block.pcapng" "$tmp/empty-line.keys" 2>"$tmp/stderr")"
) || { cat "$tmp/stderr"; exit 1; }

expected='one-block: request of first, answer to first, request of second, answer to second,
comment: request of first, answer to first, request of second, answer to second,
empty-line: encrypted, encrypted, encrypted, encrypted,
two-blocks: encrypted, encrypted, request of second, answer to second,
one key log: request of first, answer to first, request of second, answer to second,
the same with an empty line: encrypted, encrypted, encrypted, encrypted,'

echo "Application data of the same two connections, with their secrets in the file in several ways:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi

if command -v tshark >/dev/null; then
    for name in one-block comment empty-line two-blocks; do
        for stream in 0 1; do
            tshark -r "$tmp/$name.pcapng" -q -z "follow,tls,ascii,$stream" 2>>"$tmp/stderr"
        done > "$tmp/followed"
        plain=$(grep -E '^(request of|answer to) ' "$tmp/followed" | paste -sd, || true)
        echo "tshark, $name: $plain"
        if [ "$plain" != "request of first,answer to first,request of second,answer to second" ]; then
            echo "CHANGED: tshark does not read all of it"
            exit 1
        fi
    done
fi
echo "As stated: a second block takes the keys of the first, and an empty line takes all."
