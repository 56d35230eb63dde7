#!/usr/bin/env bash
#
# Subject      pypac 0.19.0, pacparser 1.5.3 and proxylib 2.0.2 (PyPI), which evaluate
#              proxy auto-configuration files.
# Expected     localHostOrDomainIs(host, hostdom) is true where the names are the same,
#              or host has no domain and is the host part of hostdom; in the mask
#              of isInNet 255 means that the number must match and 0 that it is
#              ignored, in any order (Netscape, "Navigator Proxy Auto-Config File
#              Format", which browsers still cite). A shell's patterns, which
#              shExpMatch has, tell upper from lower case, as URLs' paths do.
# Happens      pypac's localHostOrDomainIs asks whether hostdom begins with host, though
#              its own description says what the text says: "ww" and "www.ex" are
#              www.example.com. pacparser, which has Mozilla's code, wants whole labels
#              and so takes www.example for www.example.com. proxylib is right there,
#              and knows no mask with a hole. pypac's shExpMatch doesn't tell case.
# Why it       The file says what goes to the inspecting proxy and what past it. Three
# matters      programs with one file go three ways, and only the browser's was tested.

set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
    pypac==0.19.0 dukpy==0.6.0 pacparser==1.5.3 proxylib==2.0.2

cat > "$tmp/run.py" <<'PY'
import pacparser
from proxylib.pac import functions
from pypac.parser import PACFile

CALLS = (
    ("localHostOrDomainIs", "www", "www.example.com"),
    ("localHostOrDomainIs", "www.example.com", "www.example.com"),
    ("localHostOrDomainIs", "ftp.example.com", "www.example.com"),
    ("localHostOrDomainIs", "ww", "www.example.com"),
    ("localHostOrDomainIs", "www.ex", "www.example.com"),
    ("localHostOrDomainIs", "www.example", "www.example.com"),
    ("isInNet", "10.1.2.3", "10.0.0.0", "255.0.0.0"),
    ("isInNet", "10.1.2.3", "10.0.2.0", "255.0.255.0"),
    ("shExpMatch", "https://gw.example/api", "*/api"),
    ("shExpMatch", "https://gw.example/API", "*/api"),
)
pacparser.init()
for name, *arguments in CALLS:
    call = f"{name}({', '.join(map(repr, arguments))})"
    script = 'function FindProxyForURL(url, host) { return %s ? "DIRECT" : "PROXY gw.example:3128"; }' % call
    pacparser.parse_pac_string(script)
    seen = {
        "pypac": PACFile(script).find_proxy_for_url("https://gw.example/", "gw.example") == "DIRECT",
        "pacparser": pacparser.find_proxy("https://gw.example/", "gw.example") == "DIRECT",
        "proxylib": functions[name](*arguments),
    }
    print(f"{call}:", ", ".join(f"{reader} {str(value).lower()}" for reader, value in seen.items()))
PY

seen=$("$tmp/venv/bin/python" "$tmp/run.py" 2>"$tmp/stderr") || { cat "$tmp/stderr"; exit 1; }

expected=$(cat <<'TXT'
localHostOrDomainIs('www', 'www.example.com'): pypac true, pacparser true, proxylib true
localHostOrDomainIs('www.example.com', 'www.example.com'): pypac true, pacparser true, proxylib true
localHostOrDomainIs('ftp.example.com', 'www.example.com'): pypac false, pacparser false, proxylib false
localHostOrDomainIs('ww', 'www.example.com'): pypac true, pacparser false, proxylib false
localHostOrDomainIs('www.ex', 'www.example.com'): pypac true, pacparser false, proxylib false
localHostOrDomainIs('www.example', 'www.example.com'): pypac true, pacparser true, proxylib false
isInNet('10.1.2.3', '10.0.0.0', '255.0.0.0'): pypac true, pacparser true, proxylib true
isInNet('10.1.2.3', '10.0.2.0', '255.0.255.0'): pypac true, pacparser true, proxylib false
shExpMatch('https://gw.example/api', '*/api'): pypac true, pacparser true, proxylib true
shExpMatch('https://gw.example/API', '*/api'): pypac true, pacparser false, proxylib false
TXT
)

echo "What three readers make of the same calls:"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    echo "CHANGED: expected"
    echo "$expected"
    exit 1
fi
echo "As stated: pypac takes a beginning for the name, and each of the three differs from the text somewhere."
