#!/usr/bin/env bash
#
# Subject      cryptoparser 1.6.1 (PyPI), which reads TLS messages for the scanner
#              cryptolyzer; beside it scapy 2.8.0 and tls-parser 2.0.2 (PyPI). The
#              alerts are those of a server of Python's ssl module, which sends the one
#              that its callback for the server's name asks for.
# Expected     An alert's second byte is its description: unknown_ca is 48,
#              access_denied 49 (RFC 8446, section 6; the same numbers since RFC 2246),
#              and no_renegotiation 100 (RFC 5246, section 7.2). The first says that
#              the certificate's issuer is not trusted, the second that the certificate
#              was valid and its owner is not let in (section 6.2 of RFC 8446).
# Happens      In cryptoparser's table access_denied has the number of unknown_ca, and
#              so is but another name of that: to write access_denied gives 48, an
#              unknown_ca. Read, a 49 is no alert but an error, InvalidValue, as are 100
#              and TLS 1.2's 30 (decompression_failure), which the table hasn't got.
#              Every other alert that Python can name comes out right. scapy and
#              tls-parser read all of them.
# Why it       rustls 0.23 sends access_denied where it has no certificate for the name
# matters      that was asked for. The one record that says why the connection broke is
#              the one that can't be read; and a test double that is told to deny
#              access blames the CA.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    CryptoParser==1.6.1 CryptoDataHub==1.6.1 scapy==2.8.0 cryptography==44.0.3 tls-parser==2.0.2
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=server.example \
    -addext subjectAltName=DNS:server.example -keyout "$tmp/key.pem" -out "$tmp/cert.pem" 2>/dev/null

cat > "$tmp/alerts.py" <<'PY'
import ssl, sys
from cryptodatahub.common.exception import InvalidValue
from cryptoparser.tls.record import TlsRecord
from cryptoparser.tls.subprotocol import (
    TlsAlertDescription, TlsAlertLevel, TlsAlertMessage, TlsContentType, TlsSubprotocolMessageParser,
)
from scapy.layers.tls.record import TLS, TLSAlert
from tls_parser.parser import TlsRecordParser

folder = sys.argv[1]


def alert_of_server(alert):
    """Returns the record by which a server refuses the name that a client asks for."""
    for_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for_server.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    for_server.sni_callback = lambda connection, name, context: alert
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(to_client, to_server, server_hostname="server.example")
    server = for_server.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server):
        try:
            side.do_handshake()
        except ssl.SSLError:
            pass
    return to_client.read()


def by_cryptoparser(record):
    outer, _ = TlsRecord.parse_immutable(record)
    try:
        message, _ = TlsSubprotocolMessageParser(outer.content_type).parse(outer.fragment)
    except InvalidValue:
        return "InvalidValue"
    return message.description.name.lower()


def by_scapy(record):
    name = TLS(record)[TLSAlert].sprintf("%TLSAlert.descr%")
    return name.removesuffix("_RESERVED")


def by_tls_parser(record):
    return TlsRecordParser.parse_bytes(record)[0].alert_description


right = {"cryptoparser": 0, "scapy": 0, "tls-parser": 0}
names = sorted(ssl.AlertDescription)
for alert in names:
    record = alert_of_server(alert)
    assert record[0] == 21 and record[3:] == bytes([0, 2, 2, alert]), record
    name = alert.name.removeprefix("ALERT_DESCRIPTION_").lower()
    name = name.replace("cancelled", "canceled")  # as the standard spells it
    own = by_cryptoparser(record)
    right["cryptoparser"] += own == name
    right["scapy"] += by_scapy(record) == name
    right["tls-parser"] += by_tls_parser(record) == alert
    if own != name:
        print(f"{record.hex(' ')}, {name}: {own}")
for reader, count in right.items():
    print(f"{reader}: {'all' if count == len(names) else f'all but {len(names) - count}'}")

print("the name of ACCESS_DENIED:", TlsAlertDescription.ACCESS_DENIED.name)
written = TlsRecord(content_type=TlsContentType.ALERT, fragment=TlsAlertMessage(
    TlsAlertLevel.FATAL, TlsAlertDescription.ACCESS_DENIED).compose()).compose()
print("written by it:", written.hex(" "))
client = ssl.create_default_context()
to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
client = client.wrap_bio(to_client, to_server, server_hostname="server.example")
try:
    client.do_handshake()
except ssl.SSLWantReadError:
    to_client.write(written)
try:
    client.do_handshake()
except ssl.SSLError as error:
    print("to a client this is:", error.reason)
PY

seen=$("$tmp/venv/bin/python" "$tmp/alerts.py" "$tmp" 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected='15 03 03 00 02 02 1e, decompression_failure: InvalidValue
15 03 03 00 02 02 31, access_denied: InvalidValue
15 03 03 00 02 02 64, no_renegotiation: InvalidValue
cryptoparser: all but 3
scapy: all
tls-parser: all
the name of ACCESS_DENIED: UNKNOWN_CA
written by it: 15 03 01 00 02 02 30
to a client this is: TLSV1_ALERT_UNKNOWN_CA'

echo "The alerts of a server by their names, and an access_denied that cryptoparser writes:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: access_denied can't be read, and what is written as one is unknown_ca."
