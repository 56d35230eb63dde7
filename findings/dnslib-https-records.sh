#!/usr/bin/env bash
#
# Subject      dnslib 0.9.26 (PyPI), by which Python programs serve and read DNS; at the
#              other end dnspython 2.9.2 (PyPI).
# Expected     An HTTPS record tells a client the protocols, the port and the ECH keys of
#              a server before its ClientHello. In a zone file its parameters may stand
#              in any order, the keys in "mandatory" too (RFC 9460, sections 2.1 and 8),
#              and a value with or without quotes (appendix A); on the wire the keys
#              are in strictly increasing order, and a client that finds them otherwise
#              MUST reject all records of the name (section 2.2). The parameter
#              with the keys for ECH is called ech (RFC 9848).
# Happens      dnslib sends the parameters, and the keys in "mandatory", as the zone's
#              author has written them: dnspython then rejects the answer, with the
#              record beside it that is in order. A quoted value is an "unrecognized
#              SvcParamKey", and so is ech, which dnslib knows and writes by the name
#              of an old draft, echconfig. So neither of the two reads the other's text
#              of a record. dnspython reads each of these lines and sends it in order.
# Why it       A browser that drops the record goes to port 443 by TCP, without ECH: the
# matters      wire shows a plain ClientHello to a port where nothing listens, while
#              dnslib's own view of the answer is complete. "There is no ECH in this
#              record" may be a matter of its name.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input dnslib==0.9.26 dnspython==2.9.2

cat > "$tmp/records.py" <<'PY'
import base64, struct
import dns.exception, dns.message, dns.rdata, dns.rrset
from dnslib import QTYPE, RR, DNSHeader, DNSQuestion, DNSRecord
from dnslib.dns import DNSError

NAME = "gw.example."


def with_length(data, form="!H"):
    return struct.pack(form, len(data)) + data


# An ECHConfigList of one configuration: X25519, HKDF-SHA256 with AES-128-GCM.
contents = struct.pack("!BH", 1, 0x0020) + with_length(bytes(range(32))) + with_length(struct.pack("!HH", 1, 1))
contents += b"\0" + with_length(b"cover.example", "!B") + with_length(b"")
ech = base64.b64encode(with_length(struct.pack("!H", 0xFE0D) + with_length(contents))).decode()


def shown(text):
    return text.replace(ech, "…")


def by_dnslib(*lines):
    """Returns the answer of a server whose zone has these records."""
    answer = DNSRecord(DNSHeader(qr=1, aa=1), q=DNSQuestion(NAME, QTYPE.HTTPS))
    for line in lines:
        answer.add_answer(*RR.fromZone(f"{NAME} 300 IN HTTPS {line}"))
    return bytes(answer.pack())


def by_dnspython(*lines):
    answer = dns.message.make_response(dns.message.make_query(NAME, "HTTPS"))
    answer.answer.append(dns.rrset.from_text(NAME, 300, "IN", "HTTPS", *lines))
    return answer.to_wire()


def read_by_dnslib(answer):
    return [str(record.rdata) for record in DNSRecord.parse(answer).rr]


def read_by_dnspython(answer):
    return sorted(record.to_text() for record in dns.message.from_wire(answer).answer[0])


def attempt(action, *arguments):
    try:
        return shown(" + ".join(action(*arguments)))
    except (DNSError, dns.exception.DNSException) as error:
        return f"{type(error).__name__}: {error}"


for lines in (
    ["1 . alpn=h2 port=8443"],
    ["1 . port=8443 alpn=h2"],
    ["1 . mandatory=port,alpn alpn=h2 port=8443"],
    ["1 . alpn=h3", "2 . port=8443 alpn=h2"],
    ['1 . alpn="h2" port="8443"'],
    [f"1 . alpn=h2 ech={ech}"],
):
    print("zone:", shown(" + ".join(lines)))
    print("  of dnslib, dnspython:", attempt(lambda: read_by_dnspython(by_dnslib(*lines))))
    print("  of dnspython, itself:", attempt(lambda: read_by_dnspython(by_dnspython(*lines))))

print("dnslib of its own answer:", attempt(lambda: read_by_dnslib(by_dnslib("1 . port=8443 alpn=h2"))))
answer = by_dnspython(f"1 . alpn=h2 ech={ech}")
for line in read_by_dnslib(answer):
    print("dnslib's text:", shown(line))
    print("  in dnspython's zone:", attempt(lambda: read_by_dnspython(by_dnspython(line))))
for line in read_by_dnspython(answer):
    print("dnspython's text:", shown(line))
    print("  in dnslib's zone:", attempt(lambda: read_by_dnslib(by_dnslib(line))))
PY

seen=$("$tmp/venv/bin/python" "$tmp/records.py" 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected='zone: 1 . alpn=h2 port=8443
  of dnslib, dnspython: 1 . alpn="h2" port="8443"
  of dnspython, itself: 1 . alpn="h2" port="8443"
zone: 1 . port=8443 alpn=h2
  of dnslib, dnspython: FormError: keys not in strictly increasing order
  of dnspython, itself: 1 . alpn="h2" port="8443"
zone: 1 . mandatory=port,alpn alpn=h2 port=8443
  of dnslib, dnspython: FormError: mandatory keys not in strictly increasing order
  of dnspython, itself: 1 . mandatory="alpn,port" alpn="h2" port="8443"
zone: 1 . alpn=h3 + 2 . port=8443 alpn=h2
  of dnslib, dnspython: FormError: keys not in strictly increasing order
  of dnspython, itself: 1 . alpn="h3" + 2 . alpn="h2" port="8443"
zone: 1 . alpn="h2" port="8443"
  of dnslib, dnspython: DNSError: Error reading HTTPS from zone: unrecognized SvcParamKey
  of dnspython, itself: 1 . alpn="h2" port="8443"
zone: 1 . alpn=h2 ech=…
  of dnslib, dnspython: DNSError: Error reading HTTPS from zone: unrecognized SvcParamKey
  of dnspython, itself: 1 . alpn="h2" ech="…"
dnslib of its own answer: 1 . port=8443 alpn=h2
dnslib'\''s text: 1 . alpn=h2 echconfig=…
  in dnspython'\''s zone: SyntaxError: Unknown SVCB ParamKey
dnspython'\''s text: 1 . alpn="h2" ech="…"
  in dnslib'\''s zone: DNSError: Error reading HTTPS from zone: unrecognized SvcParamKey'

echo "Records of a zone, as dnspython gets them from a server of dnslib or of its own:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: the order, the quotes and the name of ech are each enough for no record."
