//! A verdict as far as lists need it, from JSON lines or journal entries.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::Deserialize;

use crate::flow::preamble::Target;
use crate::outlet::database::FailingGroup;
use crate::verdict::{Cause, Verdict};

/// Port of a server of which the name alone is known.
const HTTPS: u16 = 443;

/// A verdict on one connection, or a group of such, as far as their destination goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// Identifier of the verdict; empty of an old one.
    pub id: String,
    /// Identifiers of the verdicts that it replaces: several where it stands for several.
    pub supersedes: Vec<String>,
    /// Cause of the connection's end.
    pub cause: Cause,
    /// Probability of the cause.
    pub confidence: f64,
    /// The client's address.
    pub client: IpAddr,
    /// The server's name by the ClientHello, or by the request to a proxy.
    pub name: Option<String>,
    /// The server's address; `None` where only a proxy knows it.
    pub server: Option<SocketAddr>,
    /// The server's port.
    pub port: u16,
    /// Connections that it stands for; none of a further address of others.
    pub connections: usize,
    /// Times of the first and the last of them, if known.
    pub times: Option<(Timestamp, Timestamp)>,
    /// Gateways of a fleet that saw them; empty without a fleet.
    pub gateways: Vec<String>,
}

/// A line that is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum SightingError {
    /// It is no JSON object of either kind.
    #[error("not a verdict: {0}")]
    NoVerdict(#[from] serde_json::Error),
    /// A journal entry of a verdict has a field of another form.
    #[error("not a verdict: unreadable {0}")]
    Field(&'static str),
}

/// An entry as `journalctl --output json` writes it. Values that are no UTF-8 text are arrays of bytes.
#[derive(Deserialize)]
struct JournalEntry {
    #[serde(rename = "TLSWHY_ID")]
    id: Option<String>,
    #[serde(rename = "TLSWHY_SUPERSEDES")]
    supersedes: Option<String>,
    #[serde(rename = "TLSWHY_ALSO_SUPERSEDES")]
    also_supersedes: Option<String>,
    #[serde(rename = "TLSWHY_CAUSE")]
    cause: Option<String>,
    #[serde(rename = "TLSWHY_CONFIDENCE")]
    confidence: Option<String>,
    #[serde(rename = "TLSWHY_CLIENT_IP")]
    client: Option<String>,
    #[serde(rename = "TLSWHY_SERVER_IP")]
    server_ip: Option<String>,
    #[serde(rename = "TLSWHY_SERVER_PORT")]
    server_port: Option<String>,
    #[serde(rename = "TLSWHY_SERVER_LEG_SERVER")]
    server_leg: Option<String>,
    #[serde(rename = "TLSWHY_SNI")]
    sni: Option<serde_json::Value>,
    #[serde(rename = "TLSWHY_TARGET")]
    target: Option<String>,
    #[serde(rename = "TLSWHY_TIME")]
    time: Option<String>,
}

/// A line that stands for several revisions.
#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    also_supersedes: Vec<String>,
}

impl Sighting {
    /// Reads one line of JSON: a verdict, or a journal entry. `None` of a journal entry that is no verdict.
    ///
    /// # Errors
    /// [`SightingError`] if it is neither.
    pub fn parse(line: &str) -> Result<Option<Self>, SightingError> {
        // Every journal entry has its cursor.
        let sighting = if line.contains("\"__CURSOR\"") {
            Self::of_entry(serde_json::from_str(line)?)?
        } else {
            let mut sighting = Self::from(&serde_json::from_str::<Verdict>(line)?);
            if line.contains("\"also_supersedes\"") {
                let counted: Counted = serde_json::from_str(line)?;
                sighting.supersedes.extend(counted.also_supersedes);
            }
            Some(sighting)
        };
        match sighting {
            Some(it) if !(0.0..=1.0).contains(&it.confidence) => {
                Err(SightingError::Field("confidence"))
            }
            sighting => Ok(sighting),
        }
    }

