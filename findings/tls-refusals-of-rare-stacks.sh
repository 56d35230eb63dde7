#!/usr/bin/env bash
#
# Subject      How clients on seldom measured stacks refuse a certificate whose CA they
#              don't know: siotls 0.0.5, fizzpy 0.4.0 (Facebook's Fizz), primp 2.0.1
#              and rtls 2026.9.21 (both on rustls 0.23), python-mbedtls 2.10.1 (Mbed
#              TLS 2.28); all PyPI.
# Expected     An alert (RFC 8446, section 6.2: the side that meets the error sends
#              one). In TLS 1.3 it is encrypted: a record of type 23, 19 bytes long,
#              after the ChangeCipherSpec that goes for compatibility (Appendix D.4);
#              in TLS 1.2 it is readable.
# Happens      siotls pads each record to 1024 bytes: its alert is as long as its
#              Finished, its request and its close_notify where it does not check the
#              certificate (siotls-unchecked). Fizz's 19 bytes come without the
#              ChangeCipherSpec. primp sends the ChangeCipherSpec *and nothing behind
#              it* in TLS 1.3, though the same client sends unknown_ca in 1.2 and the
#              same rustls sends both records when rtls drives it. python-mbedtls
#              closes without an alert.
# Why it       A rule such as "19 bytes after the ChangeCipherSpec are an alert" misses
# matters      three of the four refusals in TLS 1.3; of primp the ChangeCipherSpec
#              alone is the sign.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    siotls==0.0.5 cryptography==50.0.2 fizzpy==0.4.0 primp==2.0.1 \
    rtls==2026.9.21 python-mbedtls==2.10.1

cd "$tmp"
for name in gate other; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -keyout "$name.key" -out "$name.pem" -subj "/CN=$name CA" 2>/dev/null
done
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -keyout leaf.key -out leaf.csr -subj "/CN=localhost" 2>/dev/null
printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n' > leaf.cnf
openssl x509 -req -in leaf.csr -CA gate.pem -CAkey gate.key -CAcreateserial -days 2 \
    -extfile leaf.cnf -out leaf.pem 2>/dev/null
cat leaf.pem gate.pem > chain.pem

cat > client.py <<'PY'
import socket, sys

name, port = sys.argv[1], int(sys.argv[2])


def connect():
    return socket.create_connection(("127.0.0.1", port), timeout=20)


if name.startswith("siotls"):
    import siotls.crypto
    siotls.crypto.install("openssl")
    from siotls import TLSConfiguration, TLSConnection
    from siotls.trust import get_truststore
    trust = {} if name == "siotls-unchecked" else {"truststore": get_truststore()}
    settings = TLSConfiguration("client", **trust)
    with TLSConnection(settings, server_hostname="localhost").wrap(connect()) as tls:
        tls.write(b"request")
elif name == "fizzpy":
    import fizzpy
    fizzpy.get(f"https://localhost:{port}/")
elif name == "primp":
    import primp
    primp.Client().get(f"https://localhost:{port}/")
elif name == "rtls":
    import rtls
    rtls.create_default_context().wrap_socket(connect(), server_hostname="localhost")
elif name == "python-mbedtls":
    from mbedtls import tls, x509
    store = tls.TrustStore()
    with open("other.pem") as file:
        store.add(x509.CRT.from_PEM(file.read()))
    settings = tls.TLSConfiguration(trust_store=store, validate_certificates=True)
    tls.ClientContext(settings).wrap_socket(connect(), server_hostname="localhost").do_handshake()
print("accepted")
PY

cat > measure.py <<'PY'
"""A TLS server on loopback that prints which records a client sends after its hello."""
import socket, ssl, subprocess, sys

ALERTS = {42: "bad_certificate", 46: "certificate_unknown", 48: "unknown_ca"}


def describe(kind, body):
    if kind == 20:
        return "ChangeCipherSpec"
    if kind == 21 and len(body) == 2:
        return "alert " + ALERTS.get(body[1], str(body[1]))
    return f"type {kind} of {len(body)}"


def measure(client, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("chain.pem", "leaf.key")
    context.minimum_version = context.maximum_version = version
    context.num_tickets = 0  # unread tickets would turn a close into a reset
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        command = [sys.executable, "client.py", client, str(listener.getsockname()[1])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        peer, _ = listener.accept()
    peer.settimeout(30)
    sent, error = b"", None
    while True:
        try:
            data = peer.recv(65536)
        except ConnectionResetError:
            break
        if not data:
            break
        sent += data
        incoming.write(data)
        try:
            server.do_handshake()
        except ssl.SSLError:
            pass  # more is needed, or the client refused
        try:
            peer.sendall(outgoing.read())
        except OSError:
            pass
    peer.close()
    accepted = process.communicate(timeout=30)[0].strip()
    records = []
    while len(sent) >= 5:
        size = int.from_bytes(sent[3:5], "big")
        records.append(describe(sent[0], sent[5 : 5 + size]))
        sent = sent[5 + size :]
    return "; ".join(records[1:] + ["accepted" if accepted else "closed"])


for version, clients in (
    (ssl.TLSVersion.TLSv1_3, ("siotls", "fizzpy", "primp", "rtls", "siotls-unchecked")),
    (ssl.TLSVersion.TLSv1_2, ("primp", "rtls", "python-mbedtls")),
):
    for client in clients:
        print(version.name, client + ":", measure(client, version))
PY

seen=$(venv/bin/python measure.py 2>stderr) || { cat stderr; exit 1; }

expected='TLSv1_3 siotls: ChangeCipherSpec; type 23 of 1024; closed
TLSv1_3 fizzpy: type 23 of 19; closed
TLSv1_3 primp: ChangeCipherSpec; closed
TLSv1_3 rtls: ChangeCipherSpec; type 23 of 19; closed
TLSv1_3 siotls-unchecked: ChangeCipherSpec; type 23 of 1024; type 23 of 1024; type 23 of 1024; accepted
TLSv1_2 primp: alert unknown_ca; closed
TLSv1_2 rtls: alert unknown_ca; closed
TLSv1_2 python-mbedtls: closed'

echo "What each client sends behind its ClientHello when it doesn't know the CA:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: four clients refuse in four ways in TLS 1.3, and Mbed TLS's binding without a word."
