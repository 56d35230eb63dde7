//! A site's connections as the judge would hand them on, and the history's verdicts on them.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context;
use detector_user::cause::history::History;
use detector_user::cause::interception::{Interception, Mark};
use detector_user::cause::judge::subject::{Outcome, Subject};
use detector_user::cause::judge::{Judged, Judgement};
use detector_user::flow::tls::app::{App, Versions, app};
use detector_user::flow::tls::client_hello::ClientHello;
use detector_user::verdict::{Cause, Intercepted, Party, Verdict};
use jiff::Timestamp;

use super::observer::Seen;
use super::parameters::happens;
use super::site::{Site, Stack, Truth, Visit};
use crate::rewrite::random::Random;

const SECOND_NS: u64 = 1_000_000_000;
const WEEK_NS: u64 = 7 * 86_400 * SECOND_NS;
const START_NS: u64 = 1_800_000_000 * SECOND_NS;

/// Refusals of one name by one app at one address.
#[derive(Clone, Debug)]
pub struct Group {
    /// Connections seen of it.
    pub connections: usize,
    /// The true cause of the last that was refused, and a second one that is as true.
    pub truth: (Cause, Option<Cause>),
    /// The last that was refused, by the name its verdicts have.
    last: String,
}

/// A site that goes on.
pub struct Play {
    history: History,
    random: Random,
    now_ns: u64,
    number: u64,
    accepted: HashSet<(usize, usize, usize)>,
    /// Names that a connection showed to be intercepted: later ones are known to be.
    shown: HashSet<usize>,
    /// All connections so far.
    pub seen: Vec<Seen>,
    /// Groups by address, app's hello and name.
    pub groups: HashMap<(u8, u16, usize), Group>,
    /// The latest verdict on each connection, and how many it had.
    pub verdicts: HashMap<String, (Cause, f64, usize)>,
}

impl Play {
    /// Begins, with randomness of its own.
    #[must_use]
    pub fn new(random: Random) -> Self {
        Self {
            history: History::default(),
            random,
            now_ns: START_NS,
            number: 0,
            accepted: HashSet::new(),
            shown: HashSet::new(),
            seen: Vec::new(),
            groups: HashMap::new(),
            verdicts: HashMap::new(),
        }
    }

    /// Returns the history's last verdict on a group, if it said any.
    #[must_use]
    pub fn said(&self, group: &Group) -> Option<(Cause, f64)> {
        let (cause, confidence, _) = self.verdicts.get(&group.last)?;
        Some((*cause, *confidence))
    }

    /// Plays one visit, with the retries that it leads to.
    ///
    /// # Errors
    /// If an app or a mark cannot be made.
    pub fn visit(&mut self, site: &Site, visit: Visit) -> anyhow::Result<()> {
        self.now_ns = START_NS + (visit.when * WEEK_NS as f64) as u64;
        let truth = site.truth(visit);
        let again = match truth {
            Truth::Accepted => 0,
            Truth::Refused(..) => self.random.below(3),
        };
        for _ in 0..=again {
            self.connection(site, visit, truth)?;
            self.now_ns += 2 * SECOND_NS;
        }
        self.wait();
        Ok(())
    }

    /// Returns the app of one of a program's hellos: with both versions or after a fallback, with another
    /// ALPN, and with its extensions in any order.
    fn app(&mut self, number: u16) -> anyhow::Result<App> {
        let mut hello = ClientHello::default();
        hello.complete = true;
        hello.legacy_version = 0x0303;
        hello.cipher_suites = vec![0xc000 + number];
        hello.groups = vec![29, 23];
        hello.extensions = vec![0, 10, 13, 23];
        if !self.random.one_in(4) {
            hello.supported_versions = vec![0x0304, 0x0303];
            hello.cipher_suites.insert(0, 0x1301);
            hello.extensions.extend([43, 51]);
            hello.groups.insert(0, 0x11ec);
        }
        if self.random.one_in(2) {
            hello.alpn = vec!["h2".to_owned()];
            hello.extensions.push(16);
        }
        let turn = self.random.below(hello.extensions.len());
        hello.extensions.rotate_left(turn);
        app(&hello).context("half a hello")
    }

    fn wait(&mut self) {
        // Silent ones wait for a sibling that works.
        self.now_ns += 3 * SECOND_NS;
        let verdicts = self.history.advance(self.now_ns);
        self.record(verdicts);
    }