    fn of_entry(entry: JournalEntry) -> Result<Option<Self>, SightingError> {
        let Some(cause) = entry.cause else {
            return Ok(None);
        };
        let read = |name, text: Option<String>| text.ok_or(SightingError::Field(name));
        let cause = serde_json::from_value(serde_json::Value::String(cause))?;
        let confidence = read("TLSWHY_CONFIDENCE", entry.confidence)?;
        let client = read("TLSWHY_CLIENT_IP", entry.client)?;
        let ip = read("TLSWHY_SERVER_IP", entry.server_ip)?;
        let port = read("TLSWHY_SERVER_PORT", entry.server_port)?;
        let (Ok(ip), Ok(port)) = (ip.parse(), port.parse()) else {
            return Err(SightingError::Field(
                "TLSWHY_SERVER_IP or TLSWHY_SERVER_PORT",
            ));
        };
        let sni = entry.sni.map(|sni| match sni {
            serde_json::Value::String(text) => text,
            // Bytes that are no text: no host name either, which is said of it later.
            other => other.to_string(),
        });
        let leg = entry.server_leg.and_then(|leg| leg.parse().ok());
        let target = entry.target.as_deref().map(Target::parse);
        let (name, server, port) = destination(sni, target, leg, SocketAddr::new(ip, port));
        let also = entry.also_supersedes.unwrap_or_default();
        let also = also.split_whitespace().map(str::to_owned);
        Ok(Some(Self {
            id: entry.id.unwrap_or_default(),
            supersedes: entry.supersedes.into_iter().chain(also).collect(),
            cause,
            confidence: confidence
                .parse()
                .map_err(|_| SightingError::Field("TLSWHY_CONFIDENCE"))?,
            client: client
                .parse()
                .map_err(|_| SightingError::Field("TLSWHY_CLIENT_IP"))?,
            name,
            server,
            port,
            connections: 1,
            times: entry
                .time
                .and_then(|time| time.parse().ok())
                .map(|time| (time, time)),
            gateways: Vec::new(),
        }))
    }
}

impl From<&Verdict> for Sighting {
    fn from(verdict: &Verdict) -> Self {
        let address = |it: crate::verdict::Endpoint| SocketAddr::new(it.ip, it.port);
        let target = verdict.target.as_deref().map(Target::parse);
        let leg = verdict.server_leg.as_ref().map(|leg| address(leg.server));
        let sni = verdict.sni.clone();
        let (name, server, port) = destination(sni, target, leg, address(verdict.server));
        Self {
            id: verdict.id.clone(),
            supersedes: verdict.supersedes.iter().cloned().collect(),
            cause: verdict.cause,
            confidence: verdict.confidence,
            client: verdict.client.ip,
            name,
            server,
            port,
            connections: 1,
            times: Some((verdict.time, verdict.time)),
            gateways: Vec::new(),
        }
    }
}

impl Sighting {
    /// Returns the sightings of a group in the database: one for all its connections, and one for each further
    /// address.
    pub fn of_group(group: FailingGroup, cause: Cause) -> Vec<Self> {
        let latest = group.verdict.as_ref().map(Self::from);
        let mut first = latest.unwrap_or_else(|| Self::of_name(&group.name, group.client));
        let is_direct = group.verdict.as_ref().is_none_or(|it| it.target.is_none());
        first.id.clone_from(&group.id);
        first.supersedes.clear();
        first.cause = cause;
        first.confidence = group.confidence;
        first.connections = usize::try_from(group.failed).unwrap_or(usize::MAX);
        first.times = Some((group.first, group.last));
        first.gateways = group.gateways;
        let others = group.servers.into_iter().enumerate();
        // Behind an explicit proxy they are the proxy's.
        let others = others.filter(|(_, server)| is_direct && Some(*server) != first.server);
        let others: Vec<_> = others
            .map(|(number, server)| Self {
                id: format!("{} {number}", group.id),
                server: Some(server),
                port: server.port(),
                connections: 0,
                ..first.clone()
            })
            .collect();
        [vec![first], others].concat()
    }

    /// Returns a sighting of which the name alone is known: a server's, a proxy's target or an address.
    fn of_name(name: &str, client: IpAddr) -> Self {
        let address = name.parse::<IpAddr>().ok();
        let target = Target::parse(name).filter(|it| it.is_name());
        let port = target.as_ref().map_or(HTTPS, |it| it.port);
        let name = target.map_or_else(|| name.to_owned(), |it| it.host);
        Self {
            id: String::new(),
            supersedes: Vec::new(),
            cause: Cause::Pinning,
            confidence: 0.0,
            client,
            name: address.is_none().then_some(name),
            server: address.map(|ip| SocketAddr::new(ip, port)),
            port,
            connections: 0,
            times: None,
            gateways: Vec::new(),
        }
    }
}

