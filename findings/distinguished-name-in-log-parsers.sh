#!/usr/bin/env bash
#
# Subject      nsyslog-parser 0.10.1 and glossy 0.1.7 (npm), syslog-rfc5424-parser
#              0.3.2 and pycef 1.11 (PyPI).
# Expected     In RFC 5424 structured data a value stands in quotes, and only \", \\
#              and \] are escapes; before any other character a backslash is itself
#              (section 6.3.3). In CEF a value's = is written \= and its backslash \\
#              (the CEF guide, "Character Encoding"). So a certificate's issuer with a
#              few commas, spaces and equals signs, and a Windows user, come back as
#              they were put in.
# Happens      nsyslog-parser does not heed the quotes: it cuts the issuer at its first
#              space and makes fields O and C of the rest; a quoted word in the issuer,
#              and the row has no structured data at all. In CEF it cuts at the
#              escaped =, and the name "Gate" is gone. glossy takes the backslash out
#              of the user's name, and drops the bracketed word with which the message
#              begins. syslog-rfc5424-parser and pycef leave every escape in the
#              value. None of them raises anything.
# Why it       The same row names different issuers and users in different tools; a
# matters      rule on the issuer of an intercepting CA never matches.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

npm install --prefix "$tmp" --silent --no-audit --no-fund --ignore-scripts \
    nsyslog-parser@0.10.1 glossy@0.1.7 >/dev/null
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    syslog-rfc5424-parser==0.3.2 pycef==1.11

cat > "$tmp/plain.log" <<'LOG'
<14>1 2026-01-01T00:00:00Z gw.example tlswhy 7 - [cert@32473 issuer="CN=Gate CA, O=Acme, C=ZZ" user="LAB\guest"] [gw] refused
LOG
cat > "$tmp/quotes.log" <<'LOG'
<14>1 2026-01-01T00:00:00Z gw.example tlswhy 7 - [cert@32473 issuer="CN=Gate CA, O=\"Acme\", C=ZZ" user="LAB\guest"] [gw] refused
LOG
cat > "$tmp/cef.log" <<'LOG'
CEF:0|Example|Gate|1.0|46|refused|5|issuer=CN\=Gate CA, O\=Acme, C\=ZZ suser=LAB\\guest act=deny
LOG

cat > "$tmp/read.js" <<'JS'
const { readFileSync } = require("fs");
const parse = require("nsyslog-parser");
const glossy = require("glossy").Parse;

const line = (name) => readFileSync(`${process.argv[2]}/${name}.log`, "utf8").trimEnd();
const show = (who, what) => console.log(who, JSON.stringify(what));
for (const name of ["plain", "quotes"]) {
    const own = parse(line(name));
    show(`${name}, nsyslog-parser`, [own.structuredData, own.message]);
    const other = glossy.parse(line(name));
    show(`${name}, glossy`, [other.structuredData, other.message]);
}
show("CEF, nsyslog-parser", parse(line("cef")).fields);
JS

cat > "$tmp/read.py" <<'PY'
import json, sys
import pycef
from syslog_rfc5424_parser import SyslogMessage


def line(name):
    with open(f"{sys.argv[1]}/{name}.log") as file:
        return file.read().rstrip("\n")


for name in ("plain", "quotes"):
    row = SyslogMessage.parse(line(name))
    print(f"{name}, syslog-rfc5424-parser", json.dumps([row.sd, row.msg]))
row = pycef.parse(line("cef"))
print("CEF, pycef", json.dumps({key: row[key] for key in ("issuer", "suser", "act")}))
PY

seen=$({
    node "$tmp/read.js" "$tmp"
    "$tmp/venv/bin/python" "$tmp/read.py" "$tmp"
} 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected=$(cat <<'TXT'
plain, nsyslog-parser [[{"$id":"cert@32473","issuer":"CN=Gate CA,","O":"Acme,","C":"ZZ","user":"LAB\\guest"}],"[gw] refused"]
plain, glossy [{"cert@32473":{"issuer":"CN=Gate CA, O=Acme, C=ZZ","user":"LABguest"}},"refused"]
quotes, nsyslog-parser [[],"[cert@32473 issuer=\"CN=Gate CA, O=\\\"Acme\\\", C=ZZ\" user=\"LAB\\guest\"] [gw] refused"]
quotes, glossy [{"cert@32473":{"issuer":"CN=Gate CA, O=\"Acme\", C=ZZ","user":"LABguest"}},"refused"]
CEF, nsyslog-parser {"issuer":"CN\\ CA,","O\\":"Acme,","C\\":"ZZ","suser":"LAB\\\\guest","act":"deny"}
plain, syslog-rfc5424-parser [{"cert@32473": {"issuer": "CN=Gate CA, O=Acme, C=ZZ", "user": "LAB\\guest"}}, "[gw] refused"]
quotes, syslog-rfc5424-parser [{"cert@32473": {"issuer": "CN=Gate CA, O=\\\"Acme\\\", C=ZZ", "user": "LAB\\guest"}}, "[gw] refused"]
CEF, pycef {"issuer": "CN\\=Gate CA, O\\=Acme, C\\=ZZ", "suser": "LAB\\\\guest", "act": "deny"}
TXT
)

echo 'The issuer is CN=Gate CA, O=Acme, C=ZZ ("Acme" in the rows called quotes), the user LAB\guest,'
echo 'and the message of the syslog rows "[gw] refused"; read, as JSON:'
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: each parser loses or alters the issuer, the user or the message in some row."
