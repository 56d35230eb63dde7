#!/usr/bin/env bash
#
# Subject      cert-info 1.5.1, certpem 1.1.3 and cert2json 1.0.13 (npm), beside Node's
#              own X509Certificate and node-forge 1.4.3 (npm).
# Expected     Until 2049 a certificate's dates are UTCTime, with two digits for the
#              year; from 2050 on they MUST be GeneralizedTime, with four, and every
#              reader must take both (RFC 5280, section 4.1.2.5; that section has
#              99991231235959Z for a certificate without an end). An address in
#              subjectAltName is 4 or 16 bytes, and no text (section 4.2.1.6).
# Happens      cert-info takes the first two of the four digits for the year and the
#              other two for the month: a CA that is valid until the end of 2059
#              expired in November 2024, and one without an end expires in 2107.
#              cert2json raises an error, certpem is right. The server's address is
#              among cert-info's names as text, 65.66.67.68 as "ABCD"; in certpem it is
#              an object of its ASN.1 library, and its "subject" is the country, the
#              first part of the name.
# Why it       The CA of a gateway is private and long-lived. A monitor calls it expired
# matters      while every client accepts it, so "expired" is no cause to look at.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

npm install --prefix "$tmp" --silent --no-audit --no-fund --ignore-scripts \
    cert-info@1.5.1 certpem@1.1.3 cert2json@1.0.13 node-forge@1.4.3 >/dev/null
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input cryptography==50.0.2

cat > "$tmp/make.py" <<'PY'
import ipaddress, sys
from datetime import datetime, timezone
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

key = rsa.generate_private_key(65537, 2048)
name = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "ZZ"), x509.NameAttribute(NameOID.COMMON_NAME, "gw.example")])
names = [x509.DNSName("gw.example")]
names.append(x509.IPAddress(ipaddress.ip_address("65.66.67.68")))
for year in (2049, 2059, 9999):
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(datetime(2026, 1, 1, tzinfo=timezone.utc))
        .not_valid_after(datetime(year, 12, 31, 23, 59, 59, tzinfo=timezone.utc))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    with open(f"{sys.argv[1]}/{year}.pem", "wb") as out:
        out.write(certificate.public_bytes(serialization.Encoding.PEM))
PY

cat > "$tmp/read.js" <<'JS'
const { readFileSync } = require("fs");
const { X509Certificate } = require("crypto");

const day = (date) => (date === undefined ? "none" : new Date(date).toISOString());
const readers = {
    "Node": (pem) => day(new X509Certificate(pem).validTo),
    "node-forge": (pem) => day(require("node-forge").pki.certificateFromPem(pem).validity.notAfter),
    "cert-info": (pem) => day(require("cert-info").info(pem).expiresAt),
    "certpem": (pem) => day(require("certpem").info(pem).expiresAt),
    "cert2json": (pem) => day(require("cert2json").parse(pem).tbs.validity.notAfter),
};
const read = (year) => readFileSync(`${process.argv[2]}/${year}.pem`, "utf8");
for (const year of [2049, 2059, 9999]) {
    for (const [reader, expires] of Object.entries(readers)) {
        let seen;
        try { seen = expires(read(year)); } catch (error) { seen = error.message; }
        console.log(`until ${year}, ${reader}: ${seen}`);
    }
}
for (const reader of ["cert-info", "certpem"]) {
    const { subject, altnames } = require(reader).info(read(2049));
    console.log(`${reader}: subject ${subject}; names`,
        altnames.map((name) => (typeof name === "string" ? JSON.stringify(name) : "an object")).join(", "));
}
JS

"$tmp/venv/bin/python" "$tmp/make.py" "$tmp"
seen=$(node "$tmp/read.js" "$tmp" 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected=$(cat <<'TXT'
until 2049, Node: 2049-12-31T23:59:59.000Z
until 2049, node-forge: 2049-12-31T23:59:59.000Z
until 2049, cert-info: 2049-12-31T23:59:59.000Z
until 2049, certpem: 2049-12-31T23:59:59.000Z
until 2049, cert2json: 2049-12-31T23:59:59.000Z
until 2059, Node: 2059-12-31T23:59:59.000Z
until 2059, node-forge: 2059-12-31T23:59:59.000Z
until 2059, cert-info: 2024-11-13T07:23:59.000Z
until 2059, certpem: 2059-12-31T23:59:59.000Z
until 2059, cert2json: No parsing function for GENERALIZEDTIME 18
until 9999, Node: 9999-12-31T23:59:59.000Z
until 9999, node-forge: 9999-12-31T23:59:59.000Z
until 9999, cert-info: 2107-03-13T07:23:59.000Z
until 9999, certpem: 9999-12-31T23:59:59.000Z
until 9999, cert2json: No parsing function for GENERALIZEDTIME 18
cert-info: subject gw.example; names "gw.example", "ABCD"
certpem: subject ZZ; names "gw.example", an object
TXT
)

echo "Three certificates for gw.example and 65.66.67.68; their end and their names read as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: to cert-info the one that is valid until 2059 expired in 2024."
