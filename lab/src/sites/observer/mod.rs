//! An ideal observer of a generated site: the posterior of each group's true causes, given the
//! connections seen so far, under the generator's own parameters.
//!
//! It sees the judge's output and knows more than a judge can: the site's parameters, which app visits
//! which names and which are a service's own, how many hosts share an address and how many programs a
//! hello, though not the one behind a connection. So it is a bound from above. The posterior doesn't
//! factorise, since hosts, apps and names explain each other's refusals; Gibbs sampling approximates it.
//!
//! With [`Knowledge::OfAJudge`] it knows the generator's averages in place of the site's parameters, and neither
//! which names are a service's own nor how an app's library refuses: a bound for judges.

mod connections;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use detector_user::verdict::{AlertDescription, Cause, Intercepted};

use super::parameters::{Parameters, unit};
use super::site::{Site, Stack};
use crate::rewrite::random::Random;
pub use connections::Seen;
use connections::{Placed, connections};

/// Sweeps that are not counted, and those that are.
const SWEEPS: [usize; 2] = [40, 160];
/// Likelihood of the impossible: greater than nothing, so that the sampler gets from anywhere to
/// anywhere.
const IMPOSSIBLE: f64 = 1e-6;
/// Shares of a group's samples in which a cause is among its first two.
pub type Shares = [(Cause, f64); 3];

/// The observer's knowledge beside the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// The site's parameters, services and TLS libraries.
    OfTheSite,
    /// Averages over all sites.
    OfAJudge,
}

/// Of an observer with a judge's knowledge: probability that a domain's own apps pin it, that an app pins such a
/// domain, and another.
const DOMAIN_PINNED: f64 = 0.15;
const PINS_SUCH: f64 = 0.7;
const PINS_OTHER: f64 = 0.04;

/// The sampled state.
struct Sampler<'a> {
    site: &'a Site,
    random: &'a mut Random,
    connections: Vec<Placed>,
    ca_from: Vec<f64>,
    store_lacks: Vec<bool>,
    pins_all: Vec<bool>,
    /// By service.
    service_pins: Vec<bool>,
    /// By general app and name.
    pins: HashMap<(usize, usize), bool>,
    bad: Vec<bool>,
    bypassed: Vec<bool>,
    /// Whether the app's stack says unknown_ca.
    says_unknown: Vec<bool>,
    knowledge: Knowledge,
    parameters: Parameters,
    /// Domain of each name, by number.
    domains: Vec<usize>,
    /// By domain.
    domain_pinned: Vec<bool>,
}

/// Returns the shares of each group that has a refusal at its last refused connection.
pub fn posterior(
    site: &Site,
    seen: &[Seen],
    knowledge: Knowledge,
    random: &mut Random,
) -> HashMap<(u8, u16, usize), Shares> {
    let mut sampler = Sampler::new(site, seen, knowledge, random);
    let last = sampler.last_refused();
    let mut counts: HashMap<(u8, u16, usize), [usize; 4]> = HashMap::new();
    for sweep in 0..SWEEPS[0] + SWEEPS[1] {
        sampler.sweep();
        if sweep < SWEEPS[0] {
            continue;
        }
        for at in &last {
            let connection = &sampler.connections[*at];
            let causes = sampler.causes(connection);
            let counts = counts.entry(connection.seen.group).or_default();
            // A dropped connection is none that a group is counted for.
            counts[3] += usize::from(causes.contains(&true));
            let mut first = 2;
            for (count, holds) in counts.iter_mut().zip(causes) {
                if holds && first > 0 {
                    *count += 1;
                    first -= 1;
                }
            }
        }
    }
    counts
        .into_iter()
        .map(|(group, [lacks, pins, bad, all])| {
            let share = |count: usize| count as f64 / all.max(1) as f64;
            let shares = [
                (Cause::CaNotTrusted, share(lacks)),
                (Cause::Pinning, share(pins)),
                (Cause::ServerCertInvalid, share(bad)),
            ];
            (group, shares)
        })
        .collect()
}

