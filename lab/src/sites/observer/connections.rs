//! The connections that the observer weighs, each with the hosts and programs that may be behind it.

use std::collections::HashMap;

use detector_user::verdict::{AlertDescription, Intercepted};

use crate::sites::site::{App, Host, Site};

/// Connections of one kind in a group that are weighed: further ones say the same.
const OF_A_KIND: usize = 4;

/// One connection as the judge hands it on.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Address, hello and name.
    pub group: (u8, u16, usize),
    /// When, as a share of the week.
    pub when: f64,
    /// Whether it was refused, or dropped.
    pub refused: bool,
    /// Whether no certificate was shown.
    pub resumed: bool,
    /// Knowledge of its interception.
    pub status: Intercepted,
    /// The alert in the clear.
    pub alert: Option<AlertDescription>,
    /// Whether it was refused after the handshake.
    pub after_handshake: bool,
    /// Whether it ended without an alert.
    pub quiet: bool,
    /// Whether another CA than the usual signed it; `None` if it could not be read.
    pub other_ca: Option<bool>,
}

/// A connection with the host and the program that it is of in the current sample.
pub(super) struct Placed {
    pub(super) seen: Seen,
    pub(super) host: usize,
    pub(super) app: usize,
    pub(super) hosts: Vec<usize>,
    pub(super) apps: Vec<usize>,
}

/// Returns the connections that say something, in the order of time: the first of each kind in a
/// group, and the last refused.
pub(super) fn connections(site: &Site, seen: &[Seen]) -> Vec<Placed> {
    let mut counts: HashMap<_, usize> = HashMap::new();
    let mut last = HashMap::new();
    for (at, it) in seen.iter().enumerate() {
        if it.refused && !it.resumed {
            last.insert(it.group, at);
        }
    }
    let mut connections = Vec::new();
    for (at, it) in seen.iter().enumerate() {
        if it.resumed {
            continue;
        }
        let kind = (it.group, it.refused, it.alert, it.other_ca, it.status);
        let count = counts.entry(kind).or_default();
        *count += 1;
        if *count > OF_A_KIND && last.get(&it.group) != Some(&at) {
            continue;
        }
        let hosts = hosts_of(&site.hosts, it.group.0);
        let apps = apps_of(&site.apps, it.group.1, it.group.2, &hosts);
        let (Some(host), Some(app)) = (hosts.first(), apps.first()) else {
            continue;
        };
        connections.push(Placed {
            seen: *it,
            host: *host,
            app: *app,
            hosts,
            apps,
        });
    }
    connections
}

/// Returns the hosts that have an address.
fn hosts_of(hosts: &[Host], address: u8) -> Vec<usize> {
    (0..hosts.len())
        .filter(|at| hosts[*at].address == address)
        .collect()
}

/// Returns the apps that have a hello and visit a name on one of some hosts.
fn apps_of(apps: &[App], hello: u16, name: usize, hosts: &[usize]) -> Vec<usize> {
    let visits = |app: &App| app.visits.iter().any(|(it, _)| *it == name);
    let runs = |app: &App| hosts.iter().any(|host| app.hosts.contains(host));
    (0..apps.len())
        .filter(|at| apps[*at].hello == hello && visits(&apps[*at]) && runs(&apps[*at]))
        .collect()
}
