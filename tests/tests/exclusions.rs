//! Lists by the programs that load them: the app that failed works uninspected, and others stay inspected.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lab::demo::story::{Scene, Story};
use lab::demo::{configuration, served, served_list};
use lab::host::{Authority, Namespace, Process, output, run, words};
use tests::gateway::{PATIENCE, agent};
use tests::wire::{namespace, until};

/// The name that an app in the corpus pins.
const PINNED: &str = "api.pinned.example";
/// A name that nothing pins.
const OTHER: &str = "www.other.example";
const SQUID_SERVICE: &str = "tlswhylists";

/// An origin on loopback, its clients, and the parts of an interceptor.
struct Site {
    namespace: Namespace,
    folder: tempfile::TempDir,
    _origin: Process,
}

impl Site {
    fn new(label: &str) -> Self {
        let namespace = namespace(label);
        namespace.run("ip link set lo up").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let origin_ca = Authority::new(folder.path(), "origin-ca", "Origin CA").unwrap();
        Authority::new(folder.path(), "inspection-ca", "Inspection CA").unwrap();
        let (certificate, key) = origin_ca.issue("origin", &[PINNED, OTHER]).unwrap();
        let mut origin = namespace.command("openssl");
        origin.args(["s_server", "-accept", "127.0.7.1:443", "-www", "-quiet"]);
        origin.arg("-cert").arg(certificate).arg("-key").arg(key);
        let origin = Process::start(&mut origin).unwrap();
        namespace.wait_until_listening(443).unwrap();
        Self {
            namespace,
            folder,
            _origin: origin,
        }
    }

    fn place(&self) -> Place<'_> {
        Place {
            namespace: &self.namespace,
            folder: self.folder.path(),
            origin: "127.0.7.1",
            names: [PINNED, OTHER],
        }
    }
}

/// Where an interceptor runs, with the CAs' files, an origin, and a name that an app pins and another.
struct Place<'a> {
    namespace: &'a Namespace,
    folder: &'a Path,
    origin: &'static str,
    names: [&'static str; 2],
}

