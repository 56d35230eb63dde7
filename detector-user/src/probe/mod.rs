//! Probes: whether an origin's own certificate is valid for its name.
//!
//! In: a [`Target`] and [`Options`]. Out: a [`Report`]. A probe is a handshake of this machine with the
//! origin, without any application data; it is the only part of tlswhy that sends packets, and runs on
//! request: of a user, or of the history where the configuration allows it. Validity is judged by rustls with the platform's roots. Not here: the causes of failed
//! connections, and revocation, which most clients do not check either.
#![forbid(unsafe_code)]

mod connect;
mod handshake;
mod own;
mod report;
mod roots;
mod target;
#[cfg(test)]
mod tests;
mod text;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;

use crate::cause::inspection_ca::InspectionCa;
use handshake::{Attempt, Versions, handshake};
pub use own::OwnConnections;
pub use report::{Certificate, ClientCertificate, Outcome, Problem, Report, VersionSupport};
pub use roots::{Roots, RootsError, roots};
pub use target::{Target, TargetError};

/// Options of a probe.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address to connect to instead of the name's.
    pub connect: Option<IpAddr>,
    /// Address to connect from, so that an interceptor may let it pass.
    pub source: Option<IpAddr>,
    /// Mark of the socket (SO_MARK), for the same purpose.
    pub mark: Option<u32>,
    /// Longest time in all.
    pub timeout: Duration,
    /// Roots of trust.
    pub roots: Roots,
    /// CAs of interceptors: what they signed says nothing about the origin.
    pub inspection_cas: Vec<InspectionCa>,
    /// Where the probe's own connections are recorded.
    pub own: OwnConnections,
}

/// Asks the origin.
#[must_use]
pub fn probe(target: &Target, options: &Options) -> Report {
    let mut report = Report::new(target);
    let deadline = Instant::now() + options.timeout;
    if let Err(error) = ask(target, options, deadline, &mut report) {
        report.fail(&error);
    }
    report
}

fn ask(
    target: &Target,
    options: &Options,
    deadline: Instant,
    report: &mut Report,
) -> Result<(), ProbeError> {
    let name = ServerName::try_from(target.name.clone())
        .map_err(|_| ProbeError::Name(target.name.clone()))?;
    let addresses = match options.connect {
        Some(address) => vec![SocketAddr::new(address, target.port)],
        None => connect::resolve(target, deadline)?,
    };
    let (address, stream) = connect::connect(&addresses, options, deadline)?;
    report.address = Some(address);
    let first = handshake(stream, &name, &options.roots, Versions::All, deadline)?;
    report.record(&first, &options.inspection_cas);
    if first.chain.is_empty() {
        return Err(ProbeError::NoCertificate(first.failure.unwrap_or_default()));
    }
    report.versions = versions(&first, |versions| {
        let (_, stream) = connect::connect(&[address], options, deadline)?;
        handshake(stream, &name, &options.roots, versions, deadline)
    });
    Ok(())
}

/// Returns the versions that the server speaks, for which it is asked once more for an older one.
fn versions(
    first: &Attempt,
    again: impl FnOnce(Versions) -> Result<Attempt, ProbeError>,
) -> VersionSupport {
    let is_13 = first.version == Some("1.3");
    let tls12 = match is_13 {
        false => Some(true),
        true => again(Versions::Only12)
            .ok()
            .and_then(|second| match second.version {
                Some(_) => Some(true),
                None => second.refused_version.then_some(false),
            }),
    };
    VersionSupport {
        tls12,
        tls13: Some(is_13),
    }
}

/// Failure of a probe: nothing is known about the certificate.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The name is none that certificates can have.
    #[error("{0} is neither a host name nor an address")]
    Name(String),
    /// The name has no address.
    #[error("cannot resolve {name}: {source}")]
    Resolve {
        /// The name.
        name: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The connection cannot be made.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// The socket does not take an option.
    #[error("cannot set {option} of the socket: {source}; {fix}")]
    Socket {
        /// The option.
        option: &'static str,
        /// The system's error.
        source: std::io::Error,
        /// The fix.
        fix: &'static str,
    },
    /// The handshake ended before a certificate.
    #[error("no certificate came: {0}")]
    NoCertificate(String),
    /// Nobody is trusted.
    #[error(
        "this machine has no root certificates; install the package ca-certificates, or give --ca"
    )]
    NoRoots,
    /// The TLS library refuses.
    #[error("cannot begin a handshake: {0}")]
    Tls(#[from] rustls::Error),
}
