//! `tlswhy pcap` on captures, whole and damaged.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rstest::rstest;
use serde_json::Value;
use tests::gateway::agent;

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("captures")
        .join(name)
}

/// `tlswhy pcap` before its captures are named.
fn tlswhy_pcap() -> Command {
    let mut command = Command::new(agent());
    command.args(["pcap", "--output", "json"]);
    command.args(["--inspection-ca", "CN=Inspection CA"]);
    command
}

fn pcap(files: &[&Path]) -> Output {
    tlswhy_pcap().args(files).output().unwrap()
}

fn verdicts(output: &Output) -> Vec<Value> {
    let lines = String::from_utf8(output.stdout.clone()).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[rstest]
#[case("story.pcap")]
#[case("clients.pcap")]
fn verdicts_are_as_expected(#[case] name: &str) {
    let output = pcap(&[&capture(name)]);
    assert!(output.status.success());
    insta::assert_json_snapshot!(name, verdicts(&output));
    insta::assert_snapshot!(
        format!("{name} summary"),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Captures of one group of the corpus.
fn group(prefix: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(capture("corpus")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with(prefix)
    });
    files.sort();
    files
}

/// Runs a line for the shell, in which `tlswhy` is the agent, and returns all that it wrote.
fn written(line: &str, folder: &Path) -> String {
    let mut command = Command::new("sh");
    let script = format!("tlswhy() {{ \"$agent\" \"$@\"; }}; {line}");
    command.args(["-c", &script]).env("agent", agent());
    let output = command.current_dir(folder).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn the_example_of_the_readme_is_what_is_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let (_, example) = readme.split_once("-- pcap ").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let (pattern, shown) = example.split_once('\n').unwrap();
    assert_eq!(written(&format!("tlswhy pcap {pattern}"), root), shown);
}

/// The block of a document that begins with `cd`, and has one command; UPDATE_DOCUMENTS=1 writes the output again.
#[rstest]
#[case("docs/explain.md", "$ cd tests/captures\n$ tlswhy explain ")]
#[case("docs/operate.md", "$ cd tests/captures/corpus\n$ tlswhy why ")]
fn examples_of_documents_are_what_is_written(#[case] document: &str, #[case] begins: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = root.join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let start = text.find(begins).unwrap();
    let block = text[start..].split("```").next().unwrap();
    let (folder, rest) = block.split_once('\n').unwrap();
    // A command goes on behind a backslash.
    let mut end = rest.find('\n').unwrap();
    while rest[..end].ends_with('\\') {
        end += 1 + rest[end + 1..].find('\n').unwrap();
    }
    let (command, shown) = rest.split_at(end + 1);
    let folder = root.join(folder.trim_start_matches("$ cd "));
    let output = written(command.trim_start_matches("$ "), &folder);
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        let updated = text.replacen(shown, &output, 1);
        std::fs::write(&path, updated).unwrap();
    } else {
        assert_eq!(output, shown);
    }
}

#[test]
fn final_verdicts_are_the_last_of_each_connection() {
    let files = group("no-ca-curl-sslsplit-1.2.");
    let given = |options: &[&str]| {
        let mut command = Command::new(agent());
        command.args(["pcap", "--output", "json"]).args(options);
        verdicts(&command.args(&files).output().unwrap())
    };
    let all = given(&[]);
    let mut last: Vec<Value> = all
        .iter()
        .filter(|verdict| !all.iter().any(|later| later["supersedes"] == verdict["id"]))
        .cloned()
        .collect();
    assert!(last.len() < all.len(), "some are revised");
    for verdict in &mut last {
        verdict["revises"] = Value::Null;
        verdict["supersedes"] = Value::Null;
    }
    let mut settled = given(&["--final=7days"]);
    let id = |verdict: &Value| verdict["id"].to_string();
    last.sort_by_key(id);
    settled.sort_by_key(id);
    assert_eq!(settled, last);
}

#[test]
fn repeats_are_counted_if_wanted() {
    let files = group("no-ca-curl-sslsplit-1.2.rejects-shop");
    let twice: Vec<PathBuf> = files.iter().chain(&files).cloned().collect();
    let output = tlswhy_pcap()
        .arg("--fold")
        .args(["--final"])
        .args(&twice)
        .output()
        .unwrap();
    let lines = verdicts(&output);
    let repeats = lines.iter().filter_map(|line| line["repeats"].as_u64());
    let counted = repeats.sum::<u64>();
    let plain = tlswhy_pcap().arg("--final").args(&twice).output().unwrap();
    let plain = verdicts(&plain).len() as u64;
    let written = lines
        .iter()
        .filter(|line| line["repeats"].is_null())
        .count() as u64;
    assert!(plain > 0 && plain == written + counted, "{lines:?}");
}

/// Compressed with the machine's own programs, and by standard input.
#[test]
fn compressed_captures_read_the_same() {
    let plain = std::fs::read(capture("story.pcap")).unwrap();
    let expected = verdicts(&pcap(&[&capture("story.pcap")]));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
    for bytes in [gzip.finish().unwrap(), zstd, plain] {
        let mut child = tlswhy_pcap()
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let read = verdicts(&child.wait_with_output().unwrap());
        assert_eq!(read.len(), expected.len());
        for (read, expected) in read.iter().zip(&expected) {
            assert_eq!(read["cause"], expected["cause"]);
            assert_eq!(read["community_id"], expected["community_id"]);
        }
    }
}

#[test]
fn a_truncated_capture_yields_what_comes_before_the_damage() {
    let whole = std::fs::read(capture("story.pcap")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.pcap");
    // Within the last frame: everything that failed did so before.
    std::fs::write(&cut, &whole[..whole.len() - 10]).unwrap();
    let output = pcap(&[&cut]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        verdicts(&output).len(),
        verdicts(&pcap(&[&capture("story.pcap")])).len()
    );
    let said = String::from_utf8_lossy(&output.stderr);
    let warning = said.lines().next().unwrap();
    assert!(
        warning.contains("cut.pcap") && warning.contains("at byte"),
        "{said}"
    );
}

#[rstest]
#[case::empty(&[], "empty")]
#[case::no_capture(b"this is no capture at all, but long enough for a header", "capture")]
fn what_is_no_capture_is_one_line_and_exit_code_1(#[case] bytes: &[u8], #[case] word: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.pcap");
    std::fs::write(&path, bytes).unwrap();
    let output = pcap(&[&path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr);
    let complaint = said.lines().next().unwrap();
    assert!(
        complaint.contains("odd.pcap") && complaint.contains(word),
        "{said}"
    );
}

#[test]
fn a_file_that_does_not_exist_does_not_hide_the_others() {
    let output = pcap(&[Path::new("/nonexistent.pcap"), &capture("story.pcap")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!verdicts(&output).is_empty());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.lines().next().unwrap().contains("/nonexistent.pcap"),
        "{said}"
    );
}

#[test]
fn an_unknown_link_type_is_named() {
    let mut bytes = std::fs::read(capture("story.pcap")).unwrap();
    bytes[20..24].copy_from_slice(&147u32.to_le_bytes());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.pcap");
    std::fs::write(&path, &bytes).unwrap();
    let output = pcap(&[&path]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.lines().next().unwrap().contains("147"), "{said}");
}

#[test]
fn a_capture_that_cannot_be_read_is_said_to_be_lost() {
    let story = capture("story.pcap");
    let output = pcap(&[Path::new("/nonexistent.pcap"), &story]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
    assert!(
        said.ends_with("lost: the unread rest of 1 capture\n"),
        "{said}"
    );
}

#[test]
fn an_inspection_ca_that_never_appears_is_reported_with_the_issuer_seen() {
    let clients = capture("clients.pcap");
    let said = |name: &str| {
        let mut command = Command::new(agent());
        command
            .args(["pcap", "--inspection-ca", name])
            .arg(&clients);
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    let wrong = said("CN=Wrong CA");
    assert!(
        wrong.starts_with(
            "tlswhy: no certificate was issued by the inspection CA \"CN=Wrong CA\": of "
        ),
        "{wrong}"
    );
    assert!(wrong.contains("most are by \"CN=Inspection CA"), "{wrong}");
    assert!(said("CN=Inspection CA").starts_with("seen: "));
}

#[test]
fn quiet_keeps_the_summary() {
    let story = capture("story.pcap");
    let quiet = tlswhy_pcap().arg("--quiet").arg(&story).output().unwrap();
    let said = String::from_utf8_lossy(&quiet.stderr);
    assert_eq!(said, String::from_utf8_lossy(&pcap(&[&story]).stderr));
    assert!(said.starts_with("seen: "), "{said}");
}

/// Connections that a filter leaves out are judged, and others learn from them; ignored ones are not.
#[test]
fn filters_select_verdicts_and_ignored_connections_are_not_judged() {
    let story = capture("story.pcap");
    let all = verdicts(&pcap(&[&story]));
    let by = |arguments: &[&str]| {
        let output = tlswhy_pcap().args(arguments).arg(&story).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        (
            verdicts(&output),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let first = &all[0];
    let name = first["sni"].as_str().unwrap();
    let cause = first["cause"].as_str().unwrap();
    let client = first["client"]["ip"].as_str().unwrap();
    let with = |field: &str, value: &str| -> Vec<Value> {
        let all = all.iter().filter(|it| it[field] == value);
        all.cloned().collect()
    };
    let (written, _) = by(&["--name", &name.to_uppercase()]);
    assert_eq!(written, with("sni", name));
    assert!(written.len() < all.len());
    let (written, _) = by(&["--cause", cause]);
    for verdict in &written {
        let replaces = verdict["supersedes"].is_string();
        assert!(verdict["cause"] == cause || replaces, "{verdict}");
    }
    assert!(written.contains(first));
    assert_eq!(
        by(&["--client", client, "--port", "443"]).0.len(),
        all.len()
    );
    assert_eq!(by(&["--client", "192.0.2.0/24"]).0, [] as [Value; 0]);
    assert_eq!(by(&["--min-confidence", "1"]).0, [] as [Value; 0]);
    let (written, said) = by(&["--ignore-name", "*"]);
    assert_eq!(written, [] as [Value; 0]);
    assert!(said.contains("judged: 0 established, 0 failed"), "{said}");
    assert_eq!(by(&["--ignore-port", "443"]).0, [] as [Value; 0]);
}

/// Captures of gateways that have nothing to do with each other: later ones revise verdicts on earlier ones.
#[test]
fn each_connection_counts_once_by_its_latest_verdict() {
    let files = group("");
    let files = files.iter().map(PathBuf::as_path);
    let files: Vec<_> = files
        .filter(|file| file.to_string_lossy().contains(".pcap"))
        .collect();
    let output = pcap(&files);
    let mut latest: HashMap<String, Value> = HashMap::new();
    for verdict in verdicts(&output) {
        if let Some(replaced) = verdict["supersedes"].as_str() {
            assert!(latest.remove(replaced).is_some(), "{verdict}");
        }
        latest.insert(verdict["id"].as_str().unwrap().to_owned(), verdict);
    }
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    for verdict in latest.values() {
        *causes
            .entry(verdict["cause"].as_str().unwrap())
            .or_default() += 1;
    }
    let causes: Vec<_> = causes
        .iter()
        .map(|(cause, n)| format!("{n} {cause}"))
        .collect();
    let summary = String::from_utf8(output.stderr).unwrap();
    let failed = format!("{} failed ({})", latest.len(), causes.join(", "));
    assert!(summary.contains(&failed), "{failed} is not in {summary}");
    let number = |words: &str| -> u64 {
        let before = summary.split(words).next().unwrap();
        let digits = before.rsplit(|it: char| !it.is_ascii_digit()).next();
        digits.unwrap().parse().unwrap()
    };
    let outcomes = [" established", " failed", " unused", " unfinished"].map(number);
    let joined = number(" connections seen as two flows");
    let further = number(" further flows of the same connections");
    let accounted = outcomes.iter().sum::<u64>() + joined + further;
    assert_eq!(number(" TLS flows"), accounted, "{summary}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let output = Command::new(agent())
        .args(["pcap", "--no-such-option"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_reader_that_stops_is_no_failure() {
    let mut child = Command::new(agent())
        .args(["pcap", "--output", "json"])
        .arg(capture("story.pcap"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Output that cannot be written is a failure with a reason; a reader that stops is none, and nothing is said.
#[rstest]
#[case(&["--help"])]
#[case(&["--version"])]
#[case(&["pcap", "--output", "json"])]
#[case(&["pcap", "--output", "text"])]
fn output_that_is_not_taken(#[case] arguments: &[&str]) {
    let tlswhy = |stdout: Stdio| {
        let mut command = Command::new(agent());
        command.args(arguments).stdout(stdout);
        if arguments[0] == "pcap" {
            command.arg(capture("story.pcap"));
        }
        command.output().unwrap()
    };
    let full = std::fs::File::options().write(true).open("/dev/full");
    let failed = tlswhy(full.unwrap().into());
    let said = String::from_utf8_lossy(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("No space left on device").count(), 1, "{said}");
    let (read, written) = std::io::pipe().unwrap();
    drop(read);
    let unread = tlswhy(written.into());
    let said = String::from_utf8_lossy(&unread.stderr);
    assert_eq!(unread.status.code(), Some(0), "{said}");
    assert!(!said.contains("tlswhy: "), "{said}");
}

#[test]
fn messages_that_nobody_reads_cost_no_verdict() {
    let full = std::fs::File::options().write(true).open("/dev/full");
    let mut command = Command::new(agent());
    command.args(["pcap", "--output", "json"]);
    command.arg(capture("story.pcap")).stderr(full.unwrap());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    assert_eq!(verdicts(&output).len(), 4);
}

/// The committed corpus as one run, and verdicts that need many of its connections.
#[test]
fn verdicts_do_not_depend_on_the_number_of_threads() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(capture("corpus"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".pcap"))
        .collect();
    files.sort();
    let by = |threads: &str| {
        let output = Command::new(agent())
            .args(["pcap", "--output", "json", "--threads", threads])
            .args(&files)
            .output()
            .unwrap();
        assert!(output.status.success());
        output
    };
    let one = by("1");
    assert!(verdicts(&one).len() > 300);
    for threads in ["2", "3"] {
        let more = by(threads);
        assert!(more.stdout == one.stdout, "{threads} threads");
        assert_eq!(
            String::from_utf8_lossy(&more.stderr),
            String::from_utf8_lossy(&one.stderr)
        );
    }
}

/// Cause and interception of the last verdict on each connection, with the inspection CA named or not.
fn causes(files: &[PathBuf], options: &[&str]) -> Vec<(String, String)> {
    let mut command = Command::new(agent());
    command.args(["pcap", "--output", "json", "--final"]);
    let output = command.args(options).args(files).output().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let verdicts = verdicts(&output);
    let verdicts = verdicts.iter();
    verdicts
        .map(|it| (text(&it["cause"]), text(&it["intercepted"])))
        .collect()
}

/// One client refuses one name; or several apps several names. A fleet shows interception by itself.
#[rstest]
#[case("no-ca-curl-sslsplit-1.2.rejects-shop-", &[("certificate-rejected", "unknown")], &[("ca-not-trusted", "yes")])]
#[case("pin-go-sslsplit-1.2.pins-", &[("certificate-rejected", "unknown")], &[("certificate-rejected", "yes")])]
#[case("pin-go-sslsplit-1.2.", &[("pinning", "yes")], &[("pinning", "yes")])]
#[case("own-store-java-sslsplit-1.2.", &[("ca-not-trusted", "yes"); 3], &[("ca-not-trusted", "yes"); 3])]
fn a_named_inspection_ca_decides_where_nothing_else_shows_interception(
    #[case] fleet: &str,
    #[case] without: &[(&str, &str)],
    #[case] with: &[(&str, &str)],
) {
    let files = group(fleet);
    let owned = |expected: &[(&str, &str)]| {
        let expected = expected.iter();
        let owned = expected.map(|(cause, known)| ((*cause).to_owned(), (*known).to_owned()));
        owned.collect::<Vec<_>>()
    };
    assert_eq!(causes(&files, &[]), owned(without));
    let named = ["--inspection-ca", "CN=Example Corp Inspection CA"];
    assert_eq!(causes(&files, &named), owned(with));
}

/// Verdicts and summary of a run with a filter expression.
fn filtered(expression: &str, files: &[PathBuf]) -> Output {
    let mut command = tlswhy_pcap();
    command.args(["--filter", expression]).args(files);
    command.output().unwrap()
}

/// Rewrites a capture by tcpdump, with the frames of an expression alone.
fn by_tcpdump(expression: &str, file: &Path, folder: &Path) -> PathBuf {
    let to = folder.join(file.file_name().unwrap());
    let mut tcpdump = Command::new("tcpdump");
    tcpdump.arg("-r").arg(file).arg("-w").arg(&to);
    tcpdump.args(["-Z", "root", expression]);
    assert!(tcpdump.output().unwrap().status.success());
    to
}

#[rstest]
#[case("tcp port 443")]
#[case("src net 10.0.0.0/8 or ip6")]
#[case("host 10.77.1.2 and not tcp[tcpflags] & tcp-rst != 0")]
#[case("greater 300")]
#[case("udp")]
fn a_filter_expression_reads_the_frames_that_tcpdump_would(#[case] expression: &str) {
    let folder = tempfile::tempdir().unwrap();
    let files = ["story.pcap", "clients.pcap"].map(capture);
    let output = filtered(expression, &files);
    assert!(output.status.success());
    let smaller = files.map(|file| by_tcpdump(expression, &file, folder.path()));
    let smaller: Vec<&Path> = smaller.iter().map(PathBuf::as_path).collect();
    let expected = pcap(&smaller);
    assert_eq!(verdicts(&output), verdicts(&expected));
    let seen = |output: &Output| {
        let summary = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines = summary
            .lines()
            .filter(|line| !line.starts_with("left out: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(seen(&output), seen(&expected));
}

#[test]
fn a_wrong_filter_expression_is_wrong_usage() {
    let output = filtered("host host", &[capture("story.pcap")]);
    assert_eq!(output.status.code(), Some(2));
    let expected = "tlswhy: wrong filter expression 'host host': syntax error; pcap-filter(7) has the syntax\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
}
