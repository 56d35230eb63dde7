#!/usr/bin/env bash
#
# Subject      zat 0.4.9 (the "Zeek Analysis Tools"), ZeekLogReader, beside its own
#              LogToDataFrame and parsezeeklogs 3.0.1 (all PyPI).
# Expected     Zeek's log says by #unset_field what stands in a column that has no
#              value, "-" unless it is configured; that is another thing than the value
#              false, 0 or an empty list, which has its own sign, #empty_field (Zeek's
#              manual, "Zeek TSV Format Logs"). sni_matches_cert in ssl.log is such an
#              optional column: Zeek sets it where it saw the certificate.
# Happens      ZeekLogReader makes False of an unset bool, 0 of a count, an int, a
#              double and a port, and 0 s of an interval: as of the value itself. An
#              unset string is the text "-", an unset list too, and an empty one the
#              text "(empty)". LogToDataFrame, the other reader of the same package,
#              has none of these, but "(empty)"; parsezeeklogs leaves the column out.
# Why it       In TLS 1.3 the certificate is encrypted. Each such connection reads as
# matters      one whose certificate did not match its name, and in TLS 1.2 the same
#              value is a real finding.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
# Without zat's further needs (scikit-learn, pyarrow), which its readers don't import.
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input --no-deps \
    zat==0.4.9 watchdog==7.1.0 parsezeeklogs==3.0.1 pandas==3.1.1 numpy==2.4.6 python-dateutil==4.0.0

cat > "$tmp/make.py" <<'PY'
import sys

columns = {
    "ts": "time", "uid": "string", "version": "string", "established": "bool", "sni_matches_cert": "bool",
    "missed_bytes": "count", "offset": "int", "score": "double", "id.resp_p": "port", "duration": "interval",
    "cert_chain_fps": "vector[string]", "next_protocol": "string",
}
rows = (
    "1767225600.250000 C1 TLSv12 T T 5 5 1.5 443 1.000000 aa,bb h2",
    "1767225601.250000 C2 TLSv12 T F 0 0 0.0 0 0.000000 (empty) (empty)",
    "1767225602.250000 C3 TLSv13 T - - - - - - - -",
)
lines = [r"#separator \x09", "#set_separator ,", "#empty_field (empty)", "#unset_field -", "#path ssl",
         "#open 2026-01-01-00-00-00", " ".join(["#fields", *columns]), " ".join(["#types", *columns.values()]),
         *rows, "#close 2026-01-01-00-01-00"]
with open(sys.argv[1], "w") as out:
    out.write("\n".join([lines[0], *(line.replace(" ", "\t") for line in lines[1:])]) + "\n")
PY

cat > "$tmp/read.py" <<'PY'
import contextlib, datetime, json, sys
from parsezeeklogs import ParseZeekLogs
from zat.log_to_dataframe import LogToDataFrame
from zat.zeek_log_reader import ZeekLogReader

SHOWN = ("sni_matches_cert", "missed_bytes", "offset", "score", "id.resp_p", "duration", "cert_chain_fps", "next_protocol")


def show(reader, row):
    def text(value):
        if isinstance(value, datetime.timedelta):
            return f"{value.total_seconds()} s"
        return "nothing" if value is None or value != value else repr(value)

    print(row["uid"], f"{reader}:", "; ".join(text(row.get(name)) for name in SHOWN))


with contextlib.redirect_stdout(sys.stderr):  # it says there what file it reads
    rows = list(ZeekLogReader(sys.argv[1]).readrows())
for row in rows:
    show("ZeekLogReader", row)
for row in LogToDataFrame().create_dataframe(sys.argv[1]).to_dict("records"):
    show("LogToDataFrame", row)
for row in ParseZeekLogs(sys.argv[1], output_format="json"):
    show("parsezeeklogs", json.loads(row))
PY

python3 "$tmp/make.py" "$tmp/ssl.log"
seen=$("$tmp/venv/bin/python" "$tmp/read.py" "$tmp/ssl.log" 2>"$tmp/stderr" | sort) || { cat "$tmp/stderr"; exit 1; }

expected=$(cat <<'TXT'
C1 LogToDataFrame: 'T'; 5; 5; 1.5; 443; 1.0 s; 'aa,bb'; 'h2'
C1 ZeekLogReader: True; 5; 5; 1.5; 443; 1.0 s; 'aa,bb'; 'h2'
C1 parsezeeklogs: True; 5; 5; 1.5; 443; 1.0; ['aa', 'bb']; 'h2'
C2 LogToDataFrame: 'F'; 0; 0; 0.0; 0; 0.0 s; '(empty)'; '(empty)'
C2 ZeekLogReader: False; 0; 0; 0.0; 0; 0.0 s; '(empty)'; '(empty)'
C2 parsezeeklogs: False; 0; 0; 0.0; 0; 0.0; []; ''
C3 LogToDataFrame: nothing; nothing; nothing; nothing; nothing; nothing; nothing; nothing
C3 ZeekLogReader: False; 0; 0; 0.0; 0; 0.0 s; '-'; '-'
C3 parsezeeklogs: nothing; nothing; nothing; nothing; nothing; nothing; nothing; nothing
TXT
)

echo "C1 has values, C2 the values false, 0 and empty, and C3 none; sni_matches_cert and seven more are read as:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: ZeekLogReader reads the row without values like the row of zeros."
