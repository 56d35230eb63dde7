//! Verdicts as journal entries, one field for each field of a verdict.
//!
//! Names are the ones of the JSON in capitals behind `TLSWHY_`, nested ones joined by `_`. What is
//! unknown is left out. Lists whose order says something (`TLSWHY_VLAN`, `TLSWHY_ALPN`) are one
//! JSON array, because the journal keeps no order among fields of one name; evidence and a reset's
//! tells are one field each, so that `journalctl TLSWHY_RESET_TELLS=…` finds them.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::fold::{Fold, Repeats};
use super::headline;
use super::native_protocol::Entry;
use super::{Sink, SinkError};
use crate::verdict::{Endpoint, ServerLeg, Verdict, written_confidence, written_milliseconds};

/// Where systemd-journald listens.
pub const DEFAULT_SOCKET: &str = "/run/systemd/journal/socket";

const NAME: &str = "journald";
/// How long a journald that is behind may hold up a verdict; then it is lost and counted.
const PATIENCE: Duration = Duration::from_millis(200);
/// journald drops an entry of more than 1024 fields whole.
const MOST_REPEATED: usize = 400;

/// Sends verdicts to systemd-journald by its native protocol.
pub struct Journald {
    path: PathBuf,
    socket: UnixDatagram,
    entry: Entry,
    stuck: bool,
    fold: Fold,
    folded: u64,
}

impl Journald {
    /// Sends to the journald that listens on `path`, [`DEFAULT_SOCKET`] on an ordinary system.
    ///
    /// # Errors
    /// [`SinkError::JournalMissing`] when none listens there, or what else stands in the way.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SinkError> {
        let path = path.into();
        UnixDatagram::unbound()
            .and_then(|socket| socket.connect(&path))
            .map_err(|source| failure(&path, source))?;
        Self::at(&path)
    }

    /// Sends to the journald that listens on `path`, or will.
    ///
    /// # Errors
    /// [`SinkError::Journal`] when there are no sockets to be had.
    pub fn at(path: &Path) -> Result<Self, SinkError> {
        // The sending socket stays unconnected, so that a restarted journald is found again.
        let prepare = || {
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        let socket = prepare().map_err(|source| failure(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            socket,
            entry: Entry::default(),
            stuck: false,
            fold: Fold::new(Duration::ZERO),
            folded: 0,
        })
    }

    /// Counts repeats of a verdict for `interval` each, instead of writing them.
    #[must_use]
    pub fn folding(self, interval: Duration) -> Self {
        Self {
            fold: Fold::new(interval),
            ..self
        }
    }

    /// Writes how often verdicts came again. What cannot be written now is kept.
    fn write_repeats(&mut self, due: Vec<Repeats>) -> Result<(), SinkError> {
        let mut result = Ok(());
        let mut due = due.into_iter();
        while let Some(repeats) = due.next() {
            let filled = self.fill(&repeats.verdict, Some(&repeats));
            let Err(error) = filled.and_then(|()| self.send()) else {
                self.fold.told(&repeats);
                continue;
            };
            self.fold.keep([repeats]);
            if error.is_temporary() {
                self.fold.keep(due);
                return Err(error);
            }
            // It concerns this one alone, and the others do not wait behind it.
            result = Err(error);
        }
        result
    }

    fn fill(&mut self, verdict: &Verdict, repeats: Option<&Repeats>) -> Result<(), SinkError> {
        self.entry.clear();
        match repeats {
            None => add_journal_fields(&mut self.entry, verdict),
            Some(repeats) => add_repeat_fields(&mut self.entry, repeats),
        }
        add_connection(&mut self.entry, verdict);
        add_judgement(&mut self.entry, verdict).map_err(|error| failure(&self.path, error.into()))
    }

    fn send(&mut self) -> Result<(), SinkError> {
        let sent = self
            .entry
            .send(&self.socket, &self.path)
            .map_err(|e| failure(&self.path, e));
        let stuck = matches!(sent, Err(SinkError::JournalBusy { .. }));
        if stuck != self.stuck {
            // Whoever was waited for once in vain is not waited for again until it takes an
            // entry: the packets behind this verdict do not wait either.
            self.socket
                .set_nonblocking(stuck)
                .map_err(|e| failure(&self.path, e))?;
            self.stuck = stuck;
        }
        sent
    }
}

