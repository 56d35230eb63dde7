#!/usr/bin/env bash
#
# Subject      PySocks 1.7.1, also beneath httplib2 0.32.1, and python-socks 3.2.1, by
#              which aiohttp-socks connects (all PyPI), on an HTTP proxy's answer to
#              CONNECT; beside them http.client, openssl s_client -proxy and Node's http.
# Expected     The tunnel begins behind the blank line that ends the answer's header
#              section (RFC 9110, section 9.3.6). TCP is a stream of bytes: where the
#              proxy's segments end says nothing, and a client reads on to that line.
# Happens      PySocks and python-socks look at what the first read brings, and all that
#              comes later is the tunnel's. From a proxy that sends its status line and
#              its header fields one after the other the TLS client gets "Via: 1.1 …"
#              for a ServerHello, and says that the server has the wrong version. The
#              reverse too: what a server that speaks first, as for STARTTLS, sends along
#              with the answer is gone, and here http.client loses it as well.
# Why it       The error names TLS and the server; to blame is how a proxy between them
# matters      packs its answer, so it comes and goes with the proxy, its load and the
#              network. Other clients by the same proxy work.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    PySocks==1.7.1 httplib2==0.32.1 python-socks==3.2.1
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=server.example \
    -addext subjectAltName=DNS:server.example -keyout "$tmp/key.pem" -out "$tmp/cert.pem" 2>/dev/null

cat > "$tmp/connect.js" <<'JS'
// Prints what the tunnel through the proxy at the port brings.
const request = require("http").request({ port: process.argv[2], method: "CONNECT", path: "server.example:25" });
request.on("connect", (answer, socket, head) => {
    process.stdout.write(head);
    socket.on("error", () => {}).pipe(process.stdout);
});
request.end();
JS

cat > "$tmp/connect.py" <<'PY'
import http.client, select, socket, ssl, subprocess, sys, threading
import httplib2, socks
from python_socks.sync import Proxy

folder = sys.argv[1]
certificate = f"{folder}/cert.pem"
trusting = ssl.create_default_context(cafile=certificate)

STATUS = b"HTTP/1.1 200 Connection established\r\n"
FIELDS = b"Via: 1.1 proxy.example\r\n\r\n"
GREETING = b"220 server.example ESMTP\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: server.example\r\n\r\n"


def answer_by_tls(connection):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, f"{folder}/key.pem")
    with context.wrap_socket(connection, server_side=True) as server:
        server.recv(1000)
        server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nwelcome")


def proxy(parts, tls):
    """Returns the port of a proxy that answers one CONNECT by these parts, and is the server too."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += connection.recv(1000)
        for number, part in enumerate(parts):
            if number > 0:  # the client has read the part before if it says something
                select.select([connection], [], [], 2)
            connection.sendall(part)
        try:
            if tls:
                answer_by_tls(connection)
        except OSError:
            pass
        connection.close()

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def by_pysocks(port):
    return socks.create_connection(("server.example", 443), proxy_type=socks.HTTP,
                                   proxy_addr="127.0.0.1", proxy_port=port, timeout=20)


def by_python_socks(port):
    return Proxy.from_url(f"http://127.0.0.1:{port}").connect("server.example", 443, timeout=20)


def by_http_client(port):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    client.set_tunnel("server.example", 443)
    client.connect()
    return client.sock


def through_tls(connect):
    def ask(port):
        with trusting.wrap_socket(connect(port), server_hostname="server.example") as client:
            client.sendall(REQUEST)
            return client.recv(1000)

    return ask


def by_httplib2(port):
    way = httplib2.ProxyInfo(socks.HTTP, "127.0.0.1", port)
    return httplib2.Http(ca_certs=certificate, proxy_info=way, timeout=20).request("https://server.example/")[1]


def by_openssl(port):
    command = ["openssl", "s_client", "-proxy", f"127.0.0.1:{port}", "-connect", "server.example:443",
               "-CAfile", certificate, "-verify_return_error", "-quiet"]
    return subprocess.run(command, input=REQUEST, capture_output=True, timeout=20).stdout


def by_node(port):
    return subprocess.run(["node", f"{folder}/connect.js", str(port)], capture_output=True, timeout=20).stdout


def all_of(connect):
    def read(port):
        with connect(port) as client:
            return b"".join(iter(lambda: client.recv(1000), b""))

    return read


def show(title, readers, parts, tls):
    for name, read in readers.items():
        try:
            seen = read(proxy(parts, tls)).decode().splitlines()[-1:]
            print(f"{title}, {name}: {seen[0] if seen else 'nothing'}")
        except ssl.SSLError as error:
            print(f"{title}, {name}: {error.reason}")


clients = {
    "httplib2": by_httplib2,
    "PySocks": through_tls(by_pysocks),
    "python-socks": through_tls(by_python_socks),
    "http.client": through_tls(by_http_client),
    "openssl": by_openssl,
}
show("TLS, in one", clients, [STATUS + FIELDS], tls=True)
show("TLS, in two", clients, [STATUS, FIELDS], tls=True)

clients = {
    "PySocks": all_of(by_pysocks),
    "python-socks": all_of(by_python_socks),
    "http.client": all_of(by_http_client),
    "node": by_node,
}
show("greeting after it", clients, [STATUS + FIELDS, GREETING], tls=False)
show("greeting with it", clients, [STATUS + FIELDS + GREETING], tls=False)
PY

seen=$("$tmp/venv/bin/python" "$tmp/connect.py" "$tmp" 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected='TLS, in one, httplib2: welcome
TLS, in one, PySocks: welcome
TLS, in one, python-socks: welcome
TLS, in one, http.client: welcome
TLS, in one, openssl: welcome
TLS, in two, httplib2: WRONG_VERSION_NUMBER
TLS, in two, PySocks: WRONG_VERSION_NUMBER
TLS, in two, python-socks: WRONG_VERSION_NUMBER
TLS, in two, http.client: welcome
TLS, in two, openssl: welcome
greeting after it, PySocks: 220 server.example ESMTP
greeting after it, python-socks: 220 server.example ESMTP
greeting after it, http.client: 220 server.example ESMTP
greeting after it, node: 220 server.example ESMTP
greeting with it, PySocks: nothing
greeting with it, python-socks: nothing
greeting with it, http.client: nothing
greeting with it, node: 220 server.example ESMTP'

echo "The proxy's answer in one segment or two, or with the server's first line; and what the client gets:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: header fields that come a moment later are the server's first bytes, and TLS fails."
