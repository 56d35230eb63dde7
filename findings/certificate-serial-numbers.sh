#!/usr/bin/env bash
#
# Subject      @fidm/x509 1.2.1, jsrsasign 11.1.5 and @peculiar/x509 2.2.0 (npm), beside
#              Node's own X509Certificate.
# Expected     A certificate's serial number is a positive integer of up to 20 octets
#              (RFC 5280, section 4.1.2.2). DER puts a zero octet before it where its
#              first bit is set, which is the sign and no part of the number (X.690,
#              section 8.3). Logs and revocation lists name a certificate by issuer and
#              serial number, in hexadecimal; two tools differ in case and colons, and
#              a join takes care of that.
# Happens      @fidm/x509 has two notations: in six octets or less the leading zero of
#              the first one goes, so that 0A is "a" and 0123 is "123"; in more it stays,
#              and so does the sign's octet. jsrsasign keeps the sign's octet, short or
#              long. Node and @peculiar/x509 write what the number has.
# Why it       Half of all random serial numbers begin with a set bit. Half of the
# matters      certificates that a monitor saw are not found in the firewall's log.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

npm install --prefix "$tmp" --silent --no-audit --no-fund --ignore-scripts \
    @fidm/x509@1.2.1 jsrsasign@11.1.5 @peculiar/x509@2.2.0 reflect-metadata@0.2.2 >/dev/null

cd "$tmp"
openssl ecparam -name prime256v1 -genkey -noout -out key.pem 2>/dev/null
for serial in 0A 80 0123 7FFFFFFFFFFF 800000000000 0A00000000000001 FE00000000000000000001; do
    openssl req -x509 -new -key key.pem -days 2 -subj /CN=gw.example -set_serial "0x$serial" -out "$serial.pem"
done

cat > read.js <<'JS'
const { readFileSync } = require("fs");
const { X509Certificate } = require("crypto");
require("reflect-metadata");
const fidm = require("@fidm/x509");
const jsrsasign = require("jsrsasign");
const peculiar = require("@peculiar/x509");

const readers = {
    "Node": (pem) => new X509Certificate(pem).serialNumber,
    "@fidm/x509": (pem) => fidm.Certificate.fromPEM(pem).serialNumber,
    "jsrsasign": (pem) => {
        const certificate = new jsrsasign.X509();
        certificate.readCertPEM(pem);
        return certificate.getSerialNumberHex();
    },
    "@peculiar/x509": (pem) => new peculiar.X509Certificate(pem).serialNumber,
};
for (const serial of process.argv.slice(2)) {
    const pem = readFileSync(`${serial}.pem`, "utf8");
    console.log(`${serial}:`, Object.entries(readers).map(([name, read]) => `${name} ${read(pem)}`).join("; "));
}
JS

seen=$(node read.js 0A 80 0123 7FFFFFFFFFFF 800000000000 0A00000000000001 FE00000000000000000001 2>stderr) || { cat stderr; exit 1; }

expected='0A: Node 0A; @fidm/x509 a; jsrsasign 0a; @peculiar/x509 0a
80: Node 80; @fidm/x509 80; jsrsasign 0080; @peculiar/x509 80
0123: Node 0123; @fidm/x509 123; jsrsasign 0123; @peculiar/x509 0123
7FFFFFFFFFFF: Node 7FFFFFFFFFFF; @fidm/x509 7fffffffffff; jsrsasign 7fffffffffff; @peculiar/x509 7fffffffffff
800000000000: Node 800000000000; @fidm/x509 00800000000000; jsrsasign 00800000000000; @peculiar/x509 800000000000
0A00000000000001: Node 0A00000000000001; @fidm/x509 0a00000000000001; jsrsasign 0a00000000000001; @peculiar/x509 0a00000000000001
FE00000000000000000001: Node FE00000000000000000001; @fidm/x509 00fe00000000000000000001; jsrsasign 00fe00000000000000000001; @peculiar/x509 fe00000000000000000001'

echo "Seven serial numbers, read as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: zeros that aren't in the number stay, and one that is goes."