impl<'a> Sampler<'a> {
    fn new(site: &'a Site, seen: &[Seen], knowledge: Knowledge, random: &'a mut Random) -> Self {
        let domain = |host: &'a str| host.split_once('.').map_or(host, |(_, domain)| domain);
        let mut known: Vec<&str> = Vec::new();
        let domains: Vec<usize> = site
            .names
            .iter()
            .map(|name| {
                let domain = domain(&name.host);
                known
                    .iter()
                    .position(|it| *it == domain)
                    .unwrap_or_else(|| {
                        known.push(domain);
                        known.len() - 1
                    })
            })
            .collect();
        let connections = connections(site, seen);
        let refused = |name: usize| {
            let mut of_it = connections.iter().filter(|it| it.seen.group.2 == name);
            of_it.any(|it| it.seen.refused)
        };
        let accepted = |name: usize| {
            let mut of_it = connections.iter().filter(|it| it.seen.group.2 == name);
            of_it.any(|it| !it.seen.refused)
        };
        let names = site.names.len();
        let bad = (0..names).map(|name| refused(name) && !accepted(name));
        Self {
            bad: bad.collect(),
            bypassed: vec![false; names],
            ca_from: vec![0.0; site.hosts.len()],
            store_lacks: vec![false; site.apps.len()],
            pins_all: vec![false; site.apps.len()],
            service_pins: vec![true; site.parameters.services],
            pins: HashMap::new(),
            says_unknown: vec![true; site.apps.len()],
            knowledge,
            parameters: match knowledge {
                Knowledge::OfTheSite => site.parameters.clone(),
                Knowledge::OfAJudge => Parameters::averages(),
            },
            domain_pinned: vec![false; known.len()],
            domains,
            site,
            random,
            connections,
        }
    }

    /// Returns the last refused connection of each group.
    fn last_refused(&self) -> Vec<usize> {
        let mut last = HashMap::new();
        for (at, connection) in self.connections.iter().enumerate() {
            if connection.seen.refused {
                last.insert(connection.seen.group, at);
            }
        }
        last.into_values().collect()
    }

    fn pins(&self, app: usize, name: usize) -> bool {
        if self.knowledge == Knowledge::OfAJudge {
            let pin = self.pins.get(&(app, self.domains[name]));
            return self.pins_all[app] || pin.copied().unwrap_or(false);
        }
        let of = &self.site.apps[app];
        match (of.service, self.site.names[name].service) {
            (Some(own), Some(service)) if own == service => {
                self.service_pins[service] || self.pins_all[app]
            }
            (Some(_), _) => self.pins_all[app],
            (None, _) => self.pins.get(&(app, name)).copied().unwrap_or(false),
        }
    }

    /// Returns whether the CA is missing, a pin fails, and the certificate is bad, in the order of
    /// checks.
    fn causes(&self, it: &Placed) -> [bool; 3] {
        let name = it.seen.group.2;
        let intercepted = !self.bypassed[name];
        let lacks = it.seen.when < self.ca_from[it.host] || self.store_lacks[it.app];
        [
            intercepted && lacks,
            intercepted && self.pins(it.app, name),
            self.bad[name],
        ]
    }

    /// Returns the likelihood of a connection as it was seen.
    fn likelihood(&self, it: &Placed) -> f64 {
        let seen = &it.seen;
        let parameters = &self.parameters;
        let causes = self.causes(it);
        let refuses = causes.contains(&true);
        let bad = causes[2];
        let certificate = match seen.other_ca {
            Some(other) if self.knowledge == Knowledge::OfAJudge => match (other, bad) {
                // Half of the interceptors sign such names with another CA.
                (true, false) => IMPOSSIBLE,
                (_, true) => 0.5,
                (false, false) => 1.0,
            },
            Some(other) if parameters.untrusted_ca && !self.bypassed[seen.group.2] => {
                if other == bad { 1.0 } else { IMPOSSIBLE }
            }
            _ => 1.0,
        };
        let silent = seen.quiet && !seen.after_handshake;
        let outcome = match (seen.refused, refuses) {
            (false, false) => 1.0 - parameters.dropped,
            (false, true) => IMPOSSIBLE,
            // Any app may drop one in silence.
            (true, false) if silent => parameters.dropped,
            (true, false) => IMPOSSIBLE,
            (true, true) => self.says(it, causes),
        };
        (certificate * outcome).max(IMPOSSIBLE)
    }

