#!/usr/bin/env bash
#
# Subject      anyconfig-fortios-backend 0.3.0 (with anyconfig 0.12.0) and fortiposture
#              0.1.4, beside fwshift 0.40.18 (all PyPI).
# Expected     In a FortiGate's configuration a value with spaces stands in quotes, with
#              a quote in it written \" and a backslash \\ (FortiOS Administration
#              Guide, "Using the CLI", special characters). It goes on over the ends of
#              lines: certificates and block pages do. So a certificate, a page, an
#              exemption's regular expression and a Windows user come back as they are.
# Happens      anyconfig's backend takes no escape away: the expression demands
#              backslashes in the name, the user has two of them; and a value ends at
#              the first escaped quote, the rest of the page becomes more values or is
#              gone. fortiposture ends a value at the end of its first line: the
#              certificate is the line BEGIN CERTIFICATE, the page as long as its
#              first line. It takes escapes away in values, but not in the names of
#              entries, so that a group's member is no user. Nothing is raised.
# Why it       What is exempt from inspection, which CA signs and what the user is shown
# matters      read differently in each tool, and none of it is in the firewall.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

for name in one two; do python3 -m venv "$tmp/$name"; done
"$tmp/one/bin/pip" install --quiet --disable-pip-version-check --no-input \
    anyconfig-fortios-backend==0.3.0 anyconfig==0.12.0
"$tmp/two/bin/pip" install --quiet --disable-pip-version-check --no-input \
    fortiposture==0.1.4 fwshift==0.40.18

cat > "$tmp/gate.conf" <<'CONF'
config user local
    edit "LAB\\guest"
        set type password
    next
end
config user group
    edit "gate"
        set member "LAB\\guest"
    next
end
config firewall ssl-ssh-profile
    edit "inspect"
        config ssl-exempt
            edit 1
                set type regex
                set regex "^(.+\\.)?example\\.com$"
            next
        end
        set caname "Gate CA"
    next
end
config system replacemsg utm "virus-html"
    set buffer "<p class=\"note\">
blocked</p>"
end
config vpn certificate ca
    edit "Gate CA"
        set ca "-----BEGIN CERTIFICATE-----
MIIC
-----END CERTIFICATE-----"
    next
end
CONF

cat > "$tmp/read.py" <<'PY'
import json, sys

PAGE = 'system replacemsg utm "virus-html"'


def anyconfig_backend(path):
    import anyconfig
    tables = {table["config"]: table for table in anyconfig.load(path, ac_parser="fortios")["configs"] if "config" in table}
    entry = lambda table: tables[table]["edits"][0]
    return {
        "user": entry("user local")["edit"],
        "member": entry("user group")["member"],
        "regex": entry("firewall ssl-ssh-profile")["configs"][0]["edits"][0]["regex"],
        "page": tables[PAGE]["buffer"],
        "certificate": entry("vpn certificate ca")["ca"],
    }


def fortiposture(path):
    from fortiposture.parser.conf_parser import FortiConfParser
    tables = FortiConfParser().parse_file(path)
    return {
        "user": next(iter(tables["user local"])),
        "member": tables["user group"]["gate"]["member"],
        "regex": tables["firewall ssl-ssh-profile"]["inspect"]["ssl-exempt"]["1"]["regex"],
        "page": tables[PAGE]["buffer"],
        "certificate": tables["vpn certificate ca"]["Gate CA"]["ca"],
    }


def fwshift(path):
    from fwshift.parsers.fortios import parse_tree
    with open(path) as file:
        tables = parse_tree(file.read()).children
    page = next(table for name, table in tables.items() if "virus-html" in name)
    return {
        "user": next(iter(tables["user local"].entries)),
        "member": tables["user group"].entries["gate"].get("member"),
        "regex": tables["firewall ssl-ssh-profile"].entries["inspect"].children["ssl-exempt"].entries["1"].get("regex"),
        "page": page.get("buffer"),
        "certificate": tables["vpn certificate ca"].entries["Gate CA"].get("ca"),
    }


for reader in sys.argv[2:]:
    for name, value in globals()[reader](sys.argv[1]).items():
        print(f"{name}, {reader}: {json.dumps(value)}")
PY

seen=$({
    "$tmp/one/bin/python" "$tmp/read.py" "$tmp/gate.conf" anyconfig_backend
    "$tmp/two/bin/python" "$tmp/read.py" "$tmp/gate.conf" fortiposture fwshift
} 2>"$tmp/stderr" | LC_ALL=C sort) || { cat "$tmp/stderr"; exit 1; }

expected=$(cat <<'TXT'
certificate, anyconfig_backend: "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----"
certificate, fortiposture: "\"-----BEGIN CERTIFICATE-----"
certificate, fwshift: "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----"
member, anyconfig_backend: "LAB\\\\guest"
member, fortiposture: "LAB\\guest"
member, fwshift: "LAB\\guest"
page, anyconfig_backend: ["<p class=\\", "note\\", ">"]
page, fortiposture: "\"<p class=\\\"note\\\">"
page, fwshift: "<p class=\"note\">\nblocked</p>"
regex, anyconfig_backend: "^(.+\\\\.)?example\\\\.com$"
regex, fortiposture: "^(.+\\.)?example\\.com$"
regex, fwshift: "^(.+\\.)?example\\.com$"
user, anyconfig_backend: "LAB\\\\guest"
user, fortiposture: "LAB\\\\guest"
user, fwshift: "LAB\\guest"
TXT
)

echo 'The user and the group'"'"'s member are LAB\guest; read, as JSON:'
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: one reader keeps the escapes and cuts at a quote, the other cuts at the line's end."
