//! A site with known truth: hosts, apps, names, and why each refuses or accepts which.

use detector_user::verdict::{AlertDescription, Cause};

use super::parameters::{Parameters, happens, unit};
use crate::rewrite::random::Random;

/// Behaviour of an app's TLS library at a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// An alert that says that the CA is not known, and another for a pin that fails.
    SaysUnknownCa,
    /// One alert for all.
    SaysCertificateUnknown,
    /// An encrypted alert.
    Encrypts,
    /// It finishes the handshake and closes.
    AfterHandshake,
    /// It closes in silence.
    Silent,
}

/// A host.
#[derive(Clone, Debug)]
pub struct Host {
    /// The address it shows, by number.
    pub address: u8,
    /// When it gets the CA, as a share of the week; above 1 if never.
    pub ca_from: f64,
}

/// An app.
#[derive(Clone, Debug)]
pub struct App {
    /// The number that its hello shows: two apps may have one.
    pub hello: u16,
    /// Its behaviour at a refusal.
    pub stack: Stack,
    /// Whether its own store lacks the CA.
    pub store_lacks: bool,
    /// Names it visits, by number, and whether it pins each.
    pub visits: Vec<(usize, bool)>,
    /// Hosts that have it.
    pub hosts: Vec<usize>,
    /// The service whose own it is.
    pub service: Option<usize>,
}

/// A name.
#[derive(Clone, Debug)]
pub struct Name {
    /// The name itself.
    pub host: String,
    /// Whether its origin's certificate is bad, and passed on.
    pub bad: bool,
    /// Whether it is not intercepted.
    pub bypassed: bool,
    /// The service that it belongs to.
    pub service: Option<usize>,
}

/// A site.
#[derive(Clone, Debug)]
pub struct Site {
    /// Parameters it was made by.
    pub parameters: Parameters,
    /// Its hosts.
    pub hosts: Vec<Host>,
    /// Its apps.
    pub apps: Vec<App>,
    /// Its names.
    pub names: Vec<Name>,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// The host, by number.
    pub host: usize,
    /// The app, by number.
    pub app: usize,
    /// The name, by number.
    pub name: usize,
    /// When, as a share of the week.
    pub when: f64,
}

/// The reason for a visit's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It works.
    Accepted,
    /// It is refused for this cause; for a second one, too, in some cases.
    Refused(Cause, Option<Cause>),
}

impl Site {
    /// Makes a site by parameters drawn from a seed.
    #[must_use]
    pub fn draw(random: &mut Random) -> Self {
        let parameters = Parameters::draw(random);
        let hosts = (0..parameters.hosts)
            .map(|number| host(&parameters, number, random))
            .collect();
        let mut site = Self {
            hosts,
            apps: Vec::new(),
            names: Vec::new(),
            parameters,
        };
        for number in 0..site.parameters.names {
            // Some are of one domain.
            let domain = number - number % (1 + random.below(3));
            site.add_name(format!("h{number}.site{domain}.test"), None, random);
        }
        for _ in 0..site.parameters.general_apps {
            let pins = site.parameters.app_pins;
            let visits = (0..site.parameters.names)
                .filter(|_| random.below(10) < 7)
                .collect::<Vec<_>>();
            let visits = visits
                .into_iter()
                .map(|name| (name, happens(random, pins)))
                .collect();
            site.add_app(visits, None, random);
        }
        for number in 0..site.parameters.services {
            site.add_service(number, random);
        }
        site
    }

    /// Adds a service: one to three names, one or two apps that visit these and a few others, and
    /// perhaps a general app that visits it too.
    fn add_service(&mut self, number: usize, random: &mut Random) {
        let pinned = happens(random, self.parameters.service_pins);
        let own: Vec<usize> = (0..=random.below(3))
            .map(|at| {
                let host = format!("api{at}.service{number}.test");
                self.add_name(host, Some(number), random)
            })
            .collect();
        for _ in 0..=random.below(2) {
            let all = happens(random, self.parameters.pins_all);
            let mut visits: Vec<(usize, bool)> =
                own.iter().map(|it| (*it, pinned || all)).collect();
            for _ in 0..random.below(4) {
                let other = random.below(self.parameters.names);
                if visits.iter().all(|(known, _)| *known != other) {
                    visits.push((other, all));
                }
            }
            self.add_app(visits, Some(number), random);
        }
        let general = random.below(self.parameters.general_apps);
        if random.one_in(3) {
            let visits = own.iter().map(|name| (*name, false));
            self.apps[general].visits.extend(visits);
        }
    }

