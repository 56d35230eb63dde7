use std::path::PathBuf;

use rstest::rstest;

use super::*;
use crate::cause::knowledge::InterceptedWhen;
use crate::source::tap::selection::Wanted;
use crate::verdict::Cause;

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
#[case("tlswhy exclusions --help")]
#[case("tlswhy doctor --help")]
#[case("tlswhy check-config --help")]
#[case("tlswhy status --help")]
#[case("tlswhy detach --help")]
#[case("tlswhy probe --help")]
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
fn prose_is_wrapped_once_on_every_width() {
    for width in 50..=110 {
        for command in Cli::command().get_subcommands() {
            let help = command.clone().term_width(width).render_long_help();
            let help = help.to_string();
            let lines: Vec<&str> = help.lines().collect();
            for pair in lines.windows(2) {
                let is_prose = pair
                    .iter()
                    .all(|line| line.starts_with(char::is_alphabetic) && !line.ends_with(':'));
                let word = pair[1].split(' ').next().unwrap().chars().count();
                let fits = pair[0].chars().count() + 1 + word <= width;
                assert!(!(is_prose && fits), "{width}: {pair:#?}");
            }
        }
    }
}

#[test]
fn run_takes_everything_it_documents() {
    let run = run(
        "tlswhy run --interface lan0 -i wan0 --output json --output journald \
         --output json --inspection-ca Proxy --inspection-ca CN=Other --intercepted always \
         --flows 1000000 --log debug",
    );
    let interfaces = run.interfaces.iter().map(ToString::to_string);
    assert_eq!(interfaces.collect::<Vec<_>>(), ["lan0", "wan0"]);
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
    assert!(pcap.quiet);
}

#[test]
fn filters_are_the_same_for_run_and_pcap() {
    let line = "--client 10.0.0.0/8 --client 192.0.2.7 --server 2001:db8::/32 --port 443 --name *.test \
                --cause pinning --cause abandoned --min-confidence 0.5 --ignore-client 10.9.0.0/16 \
                --ignore-server 198.51.100.0/24 --ignore-port 22 --ignore-name *.telemetry.test";
    let run = run(&format!("tlswhy run -i auto -i lan* {line}"));
    let pcap = match parsed(&format!("tlswhy pcap {line} a.pcap"))
        .unwrap()
        .command
    {
        Command::Pcap(pcap) => *pcap,
        other => panic!("{other:?}"),
    };
    assert_eq!(run.filter.filter(), pcap.filter.filter());
    assert_eq!(run.filter.ignored(), pcap.filter.ignored());
    let (filter, ignored) = (pcap.filter.filter(), pcap.filter.ignored());
    assert_eq!((filter.clients.len(), filter.ports), (2, vec![443]));
    assert_eq!(filter.causes, [Cause::Pinning, Cause::Abandoned]);
    assert!((filter.min_confidence - 0.5).abs() < f64::EPSILON);
    assert_eq!((ignored.ports, ignored.names.len()), (vec![22], 1));
    assert_eq!(run.interfaces[0], Wanted::Auto);
}

#[rstest]
#[case("7", 7)]
#[case("0x7", 7)]
#[case("0XFFFFFFFF", u32::MAX)]
fn a_mark_is_decimal_or_hexadecimal(#[case] given: &str, #[case] mark: u32) {
    let Command::Probe(probe) = parsed(&format!("tlswhy probe a.test --mark {given}"))
        .unwrap()
        .command
    else {
        panic!("not probe")
    };
    assert_eq!(probe.mark, Some(mark));
}

#[rstest]
#[case("tlswhy")]
#[case("tlswhy probe a.test --mark 0x")]
#[case("tlswhy probe a.test --mark 0x+7")]
#[case("tlswhy probe a.test --mark 0x100000000")]
#[case("tlswhy pcap --client 10.0.0.1/8 a.pcap")]
#[case("tlswhy pcap --cause bad-luck a.pcap")]
#[case("tlswhy pcap --min-confidence 1.5 a.pcap")]
#[case("tlswhy pcap --min-confidence NaN a.pcap")]
#[case("tlswhy run --port 0")]
#[case("tlswhy run --name [")]
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