/// Returns name, address and port of the server. Behind an explicit proxy, which has a target, be it
/// one that cannot be read, the address is the proxy's own.
fn destination(
    sni: Option<String>,
    target: Option<Option<Target>>,
    leg: Option<SocketAddr>,
    server: SocketAddr,
) -> (Option<String>, Option<SocketAddr>, u16) {
    let Some(target) = target else {
        return (sni, Some(server), server.port());
    };
    let Some(target) = target else {
        return (sni, leg, server.port());
    };
    let address = target.address().or(leg);
    let name = sni.or_else(|| target.is_name().then(|| target.host.clone()));
    (name, address, target.port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::{EXAMPLE, pinning};

    #[test]
    fn a_verdict_is_read_from_its_json_and_from_the_journal() {
        let sighting = Sighting::parse(EXAMPLE).unwrap().unwrap();
        assert_eq!(sighting, Sighting::from(&pinning()));
        assert_eq!(sighting.name.as_deref(), Some("api.pinned.test"));
        let entry = r#"{"__CURSOR":"s=1","MESSAGE":"x","TLSWHY_ID":"0123456789abcdef",
            "TLSWHY_CAUSE":"pinning","TLSWHY_CONFIDENCE":"0.97","TLSWHY_CLIENT_IP":"10.0.1.2",
            "TLSWHY_SERVER_IP":"10.0.2.2","TLSWHY_SERVER_PORT":"443","TLSWHY_SNI":"api.pinned.test",
            "TLSWHY_TIME":"2026-11-23T08:30:01.123456789Z"}"#;
        assert_eq!(
            Sighting::parse(&entry.replace('\n', "")).unwrap(),
            Some(sighting)
        );
    }

    #[test]
    fn a_count_of_revisions_replaces_several() {
        let json = EXAMPLE.replacen('{', r#"{"also_supersedes":["a","b"],"repeats":2,"#, 1);
        let sighting = Sighting::parse(&json).unwrap().unwrap();
        assert_eq!(sighting.supersedes, ["a", "b"]);
        let entry = r#"{"__CURSOR":"s=1","TLSWHY_CAUSE":"pinning","TLSWHY_CONFIDENCE":"0.97",
            "TLSWHY_CLIENT_IP":"10.0.1.2","TLSWHY_SERVER_IP":"10.0.2.2","TLSWHY_SERVER_PORT":"443",
            "TLSWHY_SUPERSEDES":"b","TLSWHY_ALSO_SUPERSEDES":"a b"}"#;
        let sighting = Sighting::parse(&entry.replace('\n', "")).unwrap().unwrap();
        assert_eq!(sighting.supersedes, ["b", "a", "b"]);
    }

    #[test]
    fn other_entries_are_none_and_other_lines_errors() {
        let other = r#"{"__CURSOR":"s=1","MESSAGE":"Started."}"#;
        assert_eq!(Sighting::parse(other).unwrap(), None);
        let cut = r#"{"__CURSOR":"s=1","TLSWHY_CAUSE":"pinning"}"#;
        let certain = EXAMPLE.replacen("\"confidence\":0.97", "\"confidence\":97", 1);
        assert_ne!(certain, EXAMPLE);
        for wrong in ["{}", "[]", "text", cut, &EXAMPLE[..200], &certain] {
            assert!(Sighting::parse(wrong).is_err(), "{wrong}");
        }
        let bytes = r#"{"__CURSOR":"s=1","TLSWHY_CAUSE":"pinning","TLSWHY_CONFIDENCE":"0.97",
            "TLSWHY_CLIENT_IP":"10.0.1.2","TLSWHY_SERVER_IP":"10.0.2.2","TLSWHY_SERVER_PORT":"443",
            "TLSWHY_SNI":[97,10]}"#;
        let sighting = Sighting::parse(&bytes.replace('\n', "")).unwrap().unwrap();
        assert_eq!(sighting.name.as_deref(), Some("[97,10]"));
    }

    #[test]
    fn the_address_of_a_proxy_is_no_destination() {
        let mut verdict = pinning();
        verdict.target = Some("api.pinned.test:8443".to_owned());
        let sighting = Sighting::from(&verdict);
        assert_eq!((sighting.server, sighting.port), (None, 8443));
        verdict.sni = None;
        let named = Sighting::from(&verdict);
        assert_eq!(named.name.as_deref(), Some("api.pinned.test"));
        verdict.target = Some("198.51.100.7:443".to_owned());
        let addressed = Sighting::from(&verdict);
        assert_eq!(addressed.name, None);
        assert_eq!(addressed.server, Some(([198, 51, 100, 7], 443).into()));
    }
}
