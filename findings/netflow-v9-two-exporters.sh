#!/usr/bin/env bash
#
# Subject      netflow 0.12.2 with its collector, scapy 2.8.0 (PyPI) and node-netflowv9
#              0.2.16 (npm), beside netflume 0.6.0 (PyPI), on NetFlow version 9.
# Expected     A NetFlow record is bytes without names; a template that was sent before
#              says what they are. The template's number is unique only within the
#              observation domain that it comes from (RFC 3954, section 5.2), and a
#              collector goes by the exporter's address together with the Source ID in
#              the header (section 5.1). The first number there is is 256, so that two
#              exporters, or two cards of one, easily have the same.
# Happens      netflow's collector and scapy have one table by the number alone: the
#              last template read counts for every exporter. node-netflowv9 keeps
#              exporters apart, but not the domains of one. Records of the first are then
#              read by the template of the second, without an error: client and server
#              change places, and octets become packets. netflume has each right.
#              (netflow's source has a note that templates ought to be kept by client.)
# Why it       By the flows the server has opened the connections, from port 443, and a
# matters      broken handshake of 700 bytes is a long download of 700 packets. It comes
#              with the second exporter, and which of them is wrong depends on whose
#              template was sent last.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    netflow==0.12.2 scapy==2.8.0 netflume==0.6.0
npm install --prefix "$tmp" --silent --no-audit --no-fund --ignore-scripts node-netflowv9@0.2.16 >/dev/null

cat > "$tmp/by-node.js" <<'JS'
const collector = require("node-netflowv9")(() => {});
for (const [address, hex] of JSON.parse(process.argv[2])) {
    for (const flow of collector.nfPktDecode(Buffer.from(hex, "hex"), { address, port: 2055 }).flows) {
        console.log(JSON.stringify(flow));
    }
}
process.exit(0);
JS

cat > "$tmp/read.py" <<'PY'
import json, logging, socket, struct, subprocess, sys
logging.disable(logging.CRITICAL)
from netflow.collector import ThreadedNetFlowListener
from netflume import TemplateStore, parse_message
from scapy.layers.inet import IP, UDP
from scapy.layers.netflow import NetflowDataflowsetV9, NetflowHeader, netflowv9_defragment

OCTETS, PACKETS, SOURCE_PORT, SOURCE, TARGET_PORT, TARGET = 1, 2, 7, 8, 11, 12
OF_FIRST = (SOURCE, TARGET, SOURCE_PORT, TARGET_PORT, OCTETS)
OF_SECOND = (TARGET, SOURCE, TARGET_PORT, SOURCE_PORT, PACKETS)
LENGTHS = {SOURCE_PORT: 2, TARGET_PORT: 2}


def flow_set(number, body):
    return struct.pack("!HH", number, 4 + len(body)) + body


def message(domain, sequence, body):
    return struct.pack("!HHIIII", 9, 1, 60000, 1767225600, sequence, domain) + body


def template(fields):
    listed = b"".join(struct.pack("!HH", field, LENGTHS.get(field, 4)) for field in fields)
    return flow_set(0, struct.pack("!HH", 256, len(fields)) + listed)


def record(*values):
    (one, other), rest = values[:2], values[2:]
    return flow_set(256, socket.inet_aton(one) + socket.inet_aton(other) + struct.pack("!HHI", *rest))


def messages(first, second):
    """What two exporters send, each an address and a domain: their templates, and a flow each."""
    return [
        (first[0], message(first[1], 0, template(OF_FIRST))),
        (second[0], message(second[1], 0, template(OF_SECOND))),
        (first[0], message(first[1], 1, record("192.0.2.1", "198.51.100.4", 49152, 443, 700))),
        (second[0], message(second[1], 1, record("198.51.100.4", "192.0.2.2", 443, 49153, 9))),
    ]


