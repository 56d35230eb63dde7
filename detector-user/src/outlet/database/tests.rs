use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::outlet::sink::{Sink as _, SinkError};
use crate::verdict::tests::{injected_reset, pinning};
use crate::verdict::{Cause, Intercepted, Verdict};

const ANY: Retention = Retention {
    age: Duration::from_secs(365 * 86_400 * 100),
    bytes: 1 << 30,
};

fn revised(mut verdict: Verdict, cause: Cause, revision: u32) -> Verdict {
    verdict.cause = cause;
    verdict.set_revision(revision);
    verdict
}

fn first() -> Verdict {
    revised(pinning(), Cause::CertificateRejected, 0)
}

fn all() -> Query {
    Query {
        all: true,
        limit: 100,
        ..Query::default()
    }
}

fn current() -> Query {
    Query {
        limit: 100,
        ..Query::default()
    }
}

/// A past that has these verdicts.
pub(crate) fn past(verdicts: &[Verdict]) -> Past {
    let mut writer = Writer::in_memory().unwrap();
    for verdict in verdicts {
        writer.insert(verdict).unwrap();
    }
    writer.commit().unwrap();
    Past::of(writer)
}

/// A past of a group that failed and later worked, and of which the verdicts are too old.
pub(crate) fn past_without_verdicts() -> Past {
    let mut writer = Writer::in_memory().unwrap();
    writer.insert(&pinning()).unwrap();
    let ns = |time: Timestamp| i64::try_from(time.as_nanosecond()).unwrap();
    let later_ns = ns(pinning().time + SignedDuration::from_hours(48));
    let acceptances = Acceptances::default();
    acceptances.record(Acceptance {
        time_ns: later_ns.unsigned_abs(),
        issuer: pinning().issuer,
        ..acceptance("api.pinned.test")
    });
    writer.take(&acceptances).unwrap();
    let day = Retention {
        age: Duration::from_secs(86_400),
        ..ANY
    };
    writer.remove_old(day, later_ns).unwrap();
    Past::of(writer)
}

fn causes(group: &Group) -> Vec<(Cause, u64)> {
    group
        .causes
        .iter()
        .map(|it| (it.cause, it.failed))
        .collect()
}

fn acceptance(name: &str) -> Acceptance {
    Acceptance {
        client: [10, 0, 1, 2].into(),
        app: pinning().ja4,
        name: name.to_owned(),
        intercepted: Intercepted::Yes,
        issuer: Some("CN=Inspection CA".to_owned()),
        tap: pinning().tap,
        time_ns: 1_000,
    }
}

#[test]
fn a_verdict_is_read_as_it_was_written() {
    let mut verdict = first();
    let rung = crate::verdict::Rung {
        at_us: 7,
        from: crate::verdict::Party::Client,
        what: "ClientHello, 512 bytes".to_owned(),
        decides: true,
    };
    verdict.ladder = std::sync::Arc::new(crate::verdict::Ladder(vec![rung]));
    let past = past(std::slice::from_ref(&verdict));
    let read = past.verdicts(&current()).unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].verdict, verdict);
    assert_eq!(past.verdict(&verdict.id).unwrap().unwrap().verdict, verdict);
    let same = past.verdicts_of_connection(&verdict.community_id).unwrap();
    assert_eq!(same.len(), 1);
}

#[test]
fn a_verdict_counts_once_however_often_it_comes_and_is_revised() {
    let second = revised(pinning(), Cause::Pinning, 1);
    let past = past(&[first(), first(), second.clone(), second.clone()]);
    let groups = past.groups(&current()).unwrap();
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].failed, 1);
    assert_eq!(causes(&groups[0]), [(Cause::Pinning, 1)]);
    assert_eq!(groups[0].causes[0].verdict, second.id);
    assert_eq!(past.verdicts(&current()).unwrap().len(), 1);
    let both = past.verdicts(&all()).unwrap();
    assert_eq!(both.len(), 2);
    assert_eq!(both[0].superseded_by, Some(second.id));
}

#[test]
fn a_verdict_that_moves_to_another_group_leaves_no_empty_one() {
    let unknown = Verdict {
        intercepted: Intercepted::Unknown,
        ..first()
    };
    let past = past(&[unknown, revised(pinning(), Cause::Pinning, 1)]);
    let groups = past.groups(&all()).unwrap();
    let numbers: Vec<_> = groups
        .iter()
        .map(|it| (it.intercepted, it.failed))
        .collect();
    assert_eq!(numbers, [(Intercepted::Yes, 1)]);
}