impl Place<'_> {
    fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// Key and certificate of the inspection CA in one file.
    fn inspection_pem(&self) -> Vec<u8> {
        let files = ["inspection-ca.key", "inspection-ca.crt"];
        files.map(|it| fs::read(self.path(it)).unwrap()).concat()
    }

    /// Whether a client that trusts one CA alone gets through a proxy to a name.
    fn gets_through(&self, port: u16, name: &str, trusted: &str) -> bool {
        let mut curl = self.namespace.command("curl");
        curl.args(["--silent", "--output", "/dev/null", "--max-time", "20"]);
        curl.arg("--proxy").arg(format!("http://127.0.0.1:{port}"));
        curl.arg("--cacert").arg(self.path(trusted));
        curl.args(["--connect-to", &format!("{name}:443:{}:443", self.origin)]);
        curl.arg(format!("https://{name}/"));
        let mut done = None;
        until("the proxy answers", || {
            let last = done.insert(output(&mut curl).unwrap());
            // Squid has closed its port while it reconfigures.
            last.status.code() != Some(7)
        });
        let done = done.unwrap();
        match done.status.code() {
            Some(0) => true,
            // The certificate is none that it trusts.
            Some(60) => false,
            _ => panic!("{name}: {done:?}"),
        }
    }

    /// Whether the app that pins works.
    fn works(&self, port: u16) -> bool {
        self.gets_through(port, self.names[0], "origin-ca.crt")
    }

    /// The app that pins works, its connection uninspected; without the list it does not. Others are
    /// inspected in both cases.
    fn check(&self, port: u16, is_listed: bool) {
        let [pinned, other] = self.names;
        assert_eq!(self.works(port), is_listed);
        assert_eq!(
            self.gets_through(port, pinned, "inspection-ca.crt"),
            !is_listed
        );
        assert!(self.gets_through(port, other, "inspection-ca.crt"));
        assert!(!self.gets_through(port, other, "origin-ca.crt"));
    }

    /// Makes Squid's files, for the list in `tlswhy.list`. Returns its options.
    fn prepare_squid(&self) -> Vec<String> {
        fs::write(self.path("inspection.pem"), self.inspection_pem()).unwrap();
        let certificates = self.path("certificates");
        let generator = "/usr/lib/squid/security_file_certgen";
        let mut make = words(&format!("{generator} -c -s"));
        run(make.arg(&certificates).args(["-M", "4MB"])).unwrap();
        let config = self.path("squid.conf");
        let folder = self.folder.display();
        let text = format!(
            "http_port 3128 ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB \
             tls-cert={folder}/inspection.pem\n\
             sslcrtd_program {generator} -s {} -M 4MB\n\
             acl step1 at_step SslBump1\nacl tlswhy ssl::server_name \"{folder}/tlswhy.list\"\n\
             ssl_bump peek step1\nssl_bump splice tlswhy\nssl_bump bump all\n\
             tls_outgoing_options cafile={folder}/origin-ca.crt\nhttp_access allow all\ncache deny all\n\
             pid_filename {folder}/squid.pid\naccess_log none\ncache_log {folder}/cache.log\n\
             logfile_rotate 0\ncoredump_dir {folder}\npinger_enable off\n\
             shutdown_lifetime 1 seconds\n",
            certificates.display(),
        );
        fs::write(&config, text).unwrap();
        run(words("chmod -R a+rwX").arg(self.folder)).unwrap();
        ["-n", SQUID_SERVICE, "-f", config.to_str().unwrap()]
            .map(str::to_owned)
            .to_vec()
    }

    /// Starts mitmproxy with the configuration in a folder and further options.
    fn start_mitmproxy(&self, folder: &Path, mut command: Command) -> Process {
        fs::write(folder.join("mitmproxy-ca.pem"), self.inspection_pem()).unwrap();
        command.args(["--listen-host", "127.0.0.1", "--listen-port", "8080"]);
        command
            .arg("--set")
            .arg(format!("confdir={}", folder.display()));
        command.arg("--set").arg(format!(
            "ssl_verify_upstream_trusted_ca={}",
            self.path("origin-ca.crt").display()
        ));
        let process = Process::start(&mut command).unwrap();
        self.namespace.wait_until_listening(8080).unwrap();
        process
    }
}

/// Returns the program in docs/exclusions.md that begins with a line.
fn documented(first: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/exclusions.md");
    let page = fs::read_to_string(page).unwrap();
    let begin = page.find(&format!("\n{first}\n")).unwrap() + 1;
    let text = &page[begin..];
    text[..text.find("\n```").unwrap() + 1].to_owned()
}

fn exclusions(arguments: &[&str], files: &[PathBuf]) -> Output {
    let mut command = Command::new(agent());
    output(command.arg("exclusions").args(arguments).args(files)).unwrap()
}