impl Sink for Journald {
    fn name(&self) -> &'static str {
        NAME
    }

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        let now = Instant::now();
        if self.fold.takes(verdict, now) {
            self.folded += 1;
            return Ok(());
        }
        self.fill(verdict, None)?;
        self.send()?;
        self.fold.written(verdict, now);
        Ok(())
    }

    fn tick(&mut self) -> Result<(), SinkError> {
        let due = self.fold.due(Instant::now());
        self.write_repeats(due)
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        let rest = self.fold.rest();
        self.write_repeats(rest)
    }

    fn folded(&self) -> u64 {
        self.folded
    }

    fn untold(&self) -> u64 {
        self.fold.untold()
    }

    fn take_forgotten(&mut self) -> u64 {
        self.fold.take_forgotten()
    }
}

fn failure(path: &Path, source: io::Error) -> SinkError {
    let socket = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            SinkError::JournalMissing { socket }
        }
        io::ErrorKind::PermissionDenied => SinkError::JournalForbidden { socket },
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => SinkError::JournalBusy { socket },
        _ => SinkError::Journal { socket, source },
    }
}

fn add_journal_fields(entry: &mut Entry, verdict: &Verdict) {
    entry.field("MESSAGE", &headline::message(verdict));
    entry.field("MESSAGE_ID", verdict.cause.message_id());
    entry.field("PRIORITY", verdict.cause.severity().digit());
    entry.field("SYSLOG_IDENTIFIER", "tlswhy");
}

fn add_repeat_fields(entry: &mut Entry, repeats: &Repeats) {
    let verdict = &repeats.verdict;
    entry.field(
        "MESSAGE",
        &headline::repeats(verdict, repeats.count, repeats.first),
    );
    entry.field("MESSAGE_ID", REPEATS_ID);
    entry.field("PRIORITY", verdict.cause.severity().digit());
    entry.field("SYSLOG_IDENTIFIER", "tlswhy");
    entry.field("TLSWHY_REPEATS", &repeats.count.to_string());
    entry.field("TLSWHY_FIRST_TIME", &format!("{:.9}", repeats.first));
    entry.field("TLSWHY_LAST_TIME", &format!("{:.9}", verdict.time));
}

fn add_connection(entry: &mut Entry, verdict: &Verdict) {
    entry.field("TLSWHY_TIME", &format!("{:.9}", verdict.time));
    entry.field("TLSWHY_TAP", &verdict.tap);
    entry.field("TLSWHY_COMMUNITY_ID", &verdict.community_id);
    add_endpoint(
        entry,
        ["TLSWHY_CLIENT_IP", "TLSWHY_CLIENT_PORT"],
        verdict.client,
    );
    add_endpoint(
        entry,
        ["TLSWHY_SERVER_IP", "TLSWHY_SERVER_PORT"],
        verdict.server,
    );
    entry.field("TLSWHY_VLAN", &serde_json::json!(verdict.vlan).to_string());
    add_known(entry, "TLSWHY_SNI", verdict.sni.as_deref());
    if let Some(alpn) = &verdict.alpn {
        entry.field("TLSWHY_ALPN", &serde_json::json!(alpn).to_string());
    }
    add_known(entry, "TLSWHY_JA4", verdict.ja4.as_deref());
    add_known(entry, "TLSWHY_TLS_VERSION", verdict.tls_version.as_deref());
}

