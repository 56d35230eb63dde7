#!/usr/bin/env bash
#
# Subject      proxy-protocol-js 4.0.6 and @balena/proxy-protocol-parser 1.0.2 (npm).
# Expected     The header that a load balancer puts before a TLS connection has a
#              length of its own, and between the addresses and that length stand its
#              extensions (TLVs), which a receiver interprets or skips (HAProxy's PROXY
#              protocol text, section 2.2). What follows the header is the client's
#              first byte. In version 1 a sender that knows no addresses may
#              write "PROXY UNKNOWN" and end the line there (section 2.1).
# Happens      proxy-protocol-js counts the extensions as the client's data: the
#              ClientHello begins with them instead of 16 03, and the header that it
#              builds back from what it parsed has the length without them.
#              It raises an error for the short PROXY UNKNOWN; the balena parser reads
#              across the line's end and gives the first bytes of the TLS record as
#              the local address.
# Why it       HAProxy (proxy-v2-options) and cloud balancers send extensions. Behind
# matters      them TLS "isn't TLS", and it isn't the client's fault.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

npm install --prefix "$tmp" --silent --no-audit --no-fund --ignore-scripts \
    proxy-protocol-js@4.0.6 @balena/proxy-protocol-parser@1.0.2 >/dev/null

cat > "$tmp/read.js" <<'JS'
const { V1BinaryProxyProtocol, V2ProxyProtocol } = require("proxy-protocol-js");
const { decode } = require("@balena/proxy-protocol-parser");

const hex = (text) => Buffer.from(text.replace(/ /g, ""), "hex");
const hello = hex("16 03 01 00 05"); // how a ClientHello's record begins
const v2 = (body) =>
    Buffer.concat([hex("0d0a0d0a000d0a515549540a 21 11"), hex("00"), Buffer.from([body.length]), body]);
const addresses = hex("c0000201 c6336404 c001 01bb"); // 192.0.2.1:49153 to 198.51.100.4:443
const authority = Buffer.concat([hex("02 000a"), Buffer.from("gw.example")]); // the SNI, as a TLV

const plain = v2(addresses);
const extended = v2(Buffer.concat([addresses, authority]));
for (const [name, header] of [["v2 without TLV", plain], ["v2 with TLV", extended]]) {
    const input = Buffer.concat([header, hello]);
    const read = V2ProxyProtocol.parse(new Uint8Array(input));
    console.log(`${name}, proxy-protocol-js: data ${Buffer.from(read.data).toString("hex")},`,
        `built back alike: ${Buffer.from(read.build()).equals(input)}`);
    const other = decode(input);
    console.log(`${name}, balena: ${other.remoteAddress}:${other.remotePort}`,
        `to ${other.localAddress}:${other.localPort}`);
}

const unknown = Buffer.concat([Buffer.from("PROXY UNKNOWN\r\n"), hello]);
try {
    console.log("v1 UNKNOWN, proxy-protocol-js:", V1BinaryProxyProtocol.parse(new Uint8Array(unknown)));
} catch (error) {
    console.log("v1 UNKNOWN, proxy-protocol-js:", error.message);
}
const { remoteAddress, localAddress } = decode(unknown);
console.log("v1 UNKNOWN, balena: from", JSON.stringify(remoteAddress), "to", JSON.stringify(localAddress));
JS

seen=$(node "$tmp/read.js" 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected=$(cat <<'TXT'
v2 without TLV, proxy-protocol-js: data 1603010005, built back alike: true
v2 without TLV, balena: 192.0.2.1:49153 to 198.51.100.4:443
v2 with TLV, proxy-protocol-js: data 02000a67772e6578616d706c651603010005, built back alike: false
v2 with TLV, balena: 192.0.2.1:49153 to 198.51.100.4:443
v1 UNKNOWN, proxy-protocol-js: protocol payload has been terminated unexpectedly
v1 UNKNOWN, balena: from "\r\n" to "\u0016\u0003\u0001\u0000\u0005"
TXT
)

echo "The client's data is 1603010005 each time; read as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: extensions become data, and TLS bytes an address."
