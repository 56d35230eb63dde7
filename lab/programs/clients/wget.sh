#!/bin/sh
# GNU Wget on GnuTLS: verifies chain, name and pin after the handshake.
. "$(dirname "$0")/request.sh"

set -- -nv -O /dev/null --tries=1 --timeout=20 --no-proxy --no-hsts --no-config
# Its own option for versions only sets the lowest; this is the priority string.
case $version in
tls12) set -- "$@" --ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.2 ;;
tls13) set -- "$@" --ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.3 ;;
esac
[ "$ca" = - ] || set -- "$@" --ca-certificate="$ca" --ca-directory="$folder/empty"
[ "$spki" = - ] || set -- "$@" --pinnedpubkey="sha256//$spki"
[ "$certificate" = - ] || set -- "$@" --certificate="$certificate" --private-key="$key"
[ "$times" -eq 1 ] || set -- "$@" --no-http-keep-alive
while [ "$times" -gt 0 ]; do
    set -- "$@" "https://$host:$port$path"
    times=$((times - 1))
done
wget "$@" 2>"$folder/said" || fail "$folder/said" "wget ended with $?" 'grep -m 1 -iE error|failed|pinned|match|unable|terminated'