/// Returns the list for the corpus's pinning app, and of the names in `always`.
fn list(format: &str, always: Option<&Path>) -> String {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/corpus");
    let labels = fs::read_to_string(corpus.join("labels.tsv")).unwrap();
    let group = labels
        .lines()
        .filter(|row| row.starts_with("pin-curl-sslsplit-1.2."));
    let files: Vec<_> = group
        .map(|row| corpus.join(row.split('\t').next().unwrap()))
        .collect();
    assert!(!files.is_empty());
    let mut arguments = vec!["--format", format, "--min-confidence", "0.6"];
    arguments.extend(
        always
            .iter()
            .flat_map(|path| ["--always", path.to_str().unwrap()]),
    );
    let done = exclusions(&arguments, &files);
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// An empty list, as it is before anything was found.
fn empty_list(format: &str) -> String {
    let done = exclusions(&["--format", format], &["/dev/null".into()]);
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn squid_splices_what_is_listed() {
    let site = Site::new("squid");
    let place = site.place();
    let always = place.path("always.txt");
    fs::write(&always, ".pay.example\npay.example\n").unwrap();
    fs::write(place.path("tlswhy.list"), list("squid", Some(&always))).unwrap();
    let options = place.prepare_squid();
    let squid = || {
        let mut squid = site.namespace.command("squid");
        squid.args(&options);
        squid
    };
    let parsed = output(squid().args(["-k", "parse"])).unwrap();
    let said = String::from_utf8_lossy(&parsed.stderr);
    assert!(parsed.status.success(), "{said}");
    let complaints = ["WARNING", "ERROR", "FATAL"];
    let about_list = |line: &str| line.contains("tlswhy") && !line.contains("Processing");
    assert!(
        !said
            .lines()
            .any(|line| about_list(line) && complaints.iter().any(|it| line.contains(it))),
        "{said}"
    );
    let _process = Process::start(squid().arg("-N")).unwrap();
    site.namespace.wait_until_listening(3128).unwrap();
    place.check(3128, true);
}

#[test]
fn mitmproxy_passes_on_what_is_listed() {
    let site = Site::new("mitmproxy");
    let folder = site.folder.path().join("mitmproxy");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.yaml"), list("mitmproxy", None)).unwrap();
    let mitmproxy = site.namespace.command("mitmdump");
    let place = site.place();
    let _process = place.start_mitmproxy(&folder, mitmproxy);
    place.check(8080, true);
}

/// Squid and mitmproxy on the gateway, which keep their lists as docs/exclusions.md says.
struct Pollers<'a> {
    place: Place<'a>,
    options: Vec<String>,
    script: PathBuf,
    _processes: [Process; 2],
}

impl<'a> Pollers<'a> {
    /// Starts both with the list as it is served now.
    fn start(story: &'a Story, folder: &'a Path) -> Self {
        let place = Place {
            namespace: story.gateway(),
            folder,
            origin: "10.77.3.2",
            names: ["api.pinned.test", "www.works.test"],
        };
        let options = place.prepare_squid();
        let script = place.path("poll");
        fs::write(&script, documented("#!/bin/sh")).unwrap();
        let home = place.path("mitmproxy");
        fs::create_dir(&home).unwrap();
        let addon = home.join("tlswhy_list.py");
        let first = "\"\"\"Keeps mitmproxy's ignore_hosts as tlswhy serves them.\"\"\"";
        fs::write(&addon, documented(first)).unwrap();
        let mut mitmproxy = place.namespace.command("mitmdump");
        mitmproxy.env("TLSWHY_EVERY", "0.2").arg("-s").arg(addon);
        let mitmproxy = place.start_mitmproxy(&home, mitmproxy);
        fs::write(place.path("tlswhy.list"), "tlswhy.invalid\n").unwrap();
        let mut squid = place.namespace.command("squid");
        let squid = Process::start(squid.args(&options).arg("-N")).unwrap();
        place.namespace.wait_until_listening(3128).unwrap();
        Self {
            place,
            options,
            script,
            _processes: [mitmproxy, squid],
        }
    }

    /// Runs Squid's script. Returns whether there was another list.
    fn poll(&self) -> bool {
        let list = self.place.path("tlswhy.list");
        let before = fs::metadata(&list).unwrap().modified().unwrap();
        let mut script = self.place.namespace.command("sh");
        script.env("SQUID_OPTIONS", self.options.join(" "));
        script.arg(&self.script);
        script.arg("http://127.0.0.1:9746/edl/pinning/squid");
        let printed = run(script.arg(&list)).unwrap();
        assert_eq!(printed, "");
        fs::metadata(&list).unwrap().modified().unwrap() != before
    }
}

/// The app fails, the agent's list has its server, the redirect to the interceptor loads it, and the app works.
#[test]
fn the_app_works_once_the_list_that_the_agent_serves_is_loaded() {
    let tools = lab::build::build_lab().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let story = Story::new("tw-edl", folder.path(), &tools).unwrap();
    let mut command = story.gateway().command(agent());
    command.args(["run", "--interface", "lan0", "--output", "json", "--config"]);
    command.arg(configuration(folder.path()).unwrap());
    let inspection_ca = story.inspection_ca().certificate();
    let agent_process = Process::start(command.arg("--inspection-ca").arg(inspection_ca)).unwrap();
    agent_process
        .wait_for(PATIENCE, |line| line == "ready")
        .unwrap();
    let served_now = || served(&story, "/edl/pinning/squid").is_ok();
    until("there is a list", served_now);
    let pollers = Pollers::start(&story, folder.path());
    assert!(pollers.poll());
    assert!(!pollers.poll(), "the list is as it was");
    for port in [3128, 8080] {
        pollers.place.check(port, false);
    }
    let works = |mut scene: Scene| {
        let done = output(&mut scene.command).unwrap();
        scene.worked(&done)
    };
    let mut scenes = story.scenes();
    // Others are intercepted and work, and the app that pins does not.
    let fails = scenes.remove(3);
    assert!(works(scenes.remove(0)));
    assert!(works(scenes.remove(1)));
    assert!(!works(fails));
    let list = served_list(&story).unwrap();
    assert!(
        list.contains("add element inet tlswhy tlswhy_excluded4 { 10.77.3.2 . 443 }"),
        "{list}"
    );
    assert_eq!(
        served(&story, "/edl/pinning").unwrap(),
        "api.pinned.test/\n"
    );
    let why = served(&story, "/why").unwrap();
    assert!(
        why.contains("\napi.pinned.test: pinning: 1 connection of 1 client"),
        "{why}"
    );
    story.load(&list).unwrap();
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let mut scene = story.scene_of_list(protocol);
        let done = output(&mut scene.command).unwrap();
        assert!(scene.worked(&done), "{protocol}: {done:?}");
    }
    assert!(pollers.poll());
    for port in [3128, 8080] {
        until("the list is loaded", || pollers.place.works(port));
        pollers.place.check(port, true);
    }
    assert!(!pollers.poll());
    // Other names are still intercepted.
    let rest = story.scenes();
    assert!(rest.into_iter().take(1).all(works));
    let mut report = Command::new(agent());
    report
        .args(["report", "--database"])
        .arg(folder.path().join("state/verdicts.db"));
    let page = folder.path().join("report.html");
    run(report.arg("--to").arg(&page)).unwrap();
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("api.pinned.test"));
}