    fn connection(&mut self, site: &Site, visit: Visit, truth: Truth) -> anyhow::Result<()> {
        let (host, app) = (&site.hosts[visit.host], &site.apps[visit.app]);
        let name = &site.names[visit.name];
        self.number += 1;
        let id = format!("1:{}", self.number);
        let readable = happens(&mut self.random, site.parameters.readable);
        let [issuer, destination] =
            [issuer(site, visit, truth), 1000 + visit.name as u64].map(mark);
        let (issuer, destination) = (issuer?, destination?);
        let (intercepted, recognized) = self.interception(site, visit, readable);
        let key = (host.address, app.hello, visit.name);
        let seen = self.accepted.contains(&(visit.host, visit.app, visit.name));
        let dropped = happens(&mut self.random, site.parameters.dropped);
        let resumed = seen && happens(&mut self.random, site.parameters.resumed);
        let cause = match truth {
            Truth::Refused(cause, _) => Some(cause),
            Truth::Accepted => None,
        };
        let stack = if cause.is_some() {
            app.stack
        } else {
            Stack::Silent
        };
        let outcome = match (cause, dropped) {
            (None, false) => Outcome::Accepted,
            (None, true) => Outcome::Refused { probability: 0.6 },
            (Some(_), _) => Outcome::Refused {
                probability: sureness(stack),
            },
        };
        let subject = Subject {
            client: IpAddr::V4(Ipv4Addr::new(10, 0, 0, host.address)),
            app: Some(self.app(app.hello)?),
            versions: Versions::Both,
            name: name.host.as_str().into(),
            server: SocketAddr::from(([10, 1, 0, visit.name as u8], 443)),
            by_proxy: false,
            ech: None,
            time_ns: self.now_ns,
            interception: Interception {
                status: intercepted,
                evidence: None,
                marks: [readable.then_some(issuer), Some(destination), None],
                recognized: if recognized {
                    vec![destination]
                } else {
                    vec![]
                },
            },
            certificate_shown: !resumed,
            certificate_in_order: readable.then_some(true),
            certificate: None,
            alert: cause.and_then(|cause| stack.alert(cause, &mut self.random)),
            after_handshake: stack == Stack::AfterHandshake && cause.is_some(),
            ended_ns: self.now_ns + SECOND_NS / 50,
            unanswered: false,
            quiet: outcome != Outcome::Accepted
                && matches!(stack, Stack::Silent | Stack::AfterHandshake),
            outcome,
        };
        let refused = matches!(outcome, Outcome::Refused { .. });
        let judgement = if refused {
            Judgement::Failed(Box::new(rejected(&subject, &id)))
        } else {
            Judgement::Established
        };
        if !refused {
            self.accepted.insert((visit.host, visit.app, visit.name));
        }
        self.count(key, truth, id);
        self.seen.push(Seen {
            group: key,
            when: visit.when,
            refused,
            resumed,
            status: intercepted,
            alert: subject.alert,
            after_handshake: subject.after_handshake,
            quiet: subject.quiet,
            other_ca: readable.then_some(issuer == mark(2)?),
        });
        let mut judged = Judged {
            judgement,
            subject,
            resets_without_effect: 0,
            if_intercepted: None,
            ech_refused: None,
            offer: None,
            possible: None,
        };
        if refused && intercepted == Intercepted::Unknown {
            let mut known = judged.clone();
            known.subject.interception.status = Intercepted::Yes;
            if let Judgement::Failed(verdict) = &mut known.judgement {
                verdict.intercepted = Intercepted::Yes;
            }
            judged.if_intercepted = Some(Box::new(known));
        }
        let verdicts = self.history.record(judged, self.now_ns);
        self.record(verdicts);
        Ok(())
    }

    /// Returns the knowledge of a connection's interception, and whether the connection shows that
    /// of its name.
    fn interception(&mut self, site: &Site, visit: Visit, readable: bool) -> (Intercepted, bool) {
        if site.names[visit.name].bypassed {
            let direct = readable || self.random.one_in(2);
            let status = if direct {
                Intercepted::No
            } else {
                Intercepted::Unknown
            };
            return (status, false);
        }
        let shows = readable || happens(&mut self.random, site.parameters.known);
        let first = shows && self.shown.insert(visit.name);
        if self.shown.contains(&visit.name) {
            (Intercepted::Yes, first)
        } else {
            (Intercepted::Unknown, false)
        }
    }

    fn count(&mut self, key: (u8, u16, usize), truth: Truth, id: String) {
        if let Truth::Refused(cause, other) = truth {
            let connections = self.groups.get(&key).map_or(0, |group| group.connections);
            self.groups.insert(
                key,
                Group {
                    connections: connections + 1,
                    truth: (cause, other),
                    last: id,
                },
            );
        } else if let Some(group) = self.groups.get_mut(&key) {
            group.connections += 1;
        }
    }

    fn record(&mut self, verdicts: Vec<std::sync::Arc<Verdict>>) {
        for verdict in verdicts {
            let entry = self
                .verdicts
                .entry(verdict.community_id.clone())
                .or_insert((verdict.cause, 0.0, 0));
            *entry = (verdict.cause, verdict.confidence, entry.2 + 1);
        }
    }
}

/// Returns the judge's confidence in a refusal by this stack.
fn sureness(stack: Stack) -> f64 {
    match stack {
        Stack::SaysUnknownCa | Stack::SaysCertificateUnknown => 0.95,
        Stack::Encrypts => 0.9,
        Stack::AfterHandshake => 0.7,
        Stack::Silent => 0.75,
    }
}

/// Returns the issuer shown, by number: the origin's own, the inspection CA, or the one for
/// untrusted origins.
fn issuer(site: &Site, visit: Visit, truth: Truth) -> u64 {
    let name = &site.names[visit.name];
    if name.bypassed {
        return 100 + visit.name as u64 % 3;
    }
    let bad = name.bad && matches!(truth, Truth::Refused(..));
    if bad && site.parameters.untrusted_ca {
        2
    } else {
        1
    }
}

fn mark(number: u64) -> anyhow::Result<Mark> {
    serde_json::from_value(number.into()).context("no mark of this number")
}

/// Returns the judge's verdict on a refusal by itself.
fn rejected(subject: &Subject, id: &str) -> Verdict {
    let probability = match subject.outcome {
        Outcome::Refused { probability } => probability,
        _ => 0.0,
    };
    let time = Timestamp::from_nanosecond(i128::from(subject.time_ns)).unwrap_or_default();
    let client = SocketAddr::new(subject.client, 40_000).into();
    let ends = [client, subject.server.into()];
    Verdict {
        sni: Some(subject.name.to_string()),
        confidence: probability,
        intercepted: subject.interception.status,
        ended_by: Party::Client,
        id: id.to_owned(),
        ..Verdict::new(time, "site", id, ends, Cause::CertificateRejected)
    }
}