    fn add_name(&mut self, host: String, service: Option<usize>, random: &mut Random) -> usize {
        self.names.push(Name {
            host,
            bad: happens(random, self.parameters.bad_origin),
            bypassed: happens(random, self.parameters.bypassed),
            service,
        });
        self.names.len() - 1
    }

    fn add_app(&mut self, visits: Vec<(usize, bool)>, service: Option<usize>, random: &mut Random) {
        let stacks = [
            Stack::SaysUnknownCa,
            Stack::SaysCertificateUnknown,
            Stack::Encrypts,
            Stack::AfterHandshake,
            Stack::Silent,
        ];
        let number = self.apps.len() as u16;
        let mut hosts: Vec<usize> = (0..self.hosts.len())
            .filter(|_| random.below(10) < 6)
            .collect();
        if hosts.is_empty() {
            hosts.push(random.below(self.hosts.len()));
        }
        // Two programs may have one hello.
        let hello = match random.below(12) {
            0 => number.saturating_sub(1),
            _ => number,
        };
        self.apps.push(App {
            hello,
            stack: stacks[random.below(stacks.len())],
            store_lacks: happens(random, self.parameters.store_lacks),
            visits,
            hosts,
            service,
        });
    }

    /// Draws a visit; `None` if the app that it falls on visits nothing.
    pub fn visit(&self, when: f64, random: &mut Random) -> Option<Visit> {
        let app = random.below(self.apps.len());
        let of = &self.apps[app];
        // The first of an app's names are visited most.
        let place = (unit(random).powi(2) * of.visits.len() as f64) as usize;
        Some(Visit {
            host: of.hosts[random.below(of.hosts.len())],
            app,
            name: of.visits.get(place)?.0,
            when,
        })
    }

    /// Returns the reason why a visit ends as it does.
    #[must_use]
    pub fn truth(&self, visit: Visit) -> Truth {
        let (host, app) = (&self.hosts[visit.host], &self.apps[visit.app]);
        let name = &self.names[visit.name];
        let pins = app
            .visits
            .iter()
            .any(|(it, pins)| *it == visit.name && *pins);
        let intercepted = !name.bypassed;
        let trusts = visit.when >= host.ca_from && !app.store_lacks;
        let mut causes = Vec::new();
        if intercepted && !trusts {
            causes.push(Cause::CaNotTrusted);
        }
        if intercepted && pins {
            causes.push(Cause::Pinning);
        }
        if name.bad {
            causes.push(Cause::ServerCertInvalid);
        }
        match causes.as_slice() {
            [] => Truth::Accepted,
            [first, rest @ ..] => Truth::Refused(*first, rest.first().copied()),
        }
    }
}

impl Stack {
    /// Returns the alert in the clear by which it refuses for this cause.
    #[must_use]
    pub fn alert(self, cause: Cause, random: &mut Random) -> Option<AlertDescription> {
        match self {
            Self::SaysUnknownCa if cause == Cause::Pinning => {
                Some(AlertDescription::BadCertificate)
            }
            Self::SaysUnknownCa => Some(AlertDescription::UnknownCa),
            Self::SaysCertificateUnknown if random.one_in(2) => {
                Some(AlertDescription::CertificateUnknown)
            }
            Self::SaysCertificateUnknown => Some(AlertDescription::BadCertificate),
            Self::Encrypts | Self::AfterHandshake | Self::Silent => None,
        }
    }
}

fn host(parameters: &Parameters, number: usize, random: &mut Random) -> Host {
    let lacks = happens(random, parameters.lacks_ca);
    let gets_it = happens(random, parameters.rolled_out);
    let shared = happens(random, parameters.shared);
    Host {
        address: if shared { 0 } else { number as u8 + 1 },
        ca_from: match (lacks, gets_it) {
            (false, _) => 0.0,
            (true, true) => unit(random),
            (true, false) => 2.0,
        },
    }
}