#[test]
fn a_cause_is_shown_by_a_verdict_that_stands() {
    let other = |revision| {
        let mut verdict = first();
        verdict.client.port += 1;
        verdict.time += SignedDuration::from_secs(1);
        verdict.set_revision(revision);
        verdict
    };
    let replacement = revised(other(1), Cause::Pinning, 1);
    let past = past(&[first(), other(0), replacement.clone()]);
    let group = past.groups(&current()).unwrap().remove(0);
    let shown: Vec<_> = group.causes.iter().map(|it| &it.verdict).collect();
    assert_eq!(shown, [&replacement.id, &first().id]);
}

#[test]
fn a_number_is_given_once() {
    let mut writer = Writer::in_memory().unwrap();
    writer.insert(&first()).unwrap();
    let none = Retention {
        age: Duration::ZERO,
        ..ANY
    };
    writer.remove_old(none, i64::MAX).unwrap();
    writer
        .insert(&revised(injected_reset(), Cause::InjectedReset, 0))
        .unwrap();
    writer.commit().unwrap();
    let past = Past::of(writer);
    assert_eq!(past.verdicts_after(1, &current()).unwrap().len(), 1);
}

#[test]
fn connections_that_worked_stand_beside_those_that_failed() {
    let mut writer = Writer::in_memory().unwrap();
    let acceptances = Acceptances::default();
    acceptances.record(acceptance("works.example"));
    acceptances.record(acceptance("WORKS.example"));
    writer.insert(&first()).unwrap();
    writer.take(&acceptances).unwrap();
    writer.take(&acceptances).unwrap();
    writer.commit().unwrap();
    let past = Past::of(writer);
    let groups = past.groups(&all()).unwrap();
    let numbers: Vec<_> = groups.iter().map(|it| (it.failed, it.worked)).collect();
    assert_eq!(numbers, [(1, 0), (0, 2)]);
    assert_eq!(past.groups(&current()).unwrap().len(), 1);
}

#[test]
fn filters_select() {
    let mut other = revised(injected_reset(), Cause::InjectedReset, 0);
    other.client.ip = "2001:db8::7".parse::<IpAddr>().unwrap();
    other.sni = Some("Other.Example".to_owned());
    other.time = first().time + SignedDuration::from_hours(1);
    other.confidence = 0.9;
    let past = past(&[first(), other.clone()]);
    let name = |name: &str| glob::Pattern::new(name).unwrap();
    let queries = [
        Query {
            since: Some(other.time),
            ..current()
        },
        Query {
            clients: vec!["2001:db8::/64".parse().unwrap()],
            ..current()
        },
        Query {
            names: vec![name("*.EXAMPLE")],
            ..current()
        },
        Query {
            names: vec![name("[!a-n]*r.example")],
            ..current()
        },
        Query {
            causes: vec![Cause::InjectedReset],
            ..current()
        },
    ];
    for query in queries {
        let verdicts = past.verdicts(&query).unwrap();
        assert_eq!(verdicts.len(), 1, "{query:?}");
        assert_eq!(verdicts[0].verdict.id, other.id, "{query:?}");
        let groups = past.groups(&query).unwrap();
        assert_eq!(groups.len(), 1, "{query:?}");
        assert_eq!(groups[0].client, other.client.ip);
    }
    let none = Query {
        until: Some(Timestamp::UNIX_EPOCH),
        ..current()
    };
    assert_eq!(past.verdicts(&none).unwrap(), []);
    assert_eq!(past.groups(&none).unwrap(), []);
    let one = Query {
        limit: 1,
        ..current()
    };
    assert_eq!(past.verdicts(&one).unwrap()[0].verdict.id, other.id);
}

#[test]
fn a_question_may_have_thousands_of_values() {
    let past = past(&[first()]);
    let mut query = current();
    let name = |number| glob::Pattern::new(&format!("{number}.test")).unwrap();
    query.names = (0..5_000).map(name).collect();
    assert_eq!(past.groups(&query).unwrap(), []);
    query.names.push(glob::Pattern::new("api.*").unwrap());
    assert_eq!(past.groups(&query).unwrap().len(), 1);
    assert_eq!(past.verdicts(&query).unwrap().len(), 1);
}

#[test]
fn a_reader_sees_what_the_writer_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    assert!(matches!(
        Past::open(&path),
        Err(DatabaseError::Missing { .. })
    ));
    let mut sink = DatabaseSink::open(&path, ANY, Acceptances::default()).unwrap();
    let past = Past::open(&path).unwrap();
    sink.write(&first()).unwrap();
    sink.flush().unwrap();
    assert_eq!(past.verdicts(&current()).unwrap().len(), 1);
    let last = past.last_number().unwrap();
    sink.write(&revised(pinning(), Cause::Pinning, 1)).unwrap();
    sink.flush().unwrap();
    assert_eq!(past.verdicts_after(last, &current()).unwrap().len(), 1);
}

