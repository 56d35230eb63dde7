#!/usr/bin/env bash
#
# Subject      haproxy-log-analysis 6.0.0 (PyPI), on the log of HAProxy 2.1 and later.
# Expected     In HAProxy's HTTP log a "~" behind the frontend's name says that the
#              connection came over TLS (configuration manual, "HTTP log format", field
#              frontend_name). Since 2.1 a request by HTTP/2, which has its authority in
#              itself, is logged in absolute form: "GET https://name/path HTTP/2.0".
#              A connection that did not get as far as a request has a line of its
#              own, such as "fe/1: SSL handshake failure" ("Error log format").
# Happens      Of a request by HTTP/2 the method, the path and the protocol are
#              "invalid", as they are of a bad request. What came over TLS is asked of
#              the path (Line.is_https, the filter "ssl", the command connection_type,
#              whose description says so): it must have ":443" somewhere. So no request
#              on a TLS frontend is one, and a plain one for /?to=db:443 is. The
#              failed handshake is no valid line.
# Why it       Browsers speak HTTP/2 wherever there is TLS: all their requests are bad
# matters      ones, none of them is TLS, and the very lines that say why TLS broke are
#              left out.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input haproxy-log-analysis==6.0.0

cd "$tmp"
line() { # FRONTEND BACKEND/SERVER STATUS REQUEST
    echo "Jan  1 00:00:01 gw haproxy[7]: 192.0.2.1:49153 [01/Jan/2026:00:00:01.250] $1 $2 0/0/1/2/3 $3 100 - - ---- 1/1/1/1/0 0/0 \"$4\""
}
{
    line web~ be/s1 200 'GET /path HTTP/1.1'
    line web~ be/s1 200 'GET https://gw.example/path HTTP/2.0'
    line web~ 'web/<NOSRV>' 400 '<BADREQ>'
    line plain be/s1 200 'GET /?to=db:443 HTTP/1.1'
    echo 'Jan  1 00:00:01 gw haproxy[7]: 192.0.2.1:49153 [01/Jan/2026:00:00:01.250] web/1: SSL handshake failure'
} > haproxy.log

cat > read.py <<'PY'
import contextlib, io
from haproxy.line import Line

with open("haproxy.log") as file:
    for text in file:
        with contextlib.redirect_stdout(io.StringIO()):  # it complains there
            line = Line(text.strip())
        print(line.raw_http_request or text.split("] ")[-1].strip(), end=": ")
        if line.is_valid:
            print(line.frontend_name, line.http_request_method, line.http_request_path, line.http_request_protocol,
                  "https" if line.is_https else "not https", sep=", ")
        else:
            print("not a valid line")
PY

seen=$(venv/bin/python read.py 2>stderr) || { cat stderr; exit 1; }

expected='GET /path HTTP/1.1: web~, GET, /path, HTTP/1.1, not https
GET https://gw.example/path HTTP/2.0: web~, invalid, invalid, invalid, not https
<BADREQ>: web~, invalid, invalid, invalid, not https
GET /?to=db:443 HTTP/1.1: plain, GET, /?to=db:443, HTTP/1.1, https
web/1: SSL handshake failure: not a valid line'

echo "The lines of a log, and what they are read as (frontend, method, path, protocol, TLS):"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: the only request that is https came in plain text, and HTTP/2 is a bad request."
