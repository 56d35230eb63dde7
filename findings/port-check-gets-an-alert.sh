#!/usr/bin/env bash
#
# Subject      pyOpenSSL 26.4.0 with cryptography 50.0.2 (PyPI; OpenSSL 4.0.3 within) as a server, in its
#              blocking form and over memory.
# Expected     A check of a port (nc -z, a load balancer's TCP check, the slower address of Happy Eyeballs)
#              connects and closes without a byte. Nothing was received, so nothing can be wrong with it: a
#              server closes as well.
# Happens      In do_handshake on a socket OpenSSL takes the end of the stream for a message that cannot be
#              decoded, and sends a fatal decode_error (50) as the connection's only record, while its caller
#              is told of an unexpected end of file. Over memory, as asyncio and Twisted use it, nothing is
#              sent. stunnel, hitch, lighttpd and s_server behave as the first.
# Why it       On the wire each health check is a fatal TLS alert of the server. Counted by alerts, a healthy
# matters      server fails every few seconds.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3.11 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: \
    pyOpenSSL==26.4.0 cryptography==50.0.2
cd "$tmp"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -keyout key.pem -out certificate.pem -subj /CN=localhost 2>/dev/null

cat > measure.py <<'PY'
"""Servers on loopback to which a client connects and says nothing."""
import socket, sys, threading

from OpenSSL import SSL

context = SSL.Context(SSL.TLS_SERVER_METHOD)
context.use_certificate_file("certificate.pem")
context.use_privatekey_file("key.pem")


def blocking(peer):
    connection = SSL.Connection(context, peer)
    connection.set_accept_state()
    try:
        connection.do_handshake()
    except SSL.Error as error:
        return repr(error)


def over_memory(peer):
    connection = SSL.Connection(context)
    connection.set_accept_state()
    while received := peer.recv(65536):
        connection.bio_write(received)
    try:
        connection.do_handshake()
    except SSL.Error as error:
        try:
            peer.sendall(connection.bio_read(65536))
        except SSL.Error:
            pass
        return repr(error)


def check(serve):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        said = []

        def run():
            peer, _ = listener.accept()
            with peer:
                said.append(serve(peer))

        server = threading.Thread(target=run)
        server.start()
        with socket.create_connection(listener.getsockname()) as client:
            client.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: client.recv(100), b""))
        server.join()
        return said[0], received.hex(" ") or "nothing"


print(SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode())
expected = {
    blocking: ("SysCallError(-1, 'Unexpected EOF')", "15 03 03 00 02 02 32"),
    over_memory: ("WantReadError()", "nothing"),
}
for serve, told in expected.items():
    seen = check(serve)
    print(f"{serve.__name__}: the caller gets {seen[0]}, the client {seen[1]}")
    if seen != told:
        sys.exit("no longer as described")
PY
"$tmp/venv/bin/python" measure.py