fn add_judgement(entry: &mut Entry, verdict: &Verdict) -> serde_json::Result<()> {
    entry.field("TLSWHY_CAUSE", verdict.cause.name());
    entry.field(
        "TLSWHY_CONFIDENCE",
        &written_confidence(verdict.confidence).to_string(),
    );
    entry.field("TLSWHY_INTERCEPTED", verdict.intercepted.name());
    add_known(entry, "TLSWHY_ISSUER", verdict.issuer.as_deref());
    entry.field("TLSWHY_ENDED_BY", verdict.ended_by.name());
    if let Some(alert) = &verdict.alert {
        entry.field("TLSWHY_ALERT_FROM", alert.from.name());
        add_known(
            entry,
            "TLSWHY_ALERT_LEVEL",
            alert.level.map(|level| level.name()),
        );
        add_known(
            entry,
            "TLSWHY_ALERT_CODE",
            alert.code.map(|code| code.to_string()).as_deref(),
        );
        add_known(
            entry,
            "TLSWHY_ALERT_DESCRIPTION",
            alert.description.as_deref(),
        );
        entry.field("TLSWHY_ALERT_ENCRYPTED", yes_no(alert.encrypted));
    }
    if let Some(reset) = &verdict.reset {
        entry.field("TLSWHY_RESET_FROM", reset.from.name());
        entry.field("TLSWHY_RESET_INJECTED", yes_no(reset.injected));
        for tell in reset.tells.iter().take(MOST_REPEATED) {
            entry.field("TLSWHY_RESET_TELLS", tell);
        }
    }
    let duration = written_milliseconds(verdict.duration_ms).map(|ms| ms.to_string());
    add_known(entry, "TLSWHY_DURATION_MS", duration.as_deref());
    add_known(entry, "TLSWHY_PAN_OS", verdict.pan_os.as_deref());
    for evidence in verdict.evidence.iter().take(MOST_REPEATED) {
        entry.field("TLSWHY_EVIDENCE", &serde_json::to_string(evidence)?);
    }
    add_known(entry, "TLSWHY_ADVICE", verdict.advice.as_deref());
    add_known(entry, "TLSWHY_REVISES", verdict.revises.as_deref());
    if let Some(leg) = &verdict.server_leg {
        add_server_leg(entry, leg);
    }
    Ok(())
}

fn add_server_leg(entry: &mut Entry, leg: &ServerLeg) {
    entry.field("TLSWHY_SERVER_LEG_TAP", &leg.tap);
    entry.field("TLSWHY_SERVER_LEG_COMMUNITY_ID", &leg.community_id);
    entry.field("TLSWHY_SERVER_LEG_CLIENT", &leg.client.to_string());
    entry.field("TLSWHY_SERVER_LEG_SERVER", &leg.server.to_string());
    let version = leg.tls_version.as_deref();
    add_known(entry, "TLSWHY_SERVER_LEG_TLS_VERSION", version);
    add_known(entry, "TLSWHY_SERVER_LEG_ISSUER", leg.issuer.as_deref());
}

fn add_endpoint(entry: &mut Entry, [ip, port]: [&'static str; 2], endpoint: Endpoint) {
    entry.field(ip, &endpoint.ip.to_string());
    entry.field(port, &endpoint.port.to_string());
}

fn add_known(entry: &mut Entry, name: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        entry.field(name, value);
    }
}