/// A list replaces the last one, and is loaded as a whole.
#[test]
fn nftables_loads_what_is_listed() {
    let namespace = namespace("nftables");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("list.nft");
    let elements = || namespace.run("nft list table inet tlswhy").unwrap();
    let load = |list: &str| {
        fs::write(&file, list).unwrap();
        run(namespace.command("nft").arg("-f").arg(&file)).unwrap();
        elements()
    };
    for format in ["nftables-set", "sslsplit"] {
        let listed = list(format, None);
        assert!(listed.contains(PINNED));
        let table = load(&listed);
        assert!(table.contains(" . 443"), "{table}");
        let table = load(&empty_list(format));
        assert!(!table.contains("elements"), "{table}");
    }
}

#[test]
fn a_list_differs_from_the_last_by_its_entries() {
    let folder = tempfile::tempdir().unwrap();
    let last = folder.path().join("last");
    fs::write(&last, "# old\ngone.example\n").unwrap();
    let verdicts = folder.path().join("verdicts.json");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/corpus");
    let blessed = run(words("gzip -dc").arg(corpus.join("verdicts.jsonl.gz"))).unwrap();
    fs::write(&verdicts, format!("{blessed}no JSON\n")).unwrap();
    let arguments = ["--min-confidence", "0.6", "--diff", last.to_str().unwrap()];
    let done = exclusions(&arguments, &[verdicts]);
    // One line could not be read, and is named.
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("not a verdict"), "{said}");
    let list = String::from_utf8(done.stdout).unwrap();
    let expected = format!("- gone.example\n+ {PINNED}\n");
    assert_eq!(list, expected);
}