    /// Returns the likelihood of the way it was refused. Alerts leave open which of two kinds a
    /// stack is.
    fn says(&self, it: &Placed, causes: [bool; 3]) -> f64 {
        let pins = !causes[0] && causes[1];
        let alert = it.seen.alert;
        let holds = |it: bool| if it { 1.0 } else { IMPOSSIBLE };
        if self.knowledge == Knowledge::OfAJudge {
            // As the agent: pin checks seldom say that they do not know the CA.
            return if pins && alert == Some(AlertDescription::UnknownCa) {
                0.02
            } else {
                0.5
            };
        }
        match self.site.apps[it.app].stack {
            Stack::SaysUnknownCa | Stack::SaysCertificateUnknown => match alert {
                Some(AlertDescription::UnknownCa) => holds(self.says_unknown[it.app] && !pins),
                Some(AlertDescription::BadCertificate) if self.says_unknown[it.app] => holds(pins),
                Some(AlertDescription::BadCertificate) => 0.5,
                Some(_) => 0.5 * holds(!self.says_unknown[it.app]),
                None => IMPOSSIBLE,
            },
            Stack::Encrypts => holds(alert.is_none() && !it.seen.quiet),
            Stack::AfterHandshake => holds(it.seen.after_handshake),
            Stack::Silent => holds(it.seen.quiet && !it.seen.after_handshake),
        }
    }

    fn log_likelihood(&self, wanted: &[usize]) -> f64 {
        let of = |at: &usize| self.likelihood(&self.connections[*at]).ln();
        wanted.iter().map(of).sum()
    }

    /// Samples a variable of two values.
    fn flip(&mut self, prior: f64, of: &[usize], set: impl Fn(&mut Self, bool)) {
        set(self, true);
        let yes = self.log_likelihood(of) + prior.max(1e-9).ln();
        set(self, false);
        let no = self.log_likelihood(of) + (1.0 - prior).max(1e-9).ln();
        let share = 1.0 / (1.0 + (no - yes).exp());
        let value = unit(self.random) < share;
        set(self, value);
    }

    fn of(&self, wanted: impl Fn(&Placed) -> bool) -> Vec<usize> {
        (0..self.connections.len())
            .filter(|at| wanted(&self.connections[*at]))
            .collect()
    }

    fn sweep(&mut self) {
        let site = self.site;
        for host in 0..site.hosts.len() {
            self.sample_host(host);
        }
        for name in 0..site.names.len() {
            let of = self.of(|it| it.seen.group.2 == name);
            if of.is_empty() {
                continue;
            }
            self.flip(self.parameters.bad_origin, &of, |it, value| {
                it.bad[name] = value;
            });
            self.sample_bypass(name, &of);
        }
        for app in 0..site.apps.len() {
            self.sample_app(app);
        }
        if self.knowledge == Knowledge::OfAJudge {
            for domain in 0..self.domain_pinned.len() {
                self.sample_domain(domain);
            }
        } else {
            self.sample_services();
        }
        for at in 0..self.connections.len() {
            self.place(at);
        }
    }

    fn sample_services(&mut self) {
        let site = self.site;
        for service in 0..site.parameters.services {
            let of = self.of(|it| {
                let own = site.apps[it.app].service == Some(service);
                own && site.names[it.seen.group.2].service == Some(service)
            });
            self.flip(site.parameters.service_pins, &of, |it, value| {
                it.service_pins[service] = value;
            });
        }
    }

    /// Samples whether a domain's own apps pin it, by the apps that do.
    fn sample_domain(&mut self, domain: usize) {
        let mut odds = DOMAIN_PINNED / (1.0 - DOMAIN_PINNED);
        for ((_, of), pins) in &self.pins {
            if *of == domain {
                odds *= if *pins {
                    PINS_SUCH / PINS_OTHER
                } else {
                    (1.0 - PINS_SUCH) / (1.0 - PINS_OTHER)
                };
            }
        }
        self.domain_pinned[domain] = unit(self.random) < odds / (1.0 + odds);
    }