def by_netflow(sent):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    listener = ThreadedNetFlowListener("127.0.0.1", port)
    listener.start()
    flows = []
    try:
        for address, data in sent:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as exporter:
                exporter.bind((address, 0))
                exporter.sendto(data, ("127.0.0.1", port))
            received = listener.get(timeout=20)
            assert received.client[0] == address
            flows += [flow.data for flow in received.export.flows]
    finally:
        listener.stop()
        listener.join()
    return flows


def by_scapy(sent):
    packets = [IP(src=address) / UDP(sport=2055, dport=2055) / NetflowHeader(data) for address, data in sent]
    read = netflowv9_defragment(packets, verb=0)
    return [flow.fields for packet in read if NetflowDataflowsetV9 in packet
            for flow in packet[NetflowDataflowsetV9].records]


def by_node(sent):
    given = json.dumps([(address, data.hex()) for address, data in sent])
    printed = subprocess.run(["node", "by-node.js", given], capture_output=True, check=True, text=True).stdout
    return [{name.upper(): value for name, value in json.loads(line).items()} for line in printed.splitlines()]


NAMES = {
    "src_addr": "IPV4_SRC_ADDR", "dst_addr": "IPV4_DST_ADDR", "src_port": "L4_SRC_PORT", "dst_port": "L4_DST_PORT",
    "octets": "IN_BYTES", "packets": "IN_PKTS",
}


def by_netflume(sent):
    store = TemplateStore()
    return [{NAMES[name]: value for name, value in flow.items() if name in NAMES}
            for address, data in sent for flow in parse_message(data, address, store)[1]]


def shown(flow):
    size = f"{flow['IN_BYTES']} octets" if "IN_BYTES" in flow else f"{flow['IN_PKTS']} packets"
    source, target = (f"{flow[f'IPV4_{end}_ADDR']}:{flow[f'L4_{end}_PORT']}" for end in ("SRC", "DST"))
    return f"{source} > {target}, {size}"


for title, exporters in (
    ("two domains of one exporter", (("127.0.0.1", 1), ("127.0.0.1", 2))),
    ("two exporters", (("127.0.0.1", 0), ("127.0.0.2", 0))),
):
    print(f"{title}:")
    for name, read in (
        ("netflume", by_netflume), ("netflow", by_netflow), ("scapy", by_scapy), ("node-netflowv9", by_node),
    ):
        print(f"  {name}:", "; ".join(map(shown, read(messages(*exporters)))))
PY

cd "$tmp"
seen=$(venv/bin/python read.py 2>stderr) || { cat stderr; exit 1; }

expected='two domains of one exporter:
  netflume: 192.0.2.1:49152 > 198.51.100.4:443, 700 octets; 192.0.2.2:49153 > 198.51.100.4:443, 9 packets
  netflow: 198.51.100.4:443 > 192.0.2.1:49152, 700 packets; 192.0.2.2:49153 > 198.51.100.4:443, 9 packets
  scapy: 198.51.100.4:443 > 192.0.2.1:49152, 700 packets; 192.0.2.2:49153 > 198.51.100.4:443, 9 packets
  node-netflowv9: 198.51.100.4:443 > 192.0.2.1:49152, 700 packets; 192.0.2.2:49153 > 198.51.100.4:443, 9 packets
two exporters:
  netflume: 192.0.2.1:49152 > 198.51.100.4:443, 700 octets; 192.0.2.2:49153 > 198.51.100.4:443, 9 packets
  netflow: 198.51.100.4:443 > 192.0.2.1:49152, 700 packets; 192.0.2.2:49153 > 198.51.100.4:443, 9 packets
  scapy: 198.51.100.4:443 > 192.0.2.1:49152, 700 packets; 192.0.2.2:49153 > 198.51.100.4:443, 9 packets
  node-netflowv9: 192.0.2.1:49152 > 198.51.100.4:443, 700 octets; 192.0.2.2:49153 > 198.51.100.4:443, 9 packets'

echo "A flow of each of two senders whose templates have the same number, read as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: the first one's flow is turned round, and its octets are packets."
