#!/usr/bin/env bash
#
# Subject      logging-journald 0.6.12 (PyPI), a handler of Python's logging for journald.
# Expected     PRIORITY is one of syslog's levels (systemd.journal-fields(7)): Python's
#              CRITICAL is crit, 2, as in logging.handlers.SysLogHandler. 0 is emerg,
#              which journald writes onto every terminal that somebody is logged in at
#              (journald.conf(5), ForwardToWall= and MaxLevelWall=). MESSAGE_ID says
#              of what kind a message is, so that all of one kind are found by it and
#              the catalog explains them.
# Happens      CRITICAL is 0. The handler has a 2 for it and a 0 for FATAL, but in Python
#              these are the same number, and the one written last wins. (Reported to a
#              program that uses it; its README does not say so.) A level of the
#              program's own, such as 25 for notices, isn't in its table: the message
#              goes to standard error and not to the journal. MESSAGE_ID is made from
#              the text and the line of the source, another one for each server name.
#              A name in `extra` with a dot or a hyphen is passed on, and journald
#              takes no field of such a name.
# Why it       One unreachable origin in the log of a proxy interrupts everybody's
# matters      work on the machine; and a filter on MESSAGE_ID finds one message.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input logging-journald==0.6.12

cat > "$tmp/run.py" <<'PY'
import logging, logging.handlers, socket, sys
from logging_journald import JournaldLogHandler

path = sys.argv[1] + "/journal"
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind(path)
journal.settimeout(2)
logger = logging.getLogger("proxy")
logger.setLevel(1)
logger.addHandler(JournaldLogHandler(identifier="proxy", socket_path=path))


def send(level, text, **extra):
    logger.log(level, text, extra=extra)
    try:
        data = journal.recv(65536)
    except socket.timeout:
        return None
    return dict(line.split("=", 1) for line in data.decode().splitlines() if "=" in line)


syslog = logging.handlers.SysLogHandler
names = {number: name for name, number in syslog.priority_names.items() if name in ("crit", "debug", "emerg", "err", "info", "warning")}
for level in (logging.DEBUG, logging.INFO, 25, logging.WARNING, logging.ERROR, logging.CRITICAL):
    sent = send(level, "refused")
    seen = f"PRIORITY {sent['PRIORITY']}, {names[int(sent['PRIORITY'])]}" if sent else "nothing in the journal"
    print(f"{logging.getLevelName(level)}: {seen}")

first, second = (send(logging.ERROR, f"{name} refused") for name in ("gw.example", "other.example"))
print("MESSAGE_ID of two messages of one kind:", "the same" if first["MESSAGE_ID"] == second["MESSAGE_ID"] else "different")
sent = send(logging.ERROR, "refused", **{"sni": "gw.example", "tls.sni": "gw.example", "tls-sni": "gw.example"})
print("fields for names in extra:", *(name for name in sent if "SNI" in name))
PY

seen=$("$tmp/venv/bin/python" "$tmp/run.py" "$tmp" 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected='DEBUG: PRIORITY 7, debug
INFO: PRIORITY 6, info
Level 25: nothing in the journal
WARNING: PRIORITY 4, warning
ERROR: PRIORITY 3, err
CRITICAL: PRIORITY 0, emerg
MESSAGE_ID of two messages of one kind: different
fields for names in extra: EXTRA_SNI EXTRA_TLS.SNI EXTRA_TLS-SNI'

echo "What a socket in journald's place was sent:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: critical is an emergency, and a level of one's own is lost."
