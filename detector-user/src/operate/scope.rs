//! The connections that the operator wants judged, and the verdicts that the operator wants written.

use std::net::{IpAddr, SocketAddr};

use glob::{MatchOptions, Pattern};
use hashlink::LruCache;
use ipnet::IpNet;

use crate::cause::judge::hang_up::Endings;
use crate::verdict::{Cause, Verdict};

/// Written verdicts that a revision may still replace: the latest.
const WRITTEN_MAX: usize = 65_536;

/// Connections that are judged; by default all. Nothing is learned from the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Client networks; empty means any.
    pub clients: Vec<IpNet>,
    /// Connections that are ignored.
    pub ignored: Ignored,
}

/// Connections that are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Client networks.
    pub clients: Vec<IpNet>,
    /// Server networks.
    pub servers: Vec<IpNet>,
    /// Server ports.
    pub ports: Vec<u16>,
    /// Networks, as client and as server.
    pub networks: Vec<IpNet>,
    /// Server names.
    pub names: Vec<Pattern>,
}

/// Verdicts that are written; by default all. Everything is learned from the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Client networks; empty means any, as in the other lists.
    pub clients: Vec<IpNet>,
    /// Server networks.
    pub servers: Vec<IpNet>,
    /// Server ports.
    pub ports: Vec<u16>,
    /// Server names; a connection without one matches none.
    pub names: Vec<Pattern>,
    /// Causes.
    pub causes: Vec<Cause>,
    /// Minimum confidence, 0 to 1.
    pub min_confidence: f64,
    /// Endings of connections that worked.
    pub endings: Endings,
}

/// A filter, and the verdicts that it let through: a replacement of one of these is written too, so
/// that no reader is left with a verdict that holds no longer.
pub struct Gate {
    filter: Filter,
    written: LruCache<String, ()>,
}

impl Scope {
    /// Whether a connection between these is judged.
    #[must_use]
    pub fn contains(&self, client: SocketAddr, server: SocketAddr, name: Option<&str>) -> bool {
        let Ignored {
            clients,
            servers,
            ports,
            networks,
            names,
        } = &self.ignored;
        (self.clients.is_empty() || in_any(&self.clients, client.ip()))
            && !in_any(clients, client.ip())
            && !in_any(servers, server.ip())
            && !ports.contains(&server.port())
            && !in_any(networks, client.ip())
            && !in_any(networks, server.ip())
            && !is_named(names, name)
    }
}

impl Filter {
    /// Returns the causes that verdicts can have: no verdict is written of a connection that works.
    pub fn causes() -> impl Iterator<Item = Cause> {
        let causes = Cause::ALL.into_iter();
        causes.filter(|cause| *cause != Cause::Established)
    }

    /// Returns the cause of this name, if verdicts can have it.
    #[must_use]
    pub fn cause(name: &str) -> Option<Cause> {
        Self::causes().find(|cause| cause.name() == name)
    }

    /// Whether a verdict is written.
    #[must_use]
    pub fn accepts(&self, verdict: &Verdict) -> bool {
        (self.clients.is_empty() || in_any(&self.clients, verdict.client.ip))
            && (self.servers.is_empty() || in_any(&self.servers, verdict.server.ip))
            && (self.ports.is_empty() || self.ports.contains(&verdict.server.port))
            && (self.names.is_empty() || is_named(&self.names, verdict.sni.as_deref()))
            && (self.causes.is_empty() || self.causes.contains(&verdict.cause))
            && verdict.confidence >= self.min_confidence
    }

    /// Whether a revision of a verdict that is written may be none itself, or the other way round.
    fn depends_on_revision(&self) -> bool {
        !self.causes.is_empty() || self.min_confidence > 0.0
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            written: LruCache::new(WRITTEN_MAX),
        }
    }
}

impl Gate {
    /// Replaces the filter.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = filter;
    }

    /// Returns the endings of connections in use that are written.
    #[must_use]
    pub const fn endings(&self) -> Endings {
        self.filter.endings
    }

    /// Whether a verdict is written: one that the filter accepts, or that replaces one that was written.
    pub fn admits(&mut self, verdict: &Verdict) -> bool {
        if !self.filter.depends_on_revision() {
            return self.filter.accepts(verdict);
        }
        let earlier = verdict.supersedes.as_ref();
        let replaces = earlier.is_some_and(|id| self.written.remove(id).is_some());
        let admitted = replaces || self.filter.accepts(verdict);
        if admitted {
            self.written.insert(verdict.id.clone(), ());
        }
        admitted
    }
}

