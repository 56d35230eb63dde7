#!/usr/bin/env bash
#
# Subject      netflow 0.12.2, ipfix 0.9.7 and scapy 2.8.0, beside netflume 0.6.0
#              (all PyPI), which read flow records.
# Expected     An IPFIX template says of each element its number, its length and, by a
#              bit, whether an enterprise follows that has given the number; without
#              it the number means something else (RFC 7011, section 3.2). Enterprise
#              29305 is the other direction of the same connection (RFC 5103, section
#              6.1). Length 65535 announces a length in each record (section 7 of RFC
#              7011), a counter may have any number of octets up to its type's (section
#              6.2), and microseconds are an NTP time stamp, from 1900 on (6.1.9).
# Happens      netflow drops the enterprise: octets there and back become one number,
#              and it depends on the two values which of them that is. scapy raises an
#              error, for it has one name for both. Where a length is in the record,
#              netflow raises an error, and scapy reads no record and then an address
#              as the next set's header. Five octets are an error in netflow and ipfix.
#              ipfix counts microseconds from 1970: this year's flows are of 2096.
#              (The last is corrected upstream, and was never released; a pull request
#              that gives netflow names for the other direction is open.)
# Why it       A flow meter that reports TLS, such as YAF, puts both directions and the
# matters      server's name into one record. netflow and scapy have none of it then, or
#              one in which "nothing came back" is asked of the wrong number.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    netflow==0.12.2 ipfix==0.9.7 scapy==2.8.0 netflume==0.6.0

cat > "$tmp/read.py" <<'PY'
import logging, struct, warnings
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

SOURCE, OCTETS, TARGET, INTERFACE, START = 8, 1, 12, 82, 154
REVERSE = 29305
ADDRESSES = bytes([192, 0, 2, 1, 198, 51, 100, 4])
BEGIN = 1767225600  # 2026-01-01T00:00:00Z


def numbered_set(number, body):
    return struct.pack("!HH", number, 4 + len(body)) + body


def message(elements, *records):
    template = struct.pack("!HH", 256, 2 + len(elements)) + struct.pack("!HHHH", SOURCE, 4, TARGET, 4)
    for number, length, *enterprise in elements:
        template += struct.pack("!HH", number | (0x8000 if enterprise else 0), length)
        template += struct.pack("!I", *enterprise) if enterprise else b""
    data = b"".join(ADDRESSES + record for record in records)
    sets = numbered_set(2, template) + numbered_set(256, data)
    return struct.pack("!HHIII", 10, 16 + len(sets), BEGIN, 0, 1) + sets


cases = {
    "plain": message([(OCTETS, 8)], struct.pack("!Q", 5000)),
    "both directions": message(
        [(OCTETS, 8), (OCTETS, 8, REVERSE)],
        *(struct.pack("!QQ", *pair) for pair in ((3200, 517), (90000, 1200), (640, 64000))),
    ),
    "a name": message([(INTERFACE, 65535)], b"\4wan0", b"\6tunnel"),
    "five octets": message([(OCTETS, 5)], (5000).to_bytes(5, "big")),
    "microseconds": message([(START, 8)], struct.pack("!II", BEGIN + 2208988800, 1 << 30)),
}


def netflow(data):
    import netflow
    return [flow.data for flow in netflow.parse_packet(data, {"netflow": {}, "ipfix": {}}).flows]


def ipfix(data):
    import ipfix.message
    ipfix.ie.use_iana_default()
    ipfix.ie.use_5103_default()
    buffer = ipfix.message.MessageBuffer()
    buffer.from_bytes(data)
    return list(buffer.namedict_iterator())


def netflume(data):
    from netflume import TemplateStore, parse_message
    return parse_message(data, "192.0.2.9", TemplateStore())[1]


def scapy(data):
    from scapy.layers.inet import IP, UDP
    from scapy.layers.netflow import NetflowDataflowsetV9, NetflowHeader, netflowv9_defragment
    layer = netflowv9_defragment(IP() / UDP() / NetflowHeader(data))[0][NetflowDataflowsetV9]
    read = []
    while isinstance(layer, NetflowDataflowsetV9):
        read += [{"set": layer.templateID, **record.fields} for record in layer.records]
        layer = layer.payload
    return [{k: v for k, v in record.items() if (k, v) != ("set", 256)} for record in read]


def shown(value):
    return value.hex(" ") if isinstance(value, bytes) else value


ENDS = {"sourceIPv4Address", "destinationIPv4Address", "src_addr", "dst_addr", "IPV4_SRC_ADDR", "IPV4_DST_ADDR"}
for name, data in cases.items():
    for reader in (netflume, netflow, ipfix, scapy):
        try:
            seen = [
                ", ".join(f"{key} {shown(value)}" for key, value in sorted(record.items()) if key not in ENDS)
                for record in reader(data)
            ]
        except Exception as error:
            seen = [type(error).__name__]
        print(f"{name}, {reader.__name__}:", "; ".join(seen))
PY

seen=$("$tmp/venv/bin/python" "$tmp/read.py" 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected='plain, netflume: octets 5000
plain, netflow: octetDeltaCount 5000
plain, ipfix: octetDeltaCount 5000
plain, scapy: IN_BYTES 5000
both directions, netflume: e29305.1 517, octets 3200; e29305.1 1200, octets 90000; e29305.1 64000, octets 640
both directions, netflow: octetDeltaCount 3200; octetDeltaCount 1200; octetDeltaCount 640
both directions, ipfix: octetDeltaCount 3200, reverseOctetDeltaCount 517; octetDeltaCount 90000, reverseOctetDeltaCount 1200; octetDeltaCount 640, reverseOctetDeltaCount 64000
both directions, scapy: ValueError
a name, netflume: if_name wan0; if_name tunnel
a name, netflow: PaddingCalculationError
a name, ipfix: interfaceName wan0; interfaceName tunnel
a name, scapy: fieldValue c6 33 64 04 04 77 61 6e 30 c0 00 02 01 c6 33 64 04 06 74 75 6e 6e 65 6c, set 49152
five octets, netflume: octets 5000
five octets, netflow: IPFIXTemplateError
five octets, ipfix: IpfixTypeError
five octets, scapy: IN_BYTES 5000
microseconds, netflume: flow_start_us 1767225600.25
microseconds, netflow: flowStartMicroseconds (3976214400, 1073741824)
microseconds, ipfix: flowStartMicroseconds 2096-01-01 00:00:00.250000
microseconds, scapy: flowStartMicroseconds 17077710810958004224'

echo "Five messages of flow records, read as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: only netflume has both directions, the names, the counter and the time."
