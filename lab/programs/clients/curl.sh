#!/bin/sh
# curl; its pin is checked after the handshake.
. "$(dirname "$0")/request.sh"

set -- -sS --fail --max-time 20 --noproxy '*'
case $version in
tls12) set -- "$@" --tlsv1.2 --tls-max 1.2 ;;
tls13) set -- "$@" --tlsv1.3 ;;
esac
[ "$ca" = - ] || set -- "$@" --cacert "$ca" --capath "$folder/empty"
[ "$spki" = - ] || set -- "$@" --pinnedpubkey "sha256//$spki"
[ "$certificate" = - ] || set -- "$@" --cert "$certificate" --key "$key"
# One process for all, as its sessions are kept in memory; over HTTP/2 it would keep the connection.
[ "$times" -eq 1 ] || set -- "$@" --http1.1 --fail-early -H 'Connection: close'
while [ "$times" -gt 0 ]; do
    set -- "$@" -o /dev/null "https://$host:$port$path"
    times=$((times - 1))
done
curl "$@" 2>"$folder/said" || fail "$folder/said" "curl ended with $?" 'head -n 1'
