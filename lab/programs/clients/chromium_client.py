"""Headless Chromium, driven over its debugging pipe; see request.sh for the arguments.

It trusts its own roots and, from the NSS database of a home made for the run, the CA. Each request
has a browser context of its own: a connection of its own, and no session of another."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

# Keeps it from connecting anywhere on its own account, which would be recorded too.
QUIET = """--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run
--no-default-browser-check --disable-background-networking --disable-component-update
--disable-default-apps --disable-extensions --disable-sync --disable-domain-reliability
--disable-client-side-phishing-detection --metrics-recording-only --no-pings --no-proxy-server
--remote-debugging-pipe""".split()
VERSIONS = {
    "tls12": ["--ssl-version-max=tls1.2"],
    "tls13": ["--ssl-version-min=tls1.3"],
    "any": [],
}


class Browser:
    def __init__(self, home, version):
        # Chromium reads commands from descriptor 3 and writes to 4.
        commands, self.write = os.pipe()
        self.read, answers = os.pipe()

        def hand_over():
            os.dup2(commands, 3)
            os.dup2(answers, 4)

        self.process = subprocess.Popen(
            ["chromium", *QUIET, *VERSIONS[version], f"--user-data-dir={home}/data"],
            preexec_fn=hand_over,
            pass_fds=(3, 4),
            env={**os.environ, "HOME": home},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(commands)
        os.close(answers)
        self.sent = 0
        self.rest = b""

    def messages(self):
        while True:
            message, end, rest = self.rest.partition(b"\0")
            if end:
                self.rest = rest
                yield json.loads(message)
                continue
            more = os.read(self.read, 65536)
            if not more:
                sys.exit("chromium ended")
            self.rest += more

    def call(self, method, session=None, **parameters):
        self.sent += 1
        command = {"id": self.sent, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        os.write(self.write, json.dumps(command).encode() + b"\0")
        # Events on the way are of no interest but for the status of the document.
        status = None
        for message in self.messages():
            parameters = message.get("params", {})
            if message.get("method") == "Network.responseReceived" and parameters["type"] == "Document":
                status = parameters["response"]["status"]
            if message.get("id") == self.sent:
                if "error" in message:
                    sys.exit(f"{method}: {message['error']['message']}")
                return message["result"], status

    def wait_for(self, event):
        for message in self.messages():
            if message.get("method") == event:
                return message["params"]

    def stop(self):
        try:
            self.call("Browser.close")
            self.process.wait(5)
        except (subprocess.TimeoutExpired, OSError, SystemExit):
            pass
        # Its helpers outlive it for a moment; all are in its session's group.
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def navigate(browser, url):
    context, _ = browser.call("Target.createBrowserContext")
    target, _ = browser.call("Target.createTarget", url="about:blank", browserContextId=context["browserContextId"])
    session, _ = browser.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
    session = session["sessionId"]
    browser.call("Network.enable", session)
    result, status = browser.call("Page.navigate", session, url=url)
    # An error status without a body is an error of the navigation, too.
    if "errorText" in result and status is None:
        sys.exit(result["errorText"])
    while status is None:
        event = browser.wait_for("Network.responseReceived")
        if event["type"] == "Document":
            status = event["response"]["status"]
    browser.call("Target.disposeBrowserContext", browserContextId=context["browserContextId"])
    if status >= 400:
        sys.exit(f"answered with HTTP {status}")


def trust(home, ca):
    database = f"{home}/.pki/nssdb"
    os.makedirs(database)
    for line in (
        ["certutil", "-N", "-d", f"sql:{database}", "--empty-password"],
        ["certutil", "-A", "-d", f"sql:{database}", "-n", "ca", "-t", "C,,", "-i", ca],
    ):
        subprocess.run(line, check=True)


def main():
    host, port, path, version, ca, *_, times = sys.argv[1:]
    home = tempfile.mkdtemp()
    browser = None
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("no answer in time"))
    signal.alarm(60)
    try:
        if ca != "-":
            trust(home, ca)
        browser = Browser(home, version)
        for _ in range(int(times)):
            navigate(browser, f"https://{host}:{port}{path}")
    finally:
        signal.alarm(0)
        if browser:
            browser.stop()
        shutil.rmtree(home, ignore_errors=True)


main()
