#!/bin/sh
# NSS's tstclnt. Its trust is a database, made for each run.
. "$(dirname "$0")/request.sh"

database=sql:$folder/database
mkdir "$folder/database"
certutil -N -d "$database" --empty-password
set -- -h "$host" -p "$port" -a "$host" -d "$database"
case $version in
tls12) set -- "$@" -V tls1.2:tls1.2 ;;
tls13) set -- "$@" -V tls1.3:tls1.3 ;;
*) set -- "$@" -V tls1.2:tls1.3 ;;
esac
if [ "$ca" = - ]; then
    set -- "$@" -b
else
    certutil -A -d "$database" -n ca -t C,, -i "$ca"
fi
if [ "$certificate" != - ]; then
    openssl pkcs12 -export -name client -passout pass: -in "$certificate" -inkey "$key" -out "$folder/client.p12"
    pk12util -i "$folder/client.p12" -d "$database" -K '' -W '' >/dev/null
    set -- "$@" -n client
fi
# shellcheck disable=SC2059
printf "$request" >"$folder/request"
while [ "$times" -gt 0 ]; do
    timeout 20 tstclnt "$@" -A "$folder/request" </dev/null >"$folder/answer" 2>"$folder/said"
    grep -E '^tstclnt: .*(failed|unable)' "$folder/said" >"$folder/reason"
    need_success "$folder/answer" "$folder/reason" 'head -n 1'
    times=$((times - 1))
done
