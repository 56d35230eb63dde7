#!/usr/bin/env bash
#
# Subject      pygrok 1.0.0 (PyPI) and the pattern CISCOFW302013_302014_302015_302016
#              that it ships, which is Logstash's for these messages of Cisco's ASA and
#              FTD.
# Expected     Message 302014 ends in the reason of the teardown. Of resets there are
#              two: "TCP Reset-I" came from the inside, "TCP Reset-O" from the outside;
#              behind it may stand the user in brackets. The duration is
#              hours:minutes:seconds (Cisco's "ASA Series Syslog Messages", 302014), and
#              hours go on beyond 23.
# Happens      The pattern's reason is words and spaces only, so that both resets are
#              "TCP Reset", and the user is gone behind every reason, which takes the
#              space before the bracket with it. The duration is a time of day: for a
#              connection that lived for 26 hours the duration and the bytes are
#              missing, and the reason is "duration 26". (The duration is known
#              upstream, by an open pull request.) It matches each time, and nothing is
#              marked as a failure.
# Why it       Who sent the reset is what the message is read for: a client that refuses
# matters      a certificate, or a gateway that ends the connection, is one letter.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input pygrok==1.0.0 regex==2026.11.19

cat > "$tmp/read.py" <<'PY'
from pygrok import Grok

pattern = Grok("%{CISCOFW302013_302014_302015_302016}")
for end in (
    "0:00:02 bytes 4321 TCP FINs (LAB\\guest)",
    "0:00:02 bytes 4321 TCP Reset-I (LAB\\guest)",
    "0:00:02 bytes 4321 TCP Reset-O",
    "23:59:59 bytes 4321 TCP Reset-O",
    "26:00:00 bytes 4321 TCP Reset-O",
):
    read = pattern.match(
        "Teardown TCP connection 76 for outside:198.51.100.4/443 to inside:192.0.2.1/49153 duration " + end
    )
    print(f"{end}: duration {read['duration']}; bytes {read['bytes']}; reason \"{read['reason']}\"; user {read['user']}")
PY

seen=$("$tmp/venv/bin/python" "$tmp/read.py" 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected=$(cat <<'TXT'
0:00:02 bytes 4321 TCP FINs (LAB\guest): duration 0:00:02; bytes 4321; reason "TCP FINs "; user None
0:00:02 bytes 4321 TCP Reset-I (LAB\guest): duration 0:00:02; bytes 4321; reason "TCP Reset"; user None
0:00:02 bytes 4321 TCP Reset-O: duration 0:00:02; bytes 4321; reason "TCP Reset"; user None
23:59:59 bytes 4321 TCP Reset-O: duration 23:59:59; bytes 4321; reason "TCP Reset"; user None
26:00:00 bytes 4321 TCP Reset-O: duration None; bytes None; reason "duration 26"; user None
TXT
)

echo "What stands behind the word duration in five messages, and what is read:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: the resets lose their letter, every reason its user, the long connection all else."