#[test]
fn others_may_not_read_who_visits_which_server() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut sink = DatabaseSink::open(&path, ANY, Acceptances::default()).unwrap();
    sink.write(&first()).unwrap();
    sink.flush().unwrap();
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file:?}");
    }
}

#[test]
fn verdicts_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    for _ in 0..2 {
        let mut sink = DatabaseSink::open(&path, ANY, Acceptances::default()).unwrap();
        sink.write(&first()).unwrap();
        sink.flush().unwrap();
    }
    let groups = Past::open(&path).unwrap().groups(&current()).unwrap();
    assert_eq!(groups[0].failed, 1);
}

fn damaged_files(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap();
    let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".damaged-")).count()
}

#[test]
fn a_file_that_is_no_database_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    fs::write(
        &path,
        "not a database, and long enough to be one".repeat(100),
    )
    .unwrap();
    let mut sink = DatabaseSink::open(&path, ANY, Acceptances::default()).unwrap();
    sink.write(&first()).unwrap();
    sink.flush().unwrap();
    assert!(matches!(
        sink.tick(),
        Err(SinkError::DatabaseDamaged { .. })
    ));
    assert_eq!(damaged_files(folder.path()), 1);
    let past = Past::open(&path).unwrap();
    assert_eq!(past.verdicts(&current()).unwrap().len(), 1);
}

#[test]
fn a_database_that_is_damaged_while_it_is_written_loses_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    {
        let mut sink = DatabaseSink::open(&path, ANY, Acceptances::default()).unwrap();
        sink.write(&first()).unwrap();
        sink.flush().unwrap();
    }
    // The first page stays as it is: the file can be opened.
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    // A command that reads says what helps.
    let read = Past::open(&path).and_then(|past| past.verdicts(&current()));
    let said = read.unwrap_err().to_string();
    assert!(
        said.ends_with("sets a damaged database aside and begins a new one"),
        "{said}"
    );
    let mut sink = DatabaseSink::open(&path, ANY, Acceptances::default()).unwrap();
    sink.write(&first()).unwrap();
    sink.flush().unwrap();
    assert_eq!(damaged_files(folder.path()), 1);
    let past = Past::open(&path).unwrap();
    assert_eq!(past.verdicts(&current()).unwrap().len(), 1);
}

/// SQLite repeats text of the file in its message.
#[test]
fn a_damaged_file_moves_no_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    drop(Writer::open(&path).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    let table = b"CREATE TABLE causes";
    let at = bytes.windows(table.len()).position(|it| it == table);
    let at = at.unwrap() + table.len();
    bytes[at..at + 5].copy_from_slice(b" \x1b[2J");
    fs::write(&path, bytes).unwrap();
    let read = Past::open(&path).and_then(|past| past.verdicts(&current()));
    // With its sources, as commands show it.
    let said = format!("{:#}", anyhow::Error::from(read.unwrap_err()));
    assert!(
        said.contains("malformed") && !said.contains('\u{1b}'),
        "{said:?}"
    );
}

#[test]
fn a_database_of_a_later_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    drop(Writer::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    for error in [Writer::open(&path).map(drop), Past::open(&path).map(drop)] {
        assert!(matches!(
            error,
            Err(DatabaseError::Newer { version: 99, .. })
        ));
    }
    assert_eq!(damaged_files(folder.path()), 0);
}

#[test]
fn the_old_is_removed_and_the_new_stays() {
    let mut writer = Writer::in_memory().unwrap();
    let mut old = first();
    old.time -= SignedDuration::from_hours(48);
    old.client.port += 1;
    old.set_revision(0);
    writer.insert(&old).unwrap();
    writer.insert(&first()).unwrap();
    let now_ns = i64::try_from(first().time.as_nanosecond()).unwrap();
    let day = Retention {
        age: Duration::from_secs(86_400),
        ..ANY
    };
    assert!(!writer.remove_old(day, now_ns).unwrap());
    let past = Past::of(writer);
    let left = past.verdicts(&current()).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].verdict.id, first().id);
}

#[test]
fn a_database_that_is_too_large_shrinks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let (mut writer, _) = Writer::open(&path).unwrap();
    for number in 0..3_000_u16 {
        let mut verdict = first();
        verdict.client.port = number;
        verdict.time += SignedDuration::from_secs(number.into());
        verdict.set_revision(0);
        writer.insert(&verdict).unwrap();
    }
    writer.commit().unwrap();
    let small = Retention {
        bytes: 1 << 20,
        ..ANY
    };
    let size = || fs::metadata(&path).unwrap().len();
    while writer.remove_old(small, 0).unwrap() {}
    drop(writer);
    assert!(size() <= 1 << 20, "{}", size());
    let past = Past::open(&path).unwrap();
    let latest = past.verdicts(&current()).unwrap();
    assert_eq!(latest.last().unwrap().verdict.client.port, 2_999);
}

