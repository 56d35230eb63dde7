//! A small site whose answers are plain.

use detector_user::verdict::{AlertDescription, Cause, Intercepted};

use super::{Knowledge, Seen, posterior};
use crate::rewrite::random::Random;
use crate::sites::parameters::Parameters;
use crate::sites::site::{App, Host, Name, Site, Stack};

/// The host that lacks the CA.
const LACKS: usize = 0;
/// The service's own app, and the two that visit all names.
const OWN: usize = 0;
const GENERAL: [usize; 2] = [1, 2];
/// A name that nothing is wrong with, the service's, and one whose certificate is bad.
const GOOD: usize = 0;
const SERVICE: usize = 1;
const BAD: usize = 2;

fn parameters() -> Parameters {
    Parameters {
        hosts: 4,
        general_apps: GENERAL.len(),
        services: 1,
        names: 2,
        lacks_ca: 0.2,
        rolled_out: 0.0,
        store_lacks: 0.05,
        service_pins: 0.5,
        app_pins: 0.02,
        pins_all: 0.02,
        bad_origin: 0.05,
        untrusted_ca: true,
        readable: 1.0,
        bypassed: 0.1,
        known: 0.5,
        resumed: 0.0,
        dropped: 0.001,
        shared: 0.0,
    }
}

fn site() -> Site {
    let hosts = (0..4).map(|number| Host {
        address: number as u8 + 1,
        ca_from: if number == LACKS { 2.0 } else { 0.0 },
    });
    let apps = (0..=GENERAL.len()).map(|number| App {
        hello: number as u16,
        stack: Stack::SaysUnknownCa,
        store_lacks: false,
        visits: [GOOD, SERVICE, BAD]
            .map(|name| (name, number == OWN && name == SERVICE))
            .to_vec(),
        hosts: (0..4).collect(),
        service: (number == OWN).then_some(0),
    });
    let names = [None, Some(0), None].into_iter().enumerate();
    let names = names.map(|(number, service)| Name {
        host: format!("h{number}.site.test"),
        bad: number == BAD,
        bypassed: false,
        service,
    });
    Site {
        parameters: parameters(),
        hosts: hosts.collect(),
        apps: apps.collect(),
        names: names.collect(),
    }
}

/// Each app of each host at each name, in turns.
fn seen() -> Vec<Seen> {
    let mut seen = Vec::new();
    for host in 0..4 {
        for app in 0..=GENERAL.len() {
            for name in [GOOD, SERVICE, BAD] {
                let alert = if host == LACKS || name == BAD {
                    Some(AlertDescription::UnknownCa)
                } else {
                    (app == OWN && name == SERVICE).then_some(AlertDescription::BadCertificate)
                };
                seen.push(Seen {
                    group: (host as u8 + 1, app as u16, name),
                    when: (seen.len() + 1) as f64 / 40.0,
                    refused: alert.is_some(),
                    resumed: false,
                    status: Intercepted::Yes,
                    alert,
                    after_handshake: false,
                    quiet: false,
                    other_ca: Some(name == BAD),
                });
            }
        }
    }
    seen
}

#[test]
fn plain_causes_are_told() {
    let shares = posterior(&site(), &seen(), Knowledge::OfTheSite, &mut Random::new(1));
    let share = |host: usize, app: usize, name: usize, wanted: Cause| {
        let of = shares[&(host as u8 + 1, app as u16, name)];
        let mut of = of.into_iter().filter(|(cause, _)| *cause == wanted);
        of.next().unwrap().1
    };
    for app in GENERAL {
        assert!(
            share(LACKS, app, GOOD, Cause::CaNotTrusted) > 0.9,
            "{shares:?}"
        );
        assert!(share(LACKS, app, GOOD, Cause::Pinning) < 0.1, "{shares:?}");
    }
    for host in 1..4 {
        assert!(
            share(host, OWN, SERVICE, Cause::Pinning) > 0.9,
            "{shares:?}"
        );
        assert!(
            share(host, OWN, SERVICE, Cause::CaNotTrusted) < 0.1,
            "{shares:?}"
        );
        for app in GENERAL {
            assert!(
                share(host, app, BAD, Cause::ServerCertInvalid) > 0.9,
                "{shares:?}"
            );
            assert!(share(host, app, BAD, Cause::Pinning) < 0.1, "{shares:?}");
        }
    }
    // Accepted groups have no refusal to explain.
    assert!(!shares.contains_key(&(2, GENERAL[0] as u16, GOOD)));
}