    fn sample_app(&mut self, app: usize) {
        let site = self.site;
        let of = self.of(|it| it.app == app);
        if of.is_empty() {
            return;
        }
        let parameters = self.parameters.clone();
        self.flip(parameters.store_lacks, &of, |it, value| {
            it.store_lacks[app] = value;
        });
        self.flip(0.5, &of, |it, value| it.says_unknown[app] = value);
        if self.knowledge == Knowledge::OfAJudge {
            self.sample_pins_of_domains(app, &of);
            return;
        }
        if site.apps[app].service.is_some() {
            self.flip(parameters.pins_all, &of, |it, value| {
                it.pins_all[app] = value;
            });
            return;
        }
        let mut names: Vec<usize> = of
            .iter()
            .map(|at| self.connections[*at].seen.group.2)
            .collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let of: Vec<usize> = of
                .iter()
                .copied()
                .filter(|at| self.connections[*at].seen.group.2 == name)
                .collect();
            // A service's names are visited by general apps, too, and pinned by none.
            let prior = match site.names[name].service {
                Some(_) => 0.0,
                None => parameters.app_pins,
            };
            self.flip(prior, &of, |it, value| {
                it.pins.insert((app, name), value);
            });
        }
    }

    /// Samples whether an app pins all, and which domains, with a judge's knowledge.
    fn sample_pins_of_domains(&mut self, app: usize, of: &[usize]) {
        self.flip(self.parameters.pins_all, of, |it, value| {
            it.pins_all[app] = value;
        });
        let domain = |it: &Self, at: usize| it.domains[it.connections[at].seen.group.2];
        let mut domains: Vec<usize> = of.iter().map(|at| domain(self, *at)).collect();
        domains.sort_unstable();
        domains.dedup();
        for number in domains {
            let of: Vec<usize> = of
                .iter()
                .copied()
                .filter(|at| domain(self, *at) == number)
                .collect();
            let prior = if self.domain_pinned[number] {
                PINS_SUCH
            } else {
                PINS_OTHER
            };
            self.flip(prior, &of, |it, value| {
                it.pins.insert((app, number), value);
            });
        }
    }

    fn sample_bypass(&mut self, name: usize, of: &[usize]) {
        let seen = of.iter().map(|at| self.connections[*at].seen.status);
        let known = seen.clone().find(|status| *status != Intercepted::Unknown);
        self.bypassed[name] = match known {
            Some(status) => status == Intercepted::No,
            None => {
                let parameters = &self.parameters;
                let [open, shown] = [0.5_f64, 1.0 - parameters.known].map(|share| {
                    let share = share.max(1e-9) * (1.0 - parameters.readable);
                    share.ln() * of.len() as f64
                });
                let prior = parameters.bypassed * open.exp();
                let other = (1.0 - parameters.bypassed) * shown.exp();
                let prior = prior / (prior + other).max(f64::MIN_POSITIVE);
                self.flip(prior, of, |it, value| it.bypassed[name] = value);
                return;
            }
        };
    }

    /// Samples when a host got the CA: from the start, between two of its connections, or never.
    fn sample_host(&mut self, host: usize) {
        let of = self.of(|it| it.host == host);
        let parameters = &self.parameters;
        let mut choices = vec![(0.0, 1.0 - parameters.lacks_ca)];
        let mut since = 0.0;
        let gets_it = parameters.lacks_ca * parameters.rolled_out;
        let times = of.iter().map(|at| self.connections[*at].seen.when);
        for until in times.chain([1.0]) {
            let middle = f64::midpoint(since, until);
            choices.push((middle.max(f64::MIN_POSITIVE), gets_it * (until - since)));
            since = until;
        }
        choices.push((2.0, parameters.lacks_ca * (1.0 - parameters.rolled_out)));
        // Each choice differs from the one before in one connection.
        let likelihoods: Vec<[f64; 2]> = of
            .iter()
            .map(|at| {
                [2.0, 0.0].map(|ca_from| {
                    self.ca_from[host] = ca_from;
                    self.likelihood(&self.connections[*at]).ln()
                })
            })
            .collect();
        let with: f64 = likelihoods.iter().map(|[_, with]| with).sum();
        let mut logs = vec![with, with];
        let mut log = with;
        for [without, with] in &likelihoods {
            log += without - with;
            logs.push(log);
        }
        logs.push(log);
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logs
            .iter()
            .zip(&choices)
            .map(|(log, (_, prior))| prior * (log - most).exp())
            .collect();
        let mut rest = unit(self.random) * weights.iter().sum::<f64>();
        let chosen = weights.iter().position(|weight| {
            rest -= weight;
            rest <= 0.0
        });
        self.ca_from[host] = choices[chosen.unwrap_or(0)].0;
    }

    /// Samples the host and the program behind a connection, where several may be.
    fn place(&mut self, at: usize) {
        let hosts = self.connections[at].hosts.clone();
        let apps = self.connections[at].apps.clone();
        if hosts.len() * apps.len() <= 1 {
            return;
        }
        let mut weights = Vec::new();
        for host in &hosts {
            for app in &apps {
                if !self.site.apps[*app].hosts.contains(host) {
                    continue;
                }
                self.connections[at].host = *host;
                self.connections[at].app = *app;
                weights.push((*host, *app, self.likelihood(&self.connections[at])));
            }
        }
        let mut rest = unit(self.random) * weights.iter().map(|(.., weight)| weight).sum::<f64>();
        for (host, app, weight) in weights {
            self.connections[at].host = host;
            self.connections[at].app = app;
            rest -= weight;
            if rest <= 0.0 {
                break;
            }
        }
    }
}
