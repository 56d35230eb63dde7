//! Questions to a database of a million groups, and writing to it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use detector_user::outlet::database::{Acceptance, Acceptances, FILE, Past, Query, Writer};
use detector_user::verdict::{Cause, Intercepted, Verdict};

use crate::table::{Goal, Row, Table};

/// Groups: each client has this many names.
const NAMES: u32 = 1_000;
/// One connection of so many fails.
const FAILURES: u32 = 10;
/// Groups that are handed over at once.
const BATCH: u32 = 50_000;
const ROUNDS: usize = 21;
/// Longest time of an answer, milliseconds.
const ANSWER_MAX: f64 = 50.0;

/// Adds rows for writing and for each kind of question.
pub(crate) fn measure(table: &mut Table, quick: bool) -> anyhow::Result<()> {
    let groups = if quick { 50_000 } else { 1_000_000 };
    eprintln!("database: {groups} groups");
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let path = folder.path().join(FILE);
    let seconds = fill(&path, groups)?;
    let size = std::fs::metadata(&path)?.len();
    table.add(Row {
        what: format!("database: writing {groups} groups, every tenth with a failure"),
        figure: format!(
            "{:.1} µs a group, {:.0} MB",
            seconds * 1e6 / f64::from(groups),
            size as f64 / 1e6
        ),
        reference: String::new(),
        ratio: None,
        goal: None,
    });
    let past = Past::open(&path)?;
    for (what, query) in questions()? {
        ask(table, &format!("groups {what}"), || {
            Ok(past.groups(&query)?.len())
        })?;
        ask(table, &format!("verdicts {what}"), || {
            Ok(past.verdicts(&query)?.len())
        })?;
    }
    Ok(())
}

fn fill(path: &Path, groups: u32) -> anyhow::Result<f64> {
    let verdict: Verdict = serde_json::from_str(VERDICT)?;
    let (mut writer, _) = Writer::open(path)?;
    let acceptances = Acceptances::default();
    let start = Instant::now();
    for number in 0..groups {
        acceptances.record(acceptance(number));
        if number.is_multiple_of(FAILURES) {
            writer.insert(&failure(&verdict, number))?;
        }
        if number % BATCH == BATCH - 1 {
            writer.take(&acceptances)?;
            writer.commit()?;
        }
    }
    writer.take(&acceptances)?;
    writer.commit()?;
    Ok(start.elapsed().as_secs_f64())
}

fn client(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0001 + number / NAMES).into()
}

fn name(number: u32) -> String {
    format!("host-{}.example.net", number % NAMES)
}

fn acceptance(number: u32) -> Acceptance {
    Acceptance {
        tap: "lan0".to_owned(),
        client: client(number),
        app: Some(APP.to_owned()),
        name: name(number),
        intercepted: Intercepted::Yes,
        issuer: Some("CN=Inspection CA".to_owned()),
        time_ns: 1_795_000_000_000_000_000 + u64::from(number) * 1_000_000,
    }
}

fn failure(verdict: &Verdict, number: u32) -> Verdict {
    let mut verdict = verdict.clone();
    verdict.client.ip = client(number);
    verdict.sni = Some(name(number));
    verdict.id = format!("{number:016x}");
    verdict.time += Duration::from_millis(number.into());
    if number.is_multiple_of(FAILURES * 7) {
        verdict.cause = Cause::CaNotTrusted;
    }
    verdict
}

fn questions() -> anyhow::Result<Vec<(&'static str, Query)>> {
    let all = || Query {
        limit: 50,
        ..Query::default()
    };
    let glob = |text| glob::Pattern::new(text);
    Ok(vec![
        ("without a filter", all()),
        (
            "of a client",
            Query {
                clients: vec!["10.0.0.9/32".parse()?],
                ..all()
            },
        ),
        (
            "of a network",
            Query {
                clients: vec!["10.0.2.0/24".parse()?],
                ..all()
            },
        ),
        (
            "of a name",
            Query {
                names: vec![glob("host-70.example.net")?],
                ..all()
            },
        ),
        (
            "of a glob of names",
            Query {
                names: vec![glob("*-77*.net")?],
                ..all()
            },
        ),
        (
            "that never failed, too, of a network",
            Query {
                clients: vec!["10.0.2.0/24".parse()?],
                all: true,
                ..all()
            },
        ),
        (
            "of a cause",
            Query {
                causes: vec![Cause::CaNotTrusted],
                ..all()
            },
        ),
        (
            "of a name that is unknown",
            Query {
                names: vec![glob("none.example")?],
                ..all()
            },
        ),
    ])
}

fn ask(
    table: &mut Table,
    what: &str,
    question: impl Fn() -> anyhow::Result<usize>,
) -> anyhow::Result<()> {
    let mut times = Vec::with_capacity(ROUNDS);
    let mut found = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        found = question()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let [.., slowest] = times.as_slice() else {
        return Ok(());
    };
    let median = times.get(ROUNDS / 2).copied().unwrap_or(*slowest);
    table.add(Row {
        what: format!("database: {what}"),
        figure: format!("{median:.2} ms, at most {slowest:.2}; {found} results"),
        reference: format!("{ANSWER_MAX} ms wanted"),
        ratio: Some(median / ANSWER_MAX),
        goal: Some(Goal::AtMost(1.0)),
    });
    Ok(())
}

const APP: &str = "t13d1516h2_8daaf6152771_02713d6af862";
const VERDICT: &str = r#"{"time":"2026-11-23T08:30:01.123456789Z","tap":"lan0",
    "community_id":"1:LQU9qZlK+B5F3KDmev6m5PMibrg=","client":{"ip":"10.0.1.2","port":40112},
    "server":{"ip":"10.0.2.2","port":443},"vlan":[],"sni":"api.pinned.test","alpn":["h2"],
    "ja4":"t13d1516h2_8daaf6152771_02713d6af862","tls_version":"1.3","cause":"pinning",
    "confidence":0.97,"intercepted":"yes","issuer":"CN=Inspection CA","ended_by":"client",
    "alert":null,"reset":null,"duration_ms":14.2,"pan_os":"policy-deny",
    "evidence":[{"name":"client-alert","detail":"fatal unknown_ca (48)","weight":2.5}],
    "advice":"exclude api.pinned.test from decryption","revises":null,
    "id":"c3d1b0a8e2f45967","revision":0,"supersedes":null}"#;
