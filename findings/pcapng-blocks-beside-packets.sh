#!/usr/bin/env bash
#
# Subject      pypcapkit 1.4.1.post2 and python-pcapng 2.1.1, beside scapy 2.8.0 and
#              libpcap 1.10.6 as cypcap 0.6.3 ships it (all PyPI).
# Expected     A pcapng file may have blocks that are no packets, between any two that
#              are: a Custom Block, whose number says who defined it; the systemd
#              journal's export; one of the keys of the connections. An interface may
#              have an IPv6 address, 16 bytes and a prefix length
#              (draft-ietf-opsawg-pcapng, sections on those blocks and option 5 of the
#              "Interface Description Block"). A reader of packets passes over what it
#              has no use for ("General Block Structure").
# Happens      pypcapkit, which knows the Custom Block and the journal's by name, raises
#              an error at the first, without a packet of the file. python-pcapng
#              returns objects for blocks unknown to it that can't be asked whether
#              they have something: hasattr(block, "packet_data") is a RecursionError.
#              Both raise an error at an interface with an IPv6 address.
# Why it       Wireshark writes comments of others, keys and journals into the file
# matters      that it saves. "The capture is damaged" may be a note in it.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

for name in one two; do python3 -m venv "$tmp/$name"; done
"$tmp/one/bin/pip" install --quiet --disable-pip-version-check --no-input scapy==2.8.0 cypcap==0.6.3
# In an environment of its own: another package claims its import name.
"$tmp/two/bin/pip" install --quiet --disable-pip-version-check --no-input \
    python-pcapng==2.1.1 pypcapkit==1.4.1.post2

cat > "$tmp/make.py" <<'PY'
import struct, sys

TAKEN = 1767225600 * 10**6


def block(kind, body):
    body += bytes(-len(body) % 4)
    size = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + size + body + size


def capture(*between, options=b""):
    section = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(1, struct.pack("<HHI", 1, 0, 262144) + options)
    frame = bytes.fromhex("020000000002020000000001 88b5") + bytes(46)
    head = struct.pack("<IIIII", 0, TAKEN >> 32, TAKEN & 0xFFFFFFFF, 60, 60)
    return section + interface + b"".join(between) + block(6, head + frame)


def option(code, value):
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4) + bytes(4)


journal = b"__REALTIME_TIMESTAMP=%d\nMESSAGE=refused\n\n" % TAKEN
keys = b"# no key yet\n"
files = {
    "nothing more": capture(),
    "Custom Block": capture(block(0xBAD, struct.pack("<I", 32473) + b"taken at the gateway")),
    "journal": capture(block(9, journal)),
    "keys": capture(block(10, struct.pack("<II", 0x544C534B, len(keys)) + keys)),
    "IPv4 address": capture(options=option(4, bytes([192, 0, 2, 1, 255, 255, 255, 0]))),
    "IPv6 address": capture(options=option(5, bytes.fromhex("20010db8000000000000000000000001 40"))),
}
for name, data in files.items():
    with open(f"{sys.argv[1]}/{name}.pcapng", "wb") as out:
        out.write(data)
PY

cat > "$tmp/read.py" <<'PY'
import logging, sys
logging.disable(logging.CRITICAL)


def scapy(path):
    from scapy.utils import PcapNgReader
    return len(list(PcapNgReader(path)))


def libpcap(path):
    import cypcap
    with cypcap.open_offline(path) as capture:
        return sum(header is not None for header, _ in capture)


def python_pcapng(path):
    from pcapng import FileScanner
    with open(path, "rb") as file:
        return sum(hasattr(block, "packet_data") for block in FileScanner(file))


def pypcapkit(path):
    import pcapkit
    return len(pcapkit.extract(fin=path, nofile=True, store=True).frame)


for reader in sys.argv[2:]:
    for name in ("nothing more", "Custom Block", "journal", "keys", "IPv4 address", "IPv6 address"):
        try:
            seen = globals()[reader](f"{sys.argv[1]}/{name}.pcapng")
        except Exception as error:
            seen = type(error).__name__
        print(f"{name}, {reader}: {seen}")
PY

python3 "$tmp/make.py" "$tmp"
seen=$({
    "$tmp/one/bin/python" "$tmp/read.py" "$tmp" libpcap scapy
    "$tmp/two/bin/python" "$tmp/read.py" "$tmp" python_pcapng pypcapkit
} 2>"$tmp/stderr" | LC_ALL=C sort) || { cat "$tmp/stderr"; exit 1; }

expected='Custom Block, libpcap: 1
Custom Block, pypcapkit: TypeError
Custom Block, python_pcapng: RecursionError
Custom Block, scapy: 1
IPv4 address, libpcap: 1
IPv4 address, pypcapkit: 1
IPv4 address, python_pcapng: 1
IPv4 address, scapy: 1
IPv6 address, libpcap: 1
IPv6 address, pypcapkit: ValueError
IPv6 address, python_pcapng: TypeError
IPv6 address, scapy: 1
journal, libpcap: 1
journal, pypcapkit: error
journal, python_pcapng: RecursionError
journal, scapy: 1
keys, libpcap: 1
keys, pypcapkit: 1
keys, python_pcapng: RecursionError
keys, scapy: 1
nothing more, libpcap: 1
nothing more, pypcapkit: 1
nothing more, python_pcapng: 1
nothing more, scapy: 1'

echo "Each file has one packet; packets found:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: a block or an address beside the packet, and two readers raise an error."
