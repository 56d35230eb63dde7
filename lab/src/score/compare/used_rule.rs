//! The rule of "A Comparative Analysis of Certificate Pinning in Android & iOS" (IMC 2022): a
//! connection is *used* if its client sent application data; a name is pinned if no connection to
//! it was ever used and the client closed.

use std::collections::HashSet;

use super::tshark::{Connection, Dissected};
use crate::labels::Cause;
use crate::labels::Folder;
use crate::score::cases::Case;

/// Length of a TLS 1.3 alert: level, description, content type and an AEAD tag of 16 bytes.
const ALERT_LENGTH: u32 = 19;

/// Connections whose name is pinned, as the rule has it.
#[derive(Debug, Default)]
pub struct Pinned(HashSet<(String, u64)>);

/// Applies the rule within each capture: the authors look at one app at a time.
#[must_use]
pub fn pinned(folder: &Folder, dissected: &Dissected) -> Pinned {
    let mut pinned = Pinned::default();
    for capture in &folder.captures {
        let Some(connections) = dissected.get(&capture.file) else {
            continue;
        };
        let used: HashSet<&str> = connections
            .values()
            .filter(|one| is_used(one))
            .map(|one| one.name.as_str())
            .collect();
        let failed = connections
            .iter()
            .filter(|(_, one)| one.client_closed && !used.contains(one.name.as_str()));
        pinned
            .0
            .extend(failed.map(|(stream, _)| (capture.file.clone(), *stream)));
    }
    pinned
}

impl Pinned {
    /// Returns the rule's cause for a labelled capture or connection, if any.
    #[must_use]
    pub fn says(&self, case: &Case) -> Vec<Cause> {
        let about = |file: &str, stream: u64| {
            file == case.file && case.stream.is_none_or(|of| of == stream)
        };
        let any = self.0.iter().any(|(file, stream)| about(file, *stream));
        Vec::from_iter(any.then_some(Cause::Pinning))
    }
}

/// Whether the connection is used: in TLS 1.2, any application data; in TLS 1.3, where a Finished
/// looks the same, more than two such records, or two of which the second isn't as long as an
/// alert.
fn is_used(connection: &Connection) -> bool {
    match connection.client_data.as_slice() {
        data if !connection.is_tls13 => !data.is_empty(),
        [] | [_] => false,
        [_, second] => *second != ALERT_LENGTH,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(is_tls13: bool, client_data: &[u32]) -> Connection {
        Connection {
            is_tls13,
            client_data: client_data.to_vec(),
            ..Connection::default()
        }
    }

    #[test]
    fn use_is_told_by_the_clients_data() {
        assert!(is_used(&connection(false, &[100])));
        assert!(!is_used(&connection(false, &[])));
        assert!(!is_used(&connection(true, &[69])));
        assert!(!is_used(&connection(true, &[69, 19])));
        assert!(is_used(&connection(true, &[69, 100])));
        assert!(is_used(&connection(true, &[69, 100, 19])));
    }
}
