//! The database, asked for lists.

use jiff::Timestamp;

use super::host::Host;
use super::reasons::RefusingClient;
use super::selection::Selection;
use super::sighting::Sighting;
use super::standing::Known;
use crate::outlet::database::{DatabaseError, Past};
use crate::verdict::Cause;

/// Records the groups that failed for a cause.
///
/// # Errors
/// [`DatabaseError`].
pub fn record_past(
    past: &Past,
    cause: Cause,
    selection: &mut Selection,
) -> Result<(), DatabaseError> {
    for group in past.failing(cause, None)? {
        for sighting in Sighting::of_group(group, cause) {
            selection.record(sighting, cause);
        }
    }
    Ok(())
}

/// Returns the clients that refuse the interceptor everywhere.
///
/// # Errors
/// [`DatabaseError`].
pub fn refusing_clients(
    past: &Past,
    min_confidence: f64,
    since: Option<Timestamp>,
) -> Result<Vec<RefusingClient>, DatabaseError> {
    let clients = past.refusing_clients(min_confidence, since)?.into_iter();
    let clients = clients.map(|(client, names, failed)| RefusingClient {
        client,
        names,
        failed,
    });
    Ok(clients.collect())
}

/// The facts of a database that lists depend on. Where it cannot be read, it knows nothing, so that entries stay.
#[derive(Clone, Copy)]
pub struct DatabaseFacts<'p>(pub &'p Past);

impl Known for DatabaseFacts<'_> {
    fn has_verdict(&self, id: &str) -> bool {
        self.0.has_verdict(id).unwrap_or(false)
    }

    fn intercepted(&self, host: &Host) -> (u64, u64) {
        self.0.intercepted(&host.to_string()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlet::database::tests::past;
    use crate::outlet::exclusions::{Criteria, Patterns};
    use crate::verdict::Verdict;
    use crate::verdict::tests::pinning;

    fn verdict(client: u8, port: u16, name: &str, server: u8) -> Verdict {
        let mut verdict = pinning();
        verdict.client.ip = [10, 0, 1, client].into();
        verdict.client.port = port;
        verdict.sni = Some(name.to_owned());
        verdict.server.ip = [10, 0, 2, server].into();
        verdict.community_id = format!("1:{client}-{port}");
        verdict.set_revision(0);
        verdict
    }

    fn refusal(client: u8, port: u16, name: &str) -> Verdict {
        let mut verdict = verdict(client, port, name, 1);
        verdict.cause = Cause::CaNotTrusted;
        verdict.set_revision(0);
        verdict
    }

    #[test]
    fn a_list_is_made_of_groups_with_their_addresses() {
        let past = past(&[
            verdict(2, 1, "api.pinned.example", 1),
            verdict(2, 2, "api.pinned.example", 2),
            verdict(3, 1, "api.pinned.example", 1),
            verdict(2, 3, "evil.example\n.com", 1),
        ]);
        let mut selection = Selection::default();
        record_past(&past, Cause::Pinning, &mut selection).unwrap();
        let selected = selection.select(&Criteria {
            cause: Cause::Pinning,
            min_confidence: 0.8,
            min_connections: 3,
            min_clients: 2,
            min_gateways: 0,
            always: Patterns::default(),
            never: Patterns::default(),
            proxies: vec![],
            since: None,
            max: 10,
        });
        let [entry] = selected.entries.as_slice() else {
            panic!("{selected:?}");
        };
        assert_eq!(
            entry.reason(Cause::Pinning),
            "pinning: 3 connections of 2 clients"
        );
        let servers: Vec<_> = entry.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.2.1:443", "10.0.2.2:443"]);
        assert!(DatabaseFacts(&past).has_verdict(&entry.verdict));
        assert!(
            selected.notices[0].contains("\\u{a}"),
            "{:?}",
            selected.notices
        );
    }

    #[test]
    fn a_client_is_proposed_that_refuses_several_names_and_accepts_none() {
        let past = past(&[
            refusal(7, 1, "a.example.com"),
            refusal(7, 2, "b.example.com"),
            refusal(8, 1, "a.example.com"),
        ]);
        let clients = refusing_clients(&past, 0.5, None).unwrap();
        let expected = RefusingClient {
            client: [10, 0, 1, 7].into(),
            names: 2,
            failed: 2,
        };
        assert_eq!(clients, [expected]);
    }
}
