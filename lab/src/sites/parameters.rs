//! The parameters of a generated site, drawn again for each.

use crate::rewrite::random::Random;

/// Shares between 0 and 1, and counts.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Hosts.
    pub hosts: usize,
    /// Apps that visit names of all kinds.
    pub general_apps: usize,
    /// Services with apps of their own.
    pub services: usize,
    /// Names that belong to no service.
    pub names: usize,
    /// Hosts that lack the CA at first.
    pub lacks_ca: f64,
    /// Of those, hosts that get it during the week.
    pub rolled_out: f64,
    /// Apps whose own store lacks it.
    pub store_lacks: f64,
    /// Services whose apps pin their names.
    pub service_pins: f64,
    /// General apps' names that the app pins.
    pub app_pins: f64,
    /// Service apps that pin whatever they talk to.
    pub pins_all: f64,
    /// Names whose origin's certificate is bad and passed on.
    pub bad_origin: f64,
    /// Whether the interceptor signs such names with another CA.
    pub untrusted_ca: bool,
    /// Connections whose certificate can be read.
    pub readable: f64,
    /// Names that are not intercepted.
    pub bypassed: f64,
    /// Of connections to intercepted names, those that show it by themselves, beside those whose
    /// certificate can be read.
    pub known: f64,
    /// Connections resumed once a name was accepted.
    pub resumed: f64,
    /// Connections that a client drops for its own reasons.
    pub dropped: f64,
    /// Hosts that share an address with others.
    pub shared: f64,
}

impl Parameters {
    /// Returns the means of what [`draw`](Self::draw) draws, as far as the observer weighs it.
    #[must_use]
    pub fn averages() -> Self {
        Self {
            hosts: 13,
            general_apps: 3,
            services: 4,
            names: 17,
            lacks_ca: 0.275,
            rolled_out: 0.2,
            store_lacks: 0.125,
            service_pins: 0.4,
            app_pins: 0.04,
            pins_all: 0.05,
            bad_origin: 0.04,
            untrusted_ca: true,
            readable: 0.3,
            bypassed: 0.15,
            known: 0.5,
            resumed: 0.25,
            dropped: 0.005,
            shared: 0.14,
        }
    }

    /// Draws them.
    #[must_use]
    pub fn draw(random: &mut Random) -> Self {
        Self {
            hosts: range(random, 2, 24),
            general_apps: range(random, 1, 5),
            services: range(random, 1, 8),
            names: range(random, 4, 30),
            lacks_ca: share(random, 0.05, 0.5),
            rolled_out: share(random, 0.0, 0.4),
            store_lacks: share(random, 0.0, 0.25),
            service_pins: share(random, 0.1, 0.7),
            app_pins: share(random, 0.0, 0.08),
            pins_all: share(random, 0.0, 0.1),
            bad_origin: share(random, 0.0, 0.08),
            untrusted_ca: random.one_in(2),
            readable: share(random, 0.0, 0.6),
            bypassed: share(random, 0.0, 0.3),
            known: share(random, 0.1, 0.9),
            resumed: share(random, 0.0, 0.5),
            dropped: share(random, 0.0, 0.01),
            shared: match random.below(4) {
                0 => share(random, 0.1, 1.0),
                _ => 0.0,
            },
        }
    }
}

fn range(random: &mut Random, low: u64, high: u64) -> usize {
    random.between(low, high) as usize
}

fn share(random: &mut Random, low: f64, high: f64) -> f64 {
    low + (high - low) * unit(random)
}

/// Returns a number from 0 to 1.
pub fn unit(random: &mut Random) -> f64 {
    (random.bits() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Whether something of this probability happens.
pub fn happens(random: &mut Random, probability: f64) -> bool {
    unit(random) < probability
}
