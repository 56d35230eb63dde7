#!/usr/bin/env bash
#
# Subject      suricata-update 1.3.3, idstools 0.6.5 and suricataparser 1.0.0 (PyPI).
# Expected     suricata-update is the official way to install rules (Suricata's user
#              guide, "Rules Format"), so it knows every action of the same page: alert,
#              pass, drop, reject, rejectsrc, rejectdst and rejectboth, and config
#              ("Config Rules"). What it cannot read, it names.
# Happens      Rules with rejectsrc, rejectdst, rejectboth and config are gone from the
#              file that it writes, and from its count of rules loaded, without a
#              word: it takes them for no rules at all. (With --no-merge it copies the
#              file and they stay, though the count is the same.) suricataparser leaves
#              out the same four, idstools all but config.
# Why it       rejectboth is how an inline Suricata ends a TLS connection by name for
# matters      both sides. The rules load, no test fails, and nothing is ever reset.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    suricata-update==1.3.3 idstools==0.6.5 suricataparser==1.0.0

cd "$tmp"
sid=0
for action in alert pass drop reject rejectsrc rejectdst rejectboth config; do
    sid=$((sid + 1))
    more=
    if [ "$action" = config ]; then more='config:logging disable, type tx, scope tx; '; fi
    echo "$action tls any any -> any any (msg:\"$action\"; tls.sni; content:\"gw.example\"; ${more}sid:$sid; rev:1;)"
done > site.rules

update() { # OUTPUT OPTION…
    local output=$1
    shift
    venv/bin/suricata-update --config "$tmp/none.yaml" --data-dir "$tmp/data-$output" --suricata-conf "$tmp/none.yaml" \
        --suricata-version 8.0.0 --no-test --no-reload --force "$@" \
        --url "file://$tmp/site.rules" --output "$tmp/$output" 2>&1 | sed -n 's/.*-- \(Loaded\)/\1/p; s/.*\(total: [0-9]*\).*/\1/p'
}

cat > read.py <<'PY'
import io
import idstools.rule, suricataparser

with open("site.rules", "rb") as file:
    data = file.read()
print("idstools:", *(rule.action for rule in idstools.rule.parse_fileobj(io.BytesIO(data))))
print("suricataparser:", *(rule.action for rule in suricataparser.parse_rules(data.decode())))
PY

touch none.yaml
seen=$({
    update merged
    echo "suricata-update:" $(cut -d' ' -f1 merged/*.rules)
    update copied --no-merge
    echo "suricata-update --no-merge:" $(cut -d' ' -f1 copied/*.rules)
    venv/bin/python read.py
} 2>stderr) || { cat stderr; exit 1; }

expected='Loaded 4 rules.
total: 4
suricata-update: alert pass drop reject
Loaded 4 rules.
total: 4
suricata-update --no-merge: alert pass drop reject rejectsrc rejectdst rejectboth config
idstools: alert pass drop reject config
suricataparser: alert pass drop reject'

echo "Eight rules, one for each action:" $(cut -d' ' -f1 site.rules)
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: four of the eight rules are lost without a word."