fn in_any(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

pub(super) fn is_named(patterns: &[Pattern], name: Option<&str>) -> bool {
    // Names are compared without regard to case (RFC 4343).
    let options = MatchOptions {
        case_sensitive: false,
        ..MatchOptions::default()
    };
    name.is_some_and(|name| patterns.iter().any(|it| it.matches_with(name, options)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::pinning;

    fn networks(given: &[&str]) -> Vec<IpNet> {
        given.iter().map(|it| it.parse().unwrap()).collect()
    }

    fn names(given: &[&str]) -> Vec<Pattern> {
        given.iter().map(|it| Pattern::new(it).unwrap()).collect()
    }

    #[rstest::rstest]
    #[case("10.1.2.3:40000", "192.0.2.1:443", None, true)]
    #[case("[::ffff:10.1.2.3]:40000", "192.0.2.1:443", None, true)]
    #[case("192.0.2.1:443", "10.1.2.3:40000", None, false)]
    #[case("10.1.2.3:22", "192.0.2.1:443", None, true)]
    #[case("10.1.2.3:40000", "192.0.2.1:22", None, false)]
    #[case("10.9.2.3:40000", "192.0.2.1:443", None, false)]
    #[case("10.1.2.3:40000", "[2001:db8::1]:443", None, false)]
    #[case("10.7.2.3:40000", "192.0.2.1:443", None, false)]
    #[case("10.1.2.3:40000", "10.7.0.1:443", None, true)]
    #[case("10.1.2.3:40000", "198.51.100.1:443", None, false)]
    #[case("10.1.2.3:40000", "192.0.2.1:443", Some("a.telemetry.test"), false)]
    #[case("10.1.2.3:40000", "192.0.2.1:443", Some("A.Telemetry.TEST"), false)]
    #[case("10.1.2.3:40000", "192.0.2.1:443", Some("telemetry.test"), true)]
    fn connections_are_in_or_out(
        #[case] client: SocketAddr,
        #[case] server: SocketAddr,
        #[case] name: Option<&str>,
        #[case] expected: bool,
    ) {
        let scope = Scope {
            clients: networks(&["10.0.0.0/8"]),
            ignored: Ignored {
                clients: networks(&["10.7.0.0/16"]),
                servers: networks(&["198.51.100.0/24"]),
                ports: vec![22],
                networks: networks(&["10.9.0.0/16", "2001:db8::/32"]),
                names: names(&["*.telemetry.test"]),
            },
        };
        assert_eq!(scope.contains(client, server, name), expected);
        assert!(Scope::default().contains(client, server, name));
    }

    #[test]
    fn each_condition_of_a_filter_must_hold() {
        let all = Filter {
            clients: networks(&["192.0.2.1/32", "10.0.1.0/24"]),
            servers: networks(&["10.0.2.2/32"]),
            ports: vec![443, 8443],
            names: names(&["other.test", "*.PINNED.test"]),
            causes: vec![Cause::Pinning],
            min_confidence: 0.97,
            endings: Endings::default(),
        };
        assert!(all.accepts(&pinning()));
        assert!(Filter::default().accepts(&pinning()));
        let mut others = vec![pinning(); 6];
        others[0].client.ip = "10.0.2.7".parse().unwrap();
        others[1].server.ip = "10.0.1.2".parse().unwrap();
        others[2].server.port = 80;
        others[3].sni = None;
        others[4].cause = Cause::Abandoned;
        others[5].confidence = 0.96;
        for other in others {
            assert!(!all.accepts(&other), "{other:?}");
        }
    }

    #[test]
    fn a_revision_of_a_written_verdict_is_written() {
        let mut gate = Gate::default();
        gate.set_filter(Filter {
            causes: vec![Cause::Pinning],
            ..Filter::default()
        });
        let verdict = |cause, revision| {
            let mut verdict = pinning();
            verdict.cause = cause;
            verdict.set_revision(revision);
            verdict
        };
        assert!(gate.admits(&verdict(Cause::Pinning, 0)));
        assert!(gate.admits(&verdict(Cause::CaNotTrusted, 1)));
        let mut never_written = verdict(Cause::CaNotTrusted, 0);
        never_written.tap = "lan9".into();
        never_written.set_revision(0);
        assert!(!gate.admits(&never_written));
        never_written.set_revision(1);
        assert!(!gate.admits(&never_written));
        never_written.cause = Cause::Pinning;
        never_written.set_revision(2);
        assert!(gate.admits(&never_written));
    }
}
