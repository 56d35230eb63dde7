//! The page that `tlswhy run` serves, in a browser.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use lab::host::{Namespace, output};
use serde_json::{Value, json};
use tests::gateway::{Gateway, PATIENCE};

/// A headless Chromium with one tab, spoken to by its DevTools protocol over pipes.
struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    number: u64,
    /// Messages of the console, exceptions, and addresses that were asked.
    seen: Vec<Value>,
}

impl Browser {
    fn start(namespace: &Namespace, profile: &str) -> Self {
        // The protocol's pipes are descriptors 3 and 4.
        let script = format!(
            "exec chromium --headless --no-sandbox --disable-gpu --remote-debugging-pipe \
             --user-data-dir={profile} about:blank 3<&0 4>&1 1>/dev/null 2>/dev/null"
        );
        let mut command = namespace.command("sh");
        command.args(["-c", &script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let commands = child.stdin.take().unwrap();
        let messages = received(child.stdout.take().unwrap());
        let mut browser = Self {
            child,
            commands,
            messages,
            session: None,
            number: 0,
            seen: Vec::new(),
        };
        let tab = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.call(
            "Target.attachToTarget",
            json!({"targetId": tab["targetId"], "flatten": true}),
        );
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Runtime", "Log", "Network", "Page"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let number = self.number;
        let mut message = json!({"id": number, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = session.clone().into();
        }
        self.commands
            .write_all(format!("{message}\0").as_bytes())
            .unwrap();
        loop {
            let message = self.messages.recv_timeout(PATIENCE).unwrap();
            if message["id"] == number {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.seen.push(message);
        }
    }

    /// Returns an expression's value.
    fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true});
        let result = self.call("Runtime.evaluate", params);
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    fn wait(&mut self, expression: &str) {
        let began = Instant::now();
        while self.value(expression) != true {
            if began.elapsed() > PATIENCE {
                let page = self.value("document.body.innerText");
                panic!("{expression}: {page}; {:?}", self.seen);
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }

    /// Returns messages of the console, exceptions, and requests to elsewhere.
    fn complaints(&self, own: &str) -> Vec<&Value> {
        let complaints = self.seen.iter().filter(|it| {
            let asked = it["params"]["request"]["url"].as_str();
            match it["method"].as_str() {
                Some("Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded") => {
                    true
                }
                Some("Network.requestWillBeSent") => {
                    asked.is_some_and(|url| !url.starts_with(own) && !url.starts_with("data:"))
                }
                _ => false,
            }
        });
        complaints.collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn received(output: ChildStdout) -> Receiver<Value> {
    let (sender, messages) = channel();
    std::thread::spawn(move || {
        for message in BufReader::new(output).split(0).map_while(Result::ok) {
            let message = serde_json::from_slice(&message).unwrap();
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    messages
}

fn refuse(lab: &Gateway, name: &str) {
    let mut curl: Command = lab.client.command("curl");
    curl.args(["-sS", "-o", "/dev/null", "--max-time", "60", "--resolve"]);
    curl.arg(format!("{name}:443:10.78.2.2"))
        .arg(format!("https://{name}/"));
    // It does not trust the origin's CA.
    assert_eq!(output(&mut curl).unwrap().status.code(), Some(60));
}

#[test]
fn a_browser_follows_the_agent() {
    let lab = Gateway::new("page").unwrap();
    lab.gateway.run("ip link set lo up").unwrap();
    let _server = lab.serve(&["-tls1_2"]).unwrap();
    let config = lab.folder().join("tlswhy.toml");
    let state = lab.folder().join("state");
    fs::create_dir(&state).unwrap();
    let text = format!(
        "[page]\nlisten = \"9747\"\n[state]\ndirectory = {:?}\n",
        state.display().to_string()
    );
    fs::write(&config, text).unwrap();
    let (_agent, _) = lab.watch(&["--config", config.to_str().unwrap()]).unwrap();
    let own = "http://127.0.0.1:9747/";
    let profile = lab.folder().join("profile");
    let mut browser = Browser::start(&lab.gateway, &profile.display().to_string());
    browser.call("Page.navigate", json!({ "url": own }));
    browser.wait("document.getElementById('state')?.textContent === 'Live.'");
    refuse(&lab, "www.one.test");
    // First among the latest verdicts, then in the report.
    browser.wait("document.getElementById('moment').innerText.includes('www.one.test')");
    browser.wait("document.getElementById('content').innerText.includes('www.one.test')");
    // The reader closes the first story, and goes to its summary.
    browser.value(
        "const first = document.querySelector('#content details[data-key]');\
         first.open = false; first.querySelector('summary').focus(); window.kept = first.dataset.key;",
    );
    refuse(&lab, "www.two.test");
    browser.wait("document.getElementById('content').innerText.includes('www.two.test')");
    browser.wait(
        "(() => { const it = document.activeElement.closest('details');\
         return it !== null && !it.open && it.dataset.key === window.kept; })()",
    );
    browser.value("document.getElementById('pause').click()");
    assert_eq!(
        browser.value("document.getElementById('pause').getAttribute('aria-pressed')"),
        "true"
    );
    let before = browser.value("document.getElementById('moment').innerText");
    refuse(&lab, "www.three.test");
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(
        browser.value("document.getElementById('moment').innerText"),
        before
    );
    browser.value("document.getElementById('pause').click()");
    browser.wait("document.getElementById('content').innerText.includes('www.three.test')");
    assert_eq!(browser.complaints(own), Vec::<&Value>::new());
}
