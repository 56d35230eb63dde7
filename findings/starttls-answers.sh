#!/usr/bin/env bash
#
# Subject      ssl-checker 3.0.1 (npm), beside ftplib, imaplib and smtplib of
#              Python 3.11.
# Expected     Before the ClientHello the client waits for the server's yes, whatever
#              stands before it: an FTP answer has as many lines as its first one's
#              hyphen announces (RFC 959, section 4.2), and an IMAP server may send
#              untagged data before the tagged answer that ends the command (RFC 9051,
#              section 2.2.2). A no (454 in SMTP, RFC 3207, section 4) ends the
#              attempt, and is what failed.
# Happens      ssl-checker takes the first bytes up to a line's end for the answer and
#              doesn't look what they say. After a greeting of two lines, or an
#              untagged one, it is a line ahead and sends its ClientHello too soon; the
#              server's yes arrives in place of the ServerHello. After a no it sends the
#              ClientHello all the same. Each time it reports an error of TLS.
# Why it       The wire shows a ClientHello answered by plain text, and the monitor a
# matters      TLS that is broken: of a server that is in order, or that said why not.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

npm install --prefix "$tmp" --silent --no-audit --no-fund --ignore-scripts ssl-checker@3.0.1 >/dev/null
cd "$tmp"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -keyout key.pem -out certificate.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null

cat > check.js <<'JS'
const [, , protocol, port] = process.argv;
const checker = require("ssl-checker");
(checker.default || checker)("127.0.0.1", { protocol, port: Number(port), servername: "localhost" })
    .then(({ subject }) => console.log(`certificate of ${subject.CN}`))
    .catch(({ code }) => console.log(/^ERR_SSL_/.test(code) ? "an error of TLS" : code));
JS

cat > measure.py <<'PY'
"""Servers on loopback that speak as far as TLS, each to ssl-checker and to Python's own client."""
import ftplib, imaplib, smtplib, socket, ssl, subprocess, sys, threading, time

server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server_side.load_cert_chain("certificate.pem", "key.pem")
client_side = ssl.create_default_context(cafile="certificate.pem")

# What the server sends first, and its answers to commands; None begins TLS.
FTP = {"AUTH TLS": ["234 go on", None]}
IMAP = {"CAPABILITY": ["* CAPABILITY IMAP4rev1 STARTTLS", "TAG OK done"], "LOGOUT": ["* BYE", "TAG OK done"]}
SMTP = {"EHLO": ["250-localhost", "250 STARTTLS"]}
cases = {
    "ftp, greeting of one line": ("ftp", ["220 ready"], FTP),
    "ftp, greeting of two lines": ("ftp", ["220-All use is logged.", "220 ready"], FTP),
    "imap, tagged answer": ("imap", ["* OK ready"], IMAP | {"STARTTLS": ["TAG OK begin", None]}),
    "imap, untagged data before it": ("imap", ["* OK ready"], IMAP | {"STARTTLS": ["* OK Still here", "TAG OK begin", None]}),
    "smtp, yes": ("smtp", ["220 ready"], SMTP | {"STARTTLS": ["220 go on", None]}),
    "smtp, no": ("smtp", ["220 ready"], SMTP | {"STARTTLS": ["454 TLS not available"]}),
}


def serve(listener, greeting, answers):
    def send(lines, tag):
        for line in lines:
            if line is None:
                return True
            peer.sendall(line.replace("TAG", tag).encode() + b"\r\n")
            time.sleep(0.3)  # each line in a segment of its own, as over a slow line

    def read_line():
        line = b""
        while not line.endswith(b"\n"):
            byte = peer.recv(1)  # and nothing of what stands behind the line
            if not byte:
                return None
            line += byte
        return line.decode("latin-1").strip()

    peer, _ = listener.accept()
    peer.settimeout(10)
    try:
        send(greeting, "")
        while (line := read_line()) is not None:
            tag, _, command = line.partition(" ") if "TAG" in str(answers) else ("", "", line)
            known = [answer for name, answer in answers.items() if command.upper().startswith(name)]
            if send(known[0] if known else ["500 unknown command"], tag):
                peer = server_side.wrap_socket(peer, server_side=True)
                while peer.recv(1024):
                    pass
    except (OSError, ValueError):
        pass
    peer.close()


def python(protocol, port):
    if protocol == "ftp":
        client = ftplib.FTP_TLS(context=client_side)
        client.connect("localhost", port, timeout=10)
        client.auth()
        sock = client.sock
    elif protocol == "imap":
        client = imaplib.IMAP4("localhost", port, timeout=10)
        client._get_capabilities = lambda: None  # it asks again inside TLS, where this server is silent
        client.starttls(client_side)
        sock = client.sock
    else:
        client = smtplib.SMTP("localhost", port, timeout=10)
        client.starttls(context=client_side)
        sock = client.sock
    name = dict(pair for [pair] in sock.getpeercert()["subject"])["commonName"]
    sock.close()
    return f"certificate of {name}"


def check(protocol, port):
    return subprocess.run(["node", "check.js", protocol, str(port)], capture_output=True, text=True, timeout=60).stdout.strip()


for name, (protocol, greeting, answers) in cases.items():
    for reader in (python, check):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve, args=(listener, greeting, answers), daemon=True)
            thread.start()
            try:
                seen = reader(protocol, listener.getsockname()[1])
            except Exception as error:
                seen = f"{type(error).__name__}: {error}"
        thread.join(20)
        print(f"{name}, {'Python' if reader is python else 'ssl-checker'}: {seen}")
PY

seen=$(python3 measure.py 2>stderr) || { cat stderr; exit 1; }

expected=$(cat <<'TXT'
ftp, greeting of one line, Python: certificate of localhost
ftp, greeting of one line, ssl-checker: certificate of localhost
ftp, greeting of two lines, Python: certificate of localhost
ftp, greeting of two lines, ssl-checker: an error of TLS
imap, tagged answer, Python: certificate of localhost
imap, tagged answer, ssl-checker: certificate of localhost
imap, untagged data before it, Python: certificate of localhost
imap, untagged data before it, ssl-checker: an error of TLS
smtp, yes, Python: certificate of localhost
smtp, yes, ssl-checker: certificate of localhost
smtp, no, Python: SMTPResponseException: (454, b'TLS not available')
smtp, no, ssl-checker: an error of TLS
TXT
)

echo "The servers on loopback, and what each client says of them:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: ssl-checker says that TLS is broken where the answer has a line more, or is a no."
