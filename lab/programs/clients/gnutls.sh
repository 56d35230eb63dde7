#!/bin/sh
# gnutls-cli. Told to resume, it connects twice: once for the session, once for the request.
. "$(dirname "$0")/request.sh"

set -- --port "$port"
case $version in
tls12) set -- "$@" --priority NORMAL:-VERS-ALL:+VERS-TLS1.2 ;;
tls13) set -- "$@" --priority NORMAL:-VERS-ALL:+VERS-TLS1.3 ;;
esac
[ "$ca" = - ] || set -- "$@" --x509cafile "$ca"
[ "$certificate" = - ] || set -- "$@" --x509certfile "$certificate" --x509keyfile "$key"
[ "$times" -eq 1 ] || set -- "$@" --resume --waitresumption
# Open for reading and writing, so that the program meets no end of its input before the answer.
mkfifo "$folder/input"
exec 3<>"$folder/input"
# shellcheck disable=SC2059
printf "$request" >&3
timeout 20 gnutls-cli "$@" "$host" <&3 >"$folder/answer" 2>"$folder/said"
cat "$folder/answer" >>"$folder/said"
grep -E '^\*\*\*|Status: |^(Cannot|Could not)' "$folder/said" >"$folder/reason"
need_success "$folder/answer" "$folder/reason" 'head -n 1'
