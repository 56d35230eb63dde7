"""Clients of Python: requests, or urllib3 alone. The first argument says which; see request.sh for
the others. Both check a pin (urllib3's assert_fingerprint) after the handshake."""

import ssl
import sys

import requests
import urllib3
from requests.adapters import HTTPAdapter

VERSIONS = {"tls12": ssl.TLSVersion.TLSv1_2, "tls13": ssl.TLSVersion.TLSv1_3}


def context(version, ca):
    made = ssl.create_default_context(cafile=ca)
    if version in VERSIONS:
        made.minimum_version = made.maximum_version = VERSIONS[version]
    return made


class Adapter(HTTPAdapter):
    """requests has no setting for versions and pins; an adapter is the documented way."""

    def __init__(self, **options):
        self.options = options
        super().__init__()

    def init_poolmanager(self, *arguments, **options):
        super().init_poolmanager(*arguments, **options, **self.options)


def by_requests(url, options, ca, client, times):
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", Adapter(**options))
    session.headers["Connection"] = "close"
    session.verify = ca or True
    session.cert = client
    return [session.get(url, timeout=20).status_code for _ in range(times)]


def by_urllib3(url, options, ca, client, times):
    if client:
        options.update(cert_file=client[0], key_file=client[1])
    pool = urllib3.PoolManager(
        cert_reqs="CERT_REQUIRED", ca_certs=ca, retries=False, timeout=20, **options
    )
    headers = {"Connection": "close"}
    return [pool.request("GET", url, headers=headers).status for _ in range(times)]


def main():
    kind, host, port, path, version, ca, _, fingerprint, certificate, key, times = sys.argv[1:]
    ca = None if ca == "-" else ca
    options = {"ssl_context": context(version, ca)}
    if fingerprint != "-":
        options["assert_fingerprint"] = fingerprint
    client = None if certificate == "-" else (certificate, key)
    run = by_requests if kind == "requests" else by_urllib3
    try:
        statuses = run(f"https://{host}:{port}{path}", options, ca, client, int(times))
    except (OSError, urllib3.exceptions.HTTPError) as error:
        sys.exit(" ".join(str(error).split()))
    refused = [status for status in statuses if status >= 400]
    if refused:
        sys.exit(f"answered with HTTP {refused[0]}")


main()
