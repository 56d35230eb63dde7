//! Connections as tshark dissects them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::labels::{Capture, Folder};
use xtask::setup::is_there;

/// The captures' connections, by file and Wireshark's number.
pub type Dissected = HashMap<String, BTreeMap<u64, Connection>>;

/// One connection with TLS in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The ClientHello's sender.
    pub client: Option<String>,
    /// Its server name, or else where it went.
    pub name: String,
    /// The server chose TLS 1.3.
    pub is_tls13: bool,
    /// Alerts in the clear: whether the client sent it, its code.
    pub alerts: Vec<(bool, u8)>,
    /// Lengths of the client's records of type application data.
    pub client_data: Vec<u32>,
    /// The client sent FIN or RST.
    pub client_closed: bool,
}

const FIELDS: [&str; 15] = [
    "tcp.stream",
    "ip.src",
    "ipv6.src",
    "tcp.srcport",
    "ip.dst",
    "ipv6.dst",
    "tcp.dstport",
    "tls.handshake.type",
    "tls.alert_message.desc",
    "tls.record.content_type",
    "tls.record.opaque_type",
    "tls.record.length",
    "tls.handshake.extensions.supported_version",
    "tls.handshake.extensions_server_name",
    "tcp.flags",
];

const FIN_OR_RST: u32 = 0x01 | 0x04;

/// Dissects every capture of a folder, as many at a time as there are processors.
///
/// # Errors
/// If tshark is not there or fails on other than a cut capture.
pub fn dissect_all(folder: &Folder) -> anyhow::Result<Dissected> {
    if !is_there("tshark") {
        bail!("--compare needs tshark: run `apt-get install tshark`");
    }
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let share = folder.captures.len().div_ceil(workers).max(1);
    let dissect_some = |captures: &[Capture]| -> anyhow::Result<Dissected> {
        captures
            .iter()
            .map(|one| Ok((one.file.clone(), dissect(&one.path)?)))
            .collect()
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = folder
            .captures
            .chunks(share)
            .map(|captures| scope.spawn(move || dissect_some(captures)))
            .collect();
        let mut all = Dissected::new();
        for worker in workers {
            let Ok(dissected) = worker.join() else {
                bail!("dissecting stopped");
            };
            all.extend(dissected?);
        }
        Ok(all)
    })
}

fn dissect(path: &Path) -> anyhow::Result<BTreeMap<u64, Connection>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(path);
    command.args(["-Y", "tls || tcp.flags.fin == 1 || tcp.flags.reset == 1"]);
    command.args(["-T", "fields", "-E", "occurrence=a"]);
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .context("cannot run tshark")?;
    // It exits with 2 where a capture is cut, having written all before the cut.
    if !matches!(output.status.code(), Some(0 | 2)) {
        bail!(
            "tshark failed on {}: {}",
            path.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut connections = BTreeMap::new();
    for line in text.lines() {
        take_in(line, &mut connections);
    }
    connections.retain(|_, connection: &mut Connection| connection.client.is_some());
    Ok(connections)
}

fn take_in(line: &str, connections: &mut BTreeMap<u64, Connection>) {
    let cells: Vec<&str> = line.split('\t').collect();
    let cell = |field: &str| {
        let index = FIELDS.iter().position(|one| *one == field);
        index
            .and_then(|index| cells.get(index))
            .copied()
            .unwrap_or_default()
    };
    let Ok(stream) = cell("tcp.stream").parse() else {
        return;
    };
    let connection: &mut Connection = connections.entry(stream).or_default();
    let end =
        |ip: &str, ipv6: &str, port: &str| format!("{}{} {}", cell(ip), cell(ipv6), cell(port));
    let source = end("ip.src", "ipv6.src", "tcp.srcport");
    let handshakes: Vec<u32> = numbers(cell("tls.handshake.type")).collect();
    if handshakes.contains(&1) && connection.client.is_none() {
        connection.client = Some(source.clone());
        let name = cell("tls.handshake.extensions_server_name");
        connection.name = if name.is_empty() {
            end("ip.dst", "ipv6.dst", "tcp.dstport")
        } else {
            name.to_owned()
        };
    }
    let from_client = connection.client.as_ref() == Some(&source);
    if handshakes.contains(&2) && !from_client {
        let versions = cell("tls.handshake.extensions.supported_version");
        connection.is_tls13 |= numbers(versions).any(|version| version == 0x0304);
    }
    let alerts = numbers(cell("tls.alert_message.desc"));
    let codes = alerts.filter_map(|code| u8::try_from(code).ok());
    connection
        .alerts
        .extend(codes.map(|code| (from_client, code)));
    if from_client {
        connection.client_data.extend(application_data(
            cell("tls.record.content_type"),
            cell("tls.record.opaque_type"),
            cell("tls.record.length"),
        ));
        let flags = numbers(cell("tcp.flags")).next().unwrap_or_default();
        connection.client_closed |= flags & FIN_OR_RST != 0;
    }
}

/// Lengths of the records of type 23. Types in the clear have another field than those that
/// TLS 1.3 hides; in a segment the former come first, as keys only ever get stronger.
fn application_data(types: &str, opaque: &str, lengths: &str) -> Vec<u32> {
    let types = numbers(types).chain(numbers(opaque));
    let records = types.zip(numbers(lengths));
    let data = records.filter(|(kind, _)| *kind == 23);
    data.map(|(_, length)| length).collect()
}

fn numbers(cell: &str) -> impl Iterator<Item = u32> {
    cell.split(',').filter_map(|word| {
        let word = word.trim();
        word.strip_prefix("0x").map_or_else(
            || word.parse().ok(),
            |digits| u32::from_str_radix(digits, 16).ok(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask::root;

    #[test]
    fn types_that_tls13_hides_come_after_those_in_the_clear() {
        assert_eq!(application_data("20", "23", "1,69"), [69]);
        assert_eq!(
            application_data("22,20,22", "", "37,1,40"),
            Vec::<u32>::new()
        );
        assert_eq!(application_data("", "23,23", "69,19"), [69, 19]);
        assert_eq!(application_data("23", "", "108"), [108]);
    }

    #[test]
    fn a_capture_is_dissected() {
        if !is_there("tshark") {
            eprintln!("tshark is not there: nothing to test");
            return;
        }
        let connections = dissect(&root().join("tests/captures/clients.pcap")).unwrap();
        assert_eq!(connections.len(), 10);
        assert_eq!(connections[&0].alerts, [(true, 48)]);
        assert_eq!(connections[&6].alerts, [(false, 40)]);
        assert!(!connections[&0].is_tls13 && connections[&3].is_tls13);
        assert_eq!(connections[&5].client_data, [69, 19]);
        assert_eq!(connections[&0].name, "api.pinned.test");
        assert_eq!(connections[&9].name, "127.0.0.1 4443");
        assert!(connections.values().all(|one| one.client_closed));
    }
}