/// A flag as JSON writes it.
const fn yes_no(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

/// `MESSAGE_ID` of an entry that says how often a verdict came again.
const REPEATS_ID: &str = "3c5f6b0a1f5c4b6e9d0e6a4c2f7b81d5";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::verdict::tests::{injected_reset, pinning};

    fn received(socket: &UnixDatagram) -> String {
        let mut datagram = vec![0; 64 << 10];
        let length = socket.recv(&mut datagram).unwrap();
        datagram.truncate(length);
        String::from_utf8(datagram).unwrap()
    }

    fn redacted(entry: &str) -> String {
        entry
            .lines()
            .filter(|line| !line.starts_with("MESSAGE_ID="))
            .fold(String::new(), |all, line| all + line + "\n")
    }

    #[test]
    fn every_field_of_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        let journal = UnixDatagram::bind(dir.path().join("socket")).unwrap();
        let mut sink = Journald::open(dir.path().join("socket")).unwrap();
        sink.verdict(&pinning()).unwrap();
        insta::assert_snapshot!("pinning", redacted(&received(&journal)));
        sink.verdict(&injected_reset()).unwrap();
        insta::assert_snapshot!("injected_reset", redacted(&received(&journal)));
    }

    #[test]
    fn no_field_of_the_json_is_missing() {
        let mut verdict = injected_reset();
        verdict.alert = pinning().alert;
        verdict.evidence = pinning().evidence;
        for field in [&mut verdict.sni, &mut verdict.ja4, &mut verdict.tls_version] {
            *field = Some("x".into());
        }
        for field in [
            &mut verdict.issuer,
            &mut verdict.advice,
            &mut verdict.revises,
        ] {
            *field = Some("x".into());
        }
        verdict.alpn = Some(vec![]);
        verdict.server_leg = Some(ServerLeg {
            tap: "wan0".into(),
            community_id: "x".into(),
            client: verdict.client,
            server: verdict.server,
            tls_version: Some("1.3".into()),
            issuer: Some("x".into()),
        });
        let dir = tempfile::tempdir().unwrap();
        let journal = UnixDatagram::bind(dir.path().join("socket")).unwrap();
        Journald::open(dir.path().join("socket"))
            .unwrap()
            .verdict(&verdict)
            .unwrap();
        let entry = received(&journal);
        let names: HashSet<_> = entry
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name)
            .collect();

        let json = serde_json::to_value(&verdict).unwrap();
        for (name, value) in json.as_object().unwrap() {
            let name = format!("TLSWHY_{}", name.to_uppercase());
            match value.as_object() {
                Some(nested) => nested.keys().for_each(|inner| {
                    let name = format!("{name}_{}", inner.to_uppercase());
                    assert!(names.contains(name.as_str()), "{name}");
                }),
                None => assert!(names.contains(name.as_str()), "{name}"),
            }
        }
    }

    #[test]
    fn a_journald_that_is_not_there_is_said_in_one_line() {
        let error = Journald::open("/nonexistent/socket").err().unwrap();
        assert_eq!(
            error.to_string(),
            "journald is not reachable at /nonexistent/socket: start systemd-journald or use \
             --output text"
        );
    }

    #[test]
    fn a_journald_that_goes_away_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let mut sink = Journald::open(&path).unwrap();
        drop(journal);
        assert_eq!(
            sink.verdict(&pinning()).unwrap_err().kind(),
            "journald-missing"
        );
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            sink.verdict(&pinning()).unwrap_err().kind(),
            "journald-missing"
        );
        let journal = UnixDatagram::bind(&path).unwrap();
        sink.verdict(&pinning()).unwrap();
        assert!(received(&journal).contains("TLSWHY_CAUSE=pinning"));
    }

    #[test]
    fn a_journald_that_is_stuck_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let mut sink = Journald::open(&path).unwrap();
        let mut taken = 0;
        let error = loop {
            match sink.verdict(&pinning()) {
                Ok(()) => taken += 1,
                Err(error) => break error,
            }
            assert!(taken < 1 << 20, "a queue that nobody reads never fills");
        };
        assert_eq!(error.kind(), "journald-busy");
        for _ in 0..taken {
            received(&journal);
        }
        sink.verdict(&pinning()).unwrap();
        assert!(!sink.stuck);
    }
}

#[cfg(test)]
mod catalog_tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::outlet::message_kind::MESSAGE_IDS;
    use crate::verdict::Cause;

    /// The catalog explains every message, and no other.
    #[test]
    fn every_message_is_in_the_catalog() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/tlswhy.catalog");
        let catalog = std::fs::read_to_string(path).unwrap();
        let there: BTreeSet<&str> = catalog
            .lines()
            .filter_map(|line| line.strip_prefix("-- "))
            .collect();
        let causes = Cause::ALL
            .iter()
            .filter(|cause| **cause != Cause::Established);
        let ours: BTreeSet<&str> = causes
            .map(|cause| cause.message_id())
            .chain([REPEATS_ID])
            .chain(MESSAGE_IDS.iter().map(|(_, id)| *id))
            .collect();
        assert_eq!(there, ours);
    }
}
