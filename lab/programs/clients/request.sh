# Sourced by the clients that are driven by a shell. What every client of the corpus is given:
#   HOST PORT PATH VERSION CA SPKI-SHA256 CERTIFICATE-SHA256 CLIENT-CERTIFICATE CLIENT-KEY TIMES
# with `-` for what is not asked for; VERSION is tls12, tls13 or any.
# shellcheck shell=sh disable=SC2034
host=$1 port=$2 path=$3 version=$4 ca=$5 spki=$6 fingerprint=$7 certificate=$8 key=$9
shift 9
times=$1

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/empty"

request="GET $path HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n\r\n"

# Says why in one line, and ends. The reason is what the program said last, or $2.
fail() {
    said=$(grep -v '^[[:space:]]*$' "$1" | ${3:-tail -n 1} | tr -d '\r')
    echo "${said:-$2}"
    exit 1
}

# Ends unless the answer in file $1 is a success; $2 is the file with what the program said.
need_success() {
    status=$(grep -a -o -m 1 'HTTP/[0-9.]* [0-9][0-9][0-9]' "$1" | head -n 1)
    case ${status##* } in
    2?? | 3??) ;;
    '') fail "$2" 'no answer' "$3" ;;
    *) echo "answered with $status" && exit 1 ;;
    esac
}
