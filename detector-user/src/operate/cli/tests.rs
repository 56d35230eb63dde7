use rstest::rstest;

use super::*;
use crate::cause::knowledge::InterceptedWhen;

fn parsed(line: &str) -> Result<Cli, clap::Error> {
    Cli::parse_arguments(line.split_whitespace())
}

fn run(line: &str) -> RunArgs {
    match parsed(line).unwrap().command {
        Command::Run(run) => *run,
        other => panic!("{other:?}"),
    }
}

#[test]
fn is_sound() {
    Cli::command().debug_assert();
}

#[rstest]
#[case("tlswhy --help")]
#[case("tlswhy run --help")]
#[case("tlswhy pcap --help")]
#[case("tlswhy doctor --help")]
#[case("tlswhy check-config --help")]
#[case("tlswhy detach --help")]
fn helps(#[case] line: &str) {
    // Of a fixed width: the terminal this runs on must not decide.
    let command = Cli::command().term_width(100);
    let help = command
        .try_get_matches_from(line.split_whitespace())
        .unwrap_err();
    assert_eq!(help.exit_code(), i32::from(EXIT_DONE));
    let name = line.replace(" --", "_").replace(' ', "_");
    insta::assert_snapshot!(name, help.to_string());
}

#[test]
fn run_takes_everything_it_documents() {
    let run = run(
        "tlswhy run --interface lan0 -i wan0 --output json --output journald \
         --output json --inspection-ca Proxy --inspection-ca CN=Other --intercepted always \
         --flows 1000000 --log debug",
    );
    assert_eq!(run.interfaces, ["lan0", "wan0"]);
    let outputs = run_outputs(&run.outputs);
    assert_eq!(outputs, [Output::Json, Output::Journald]);
    assert_eq!(run.inspection_cas.len(), 2);
    assert!(run.inspection_cas.iter().any(|ca| ca.matches("CN=Other")));
    assert_eq!(run.intercepted, Some(InterceptedWhen::Always));
    assert_eq!((run.flows, run.log), (Some(1_000_000), LogLevel::Debug));
}

#[test]
fn run_alone_is_quiet_and_judges_by_evidence() {
    let run = run("tlswhy run");
    assert_eq!(
        run_outputs(&run.outputs),
        [Output::Text],
        "this test is no service"
    );
    assert_eq!(
        (run.intercepted, run.flows, run.log),
        (None, None, LogLevel::Off)
    );
    assert!(run.interfaces.is_empty());
}

#[test]
fn pcap_takes_files_and_standard_input() {
    let Command::Pcap(pcap) = parsed("tlswhy pcap -q a.pcap - b.pcapng.gz")
        .unwrap()
        .command
    else {
        panic!("not pcap")
    };
    assert_eq!(
        pcap.files,
        ["a.pcap", "-", "b.pcapng.gz"].map(PathBuf::from)
    );
    assert_eq!(pcap.outputs(), [Output::Text]);
    assert!(!pcap.shows_progress());
}

#[rstest]
#[case("tlswhy")]
#[case("tlswhy walk")]
#[case("tlswhy pcap")]
#[case("tlswhy pcap - -")]
#[case("tlswhy run --output xml")]
#[case("tlswhy run --output text --output json")]
#[case("tlswhy run --interface an-interface-name-too-long")]
#[case("tlswhy run --interface eth0/../x")]
#[case("tlswhy run --flows 0")]
#[case("tlswhy run --flows many")]
#[case("tlswhy run --intercepted perhaps")]
#[case("tlswhy run --inspection-ca /nonexistent/ca.pem")]
#[case("tlswhy doctor --output journald")]
fn wrong_usage_ends_with_2(#[case] line: &str) {
    let error = parsed(line).unwrap_err();
    assert_eq!(error.exit_code(), i32::from(EXIT_USAGE), "{error}");
    assert!(error.use_stderr());
}

#[test]
fn a_conflict_says_what_to_do() {
    let error = parsed("tlswhy run --output text --output json")
        .unwrap_err()
        .to_string();
    assert!(error.contains("choose one"), "{error}");
    assert!(error.contains("Usage: tlswhy run"), "{error}");
}
