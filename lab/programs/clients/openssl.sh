#!/bin/sh
# openssl s_client, checking chain and name.
. "$(dirname "$0")/request.sh"

set -- -connect "$host:$port" -servername "$host" -verify_hostname "$host" -verify_return_error -quiet
case $version in
tls12) set -- "$@" -tls1_2 ;;
tls13) set -- "$@" -tls1_3 ;;
esac
[ "$ca" = - ] || set -- "$@" -CAfile "$ca" -no-CApath -no-CAstore
[ "$certificate" = - ] || set -- "$@" -cert "$certificate" -key "$key"
[ "$times" -eq 1 ] || set -- "$@" -sess_out "$folder/session"
while [ "$times" -gt 0 ]; do
    resume=
    [ ! -s "$folder/session" ] || resume="-sess_in $folder/session"
    # shellcheck disable=SC2059,SC2086
    printf "$request" | timeout 20 openssl s_client "$@" $resume >"$folder/answer" 2>"$folder/said"
    # The first error is the reason; lines of the chain (depth=…) come before it.
    grep -E 'verify error|:error:|errno' "$folder/said" >"$folder/reason"
    need_success "$folder/answer" "$folder/reason" 'head -n 1'
    times=$((times - 1))
done