#[test]
fn more_groups_than_fit_are_counted_as_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let acceptances = Acceptances::default();
    let mut sink = DatabaseSink::open(&path, ANY, acceptances.clone()).unwrap();
    for number in 0..65_540 {
        acceptances.record(acceptance(&format!("{number}.example")));
    }
    assert!(matches!(
        sink.tick(),
        Err(SinkError::AcceptancesDropped { dropped: 4 })
    ));
    acceptances.record(acceptance("one.example"));
    sink.tick().unwrap();
    let past = Past::open(&path).unwrap();
    let query = Query {
        names: vec![glob::Pattern::new("one.example").unwrap()],
        ..all()
    };
    assert_eq!(past.groups(&query).unwrap().len(), 1);
}

/// The plan of the question for a connection's ends, in a database that an earlier agent made.
#[test]
fn a_connection_is_found_without_reading_all_of_its_clients() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    drop(Writer::open(&path).unwrap());
    let plan = |connection: &rusqlite::Connection| -> String {
        let sql = "EXPLAIN QUERY PLAN SELECT number FROM verdicts WHERE client = x'00' AND client_port = 1 \
                   AND server = x'00' AND server_port = 2 ORDER BY time_ns, number";
        connection.query_row(sql, [], |row| row.get(3)).unwrap()
    };
    let earlier = rusqlite::Connection::open(&path).unwrap();
    earlier
        .execute_batch("DROP INDEX verdicts_by_ends")
        .unwrap();
    assert!(!plan(&earlier).contains("verdicts_by_ends"));
    drop(earlier);
    drop(Writer::open(&path).unwrap());
    let found = plan(&rusqlite::Connection::open(&path).unwrap());
    assert!(
        found.contains("verdicts_by_ends (client=? AND client_port=?"),
        "{found}"
    );
}

/// The numbers of taps: failed, all, and the same of those that were intercepted.
fn taps(past: &Past) -> Vec<(String, [u64; 4])> {
    let rates = past.rates_of_taps(&current()).unwrap().into_iter();
    let numbers = |it: &Rated| {
        let Rated {
            rate, intercepted, ..
        } = it;
        [rate.failed, rate.all, intercepted.failed, intercepted.all]
    };
    rates.map(|it| (it.of.clone(), numbers(&it))).collect()
}

#[test]
fn connections_are_counted_at_their_taps() {
    let mut writer = Writer::in_memory().unwrap();
    let acceptances = Acceptances::default();
    acceptances.record(acceptance("api.pinned.test"));
    for intercepted in [Intercepted::Yes, Intercepted::No] {
        acceptances.record(Acceptance {
            tap: "wan0".to_owned(),
            intercepted,
            ..acceptance("other.test")
        });
    }
    writer.insert(&first()).unwrap();
    writer.take(&acceptances).unwrap();
    // Revised into another group.
    let mut later = revised(pinning(), Cause::Pinning, 1);
    later.intercepted = Intercepted::No;
    writer.insert(&later).unwrap();
    writer.commit().unwrap();
    let past = Past::of(writer);
    assert_eq!(
        taps(&past),
        [
            (pinning().tap, [1, 2, 0, 1]),
            ("wan0".to_owned(), [0, 2, 0, 1])
        ]
    );
    let totals = past.totals(&all()).unwrap();
    assert_eq!((totals.failed, totals.worked), (1, 3));
}

/// As the last version without taps left it.
#[test]
fn a_database_from_before_taps_were_counted_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let (mut writer, _) = Writer::open(&path).unwrap();
    let mut gone_on = first();
    gone_on.client.port += 1;
    gone_on.community_id = "1:other".to_owned();
    gone_on.set_revision(0);
    writer.insert(&first()).unwrap();
    writer.insert(&gone_on).unwrap();
    writer.commit().unwrap();
    drop(writer);
    let earlier = rusqlite::Connection::open(&path).unwrap();
    earlier.execute_batch("DROP TABLE taps").unwrap();
    drop(earlier);
    let past = Past::open(&path).unwrap();
    assert_eq!(taps(&past), []);
    assert_eq!(past.totals(&all()).unwrap().failed, 2);
    let (mut writer, aside) = Writer::open(&path).unwrap();
    assert_eq!(aside, None);
    writer
        .insert(&revised(pinning(), Cause::Pinning, 1))
        .unwrap();
    writer.commit().unwrap();
    assert_eq!(taps(&past), [(pinning().tap, [1, 1, 1, 1])]);
    assert_eq!(past.totals(&all()).unwrap().failed, 2);
}
