//! Lists by the programs that load them: the app that failed works uninspected, and others stay inspected.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lab::demo::story::{Scene, Story};
use lab::demo::{configuration, served, served_list};
use lab::host::{Authority, Namespace, Process, output, run, words};
use tests::gateway::{PATIENCE, agent};
use tests::wire::namespace;

/// The name that an app in the corpus pins.
const PINNED: &str = "api.pinned.example";
/// A name that nothing pins.
const OTHER: &str = "www.other.example";
const SQUID_SERVICE: &str = "tlswhylists";

/// An origin on loopback, its clients, and the parts of an interceptor.
struct Site {
    namespace: Namespace,
    folder: tempfile::TempDir,
    origin_ca: Authority,
    inspection_ca: Authority,
    _origin: Process,
}

impl Site {
    fn new(label: &str) -> Self {
        let namespace = namespace(label);
        namespace.run("ip link set lo up").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let origin_ca = Authority::new(folder.path(), "origin-ca", "Origin CA").unwrap();
        let inspection_ca =
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
            origin_ca,
            inspection_ca,
            _origin: origin,
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Key and certificate of the inspection CA in one file.
    fn inspection_pem(&self) -> Vec<u8> {
        let (key, certificate) = (self.inspection_ca.key(), self.inspection_ca.certificate());
        [fs::read(key).unwrap(), fs::read(certificate).unwrap()].concat()
    }

    /// Whether a client that trusts one CA alone gets through a proxy to a name.
    fn gets_through(&self, port: u16, name: &str, trusted: &Authority) -> bool {
        let mut curl = self.namespace.command("curl");
        curl.args(["--silent", "--output", "/dev/null", "--max-time", "20"]);
        curl.arg("--proxy").arg(format!("http://127.0.0.1:{port}"));
        curl.arg("--cacert").arg(trusted.certificate());
        curl.args(["--connect-to", &format!("{name}:443:127.0.7.1:443")]);
        let done = output(curl.arg(format!("https://{name}/"))).unwrap();
        match done.status.code() {
            Some(0) => true,
            // The certificate is none that it trusts.
            Some(60) => false,
            _ => panic!("{name}: {done:?}"),
        }
    }

    /// The app that pins works, its connection uninspected; without the list it does not. Others are
    /// inspected in both cases.
    fn check(&self, port: u16, is_listed: bool) {
        let (origin, inspection) = (&self.origin_ca, &self.inspection_ca);
        assert_eq!(self.gets_through(port, PINNED, origin), is_listed);
        assert_eq!(self.gets_through(port, PINNED, inspection), !is_listed);
        assert!(self.gets_through(port, OTHER, inspection));
        assert!(!self.gets_through(port, OTHER, origin));
    }
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
    fs::write(site.path("inspection.pem"), site.inspection_pem()).unwrap();
    let certificates = site.path("certificates");
    let generator = "/usr/lib/squid/security_file_certgen";
    let mut make = words(&format!("{generator} -c -s"));
    run(make.arg(&certificates).args(["-M", "4MB"])).unwrap();
    let always = site.path("always.txt");
    fs::write(&always, ".pay.example\npay.example\n").unwrap();
    for (is_listed, list) in [
        (false, empty_list("squid")),
        (true, list("squid", Some(&always))),
    ] {
        fs::write(site.path("tlswhy.list"), &list).unwrap();
        let config = site.path("squid.conf");
        let folder = site.folder.path().display();
        let text = format!(
            "http_port 3128 ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB \
             tls-cert={folder}/inspection.pem\n\
             sslcrtd_program {generator} -s {} -M 4MB\n\
             acl step1 at_step SslBump1\nacl tlswhy ssl::server_name \"{folder}/tlswhy.list\"\n\
             ssl_bump peek step1\nssl_bump splice tlswhy\nssl_bump bump all\n\
             tls_outgoing_options cafile={}\nhttp_access allow all\ncache deny all\n\
             pid_filename {folder}/squid.pid\naccess_log none\ncache_log {folder}/cache.log\n\
             logfile_rotate 0\ncoredump_dir {folder}\npinger_enable off\n\
             shutdown_lifetime 1 seconds\n",
            certificates.display(),
            site.origin_ca.certificate().display(),
        );
        fs::write(&config, text).unwrap();
        run(words("chmod -R a+rwX").arg(site.folder.path())).unwrap();
        let squid = || {
            let mut squid = site.namespace.command("squid");
            squid.args(["-n", SQUID_SERVICE, "-f"]).arg(&config);
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
        let process = Process::start(squid().arg("-N")).unwrap();
        site.namespace.wait_until_listening(3128).unwrap();
        site.check(3128, is_listed);
        drop(process);
    }
}

#[test]
fn mitmproxy_passes_on_what_is_listed() {
    let site = Site::new("mitmproxy");
    for (is_listed, list) in [
        (false, empty_list("mitmproxy")),
        (true, list("mitmproxy", None)),
    ] {
        let folder = site.path(&format!("mitmproxy-{is_listed}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("mitmproxy-ca.pem"), site.inspection_pem()).unwrap();
        fs::write(folder.join("config.yaml"), list).unwrap();
        let mut mitmproxy = site.namespace.command("mitmdump");
        mitmproxy.args([
            "--listen-host",
            "127.0.0.1",
            "--listen-port",
            "8080",
            "--set",
        ]);
        mitmproxy.arg(format!("confdir={}", folder.display()));
        mitmproxy.arg("--set").arg(format!(
            "ssl_verify_upstream_trusted_ca={}",
            site.origin_ca.certificate().display()
        ));
        let process = Process::start(&mut mitmproxy).unwrap();
        site.namespace.wait_until_listening(8080).unwrap();
        site.check(8080, is_listed);
        drop(process);
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
