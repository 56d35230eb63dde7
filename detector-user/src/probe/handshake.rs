//! One handshake with an origin, which shows its certificate whether or not that is valid.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct,
    Error, ProtocolVersion, RootCertStore, SignatureScheme,
};

use x509_parser::prelude::{FromDer, X509Certificate};

use super::ProbeError;
use super::connect::Stream;
use super::roots::Roots;
use crate::verdict;

/// Protocols that are offered.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// Longest wait after the handshake for a refusal of a missing client certificate.
const REFUSAL: Duration = Duration::from_millis(500);

/// Versions that are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Versions {
    All,
    Only12,
}

/// The result of one handshake.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// The server's certificates, its own first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The mistake in them, if there is one.
    pub(super) problem: Option<CertificateError>,
    /// Whether the server's own certificate is itself one of those that are trusted, and no chain leads to
    /// another.
    pub(super) is_trusted_itself: bool,
    /// The version that the server chose.
    pub(super) version: Option<&'static str>,
    pub(super) cipher_suite: Option<String>,
    pub(super) alpn: Option<String>,
    /// Whether the server asked for a client certificate.
    pub(super) asked: bool,
    /// Whether it refused that none came.
    pub(super) refused: bool,
    /// Whether it refused the versions that were offered.
    pub(super) refused_version: bool,
    /// Why the handshake was not completed.
    pub(super) failure: Option<String>,
}

/// Records the chain and its mistake, and lets the handshake go on in any case.
#[derive(Debug)]
struct Recorder {
    verifier: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
    seen: Mutex<Option<Seen>>,
}

/// The chain, its mistake, and whether the server's own certificate is itself trusted.
type Seen = (Vec<CertificateDer<'static>>, Option<CertificateError>, bool);

impl Recorder {
    /// Returns the mistake in a certificate without a chain to a root, if it is itself trusted. webpki takes no
    /// self-signed certificate for a server's, OpenSSL and with it curl do.
    fn trusted_itself(
        &self,
        leaf: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Option<Option<CertificateError>> {
        if !self.trusted.iter().any(|one| one == leaf) {
            return None;
        }
        let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
        let now = i64::try_from(now.as_secs()).ok()?;
        let uses = parsed.extended_key_usage().ok().flatten();
        let serves = uses.is_none_or(|it| it.value.any || it.value.server_auth);
        Some(if parsed.validity().not_after.timestamp() < now {
            Some(CertificateError::Expired)
        } else if now < parsed.validity().not_before.timestamp() {
            Some(CertificateError::NotValidYet)
        } else if !serves {
            Some(CertificateError::InvalidPurpose)
        } else {
            let named =
                ParsedCertificate::try_from(leaf).and_then(|leaf| verify_server_name(&leaf, name));
            named.err().map(as_mistake)
        })
    }
}

fn as_mistake(error: Error) -> CertificateError {
    match error {
        Error::InvalidCertificate(mistake) => mistake,
        _ => CertificateError::BadEncoding,
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let result = self
            .verifier
            .verify_server_cert(leaf, intermediates, name, ocsp, now);
        let problem = result.err().map(as_mistake);
        let itself = match &problem {
            Some(CertificateError::UnknownIssuer | CertificateError::Other(_)) => {
                self.trusted_itself(leaf, name, now)
            }
            _ => None,
        };
        let is_trusted_itself = itself.is_some();
        let problem = itself.unwrap_or(problem);
        let chain = [leaf].into_iter().chain(intermediates);
        let chain = chain.map(|one| one.clone().into_owned()).collect();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((chain, problem, is_trusted_itself));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Records that the server asks for a client certificate, and has none.
#[derive(Debug, Default)]
struct NoCertificate {
    asked: AtomicBool,
}

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        // Otherwise it is not asked.
        true
    }
}

/// Runs a handshake to its end or to the deadline, and sends no application data.
///
/// # Errors
/// If the library cannot begin: the network's failures are in the result.
pub(super) fn handshake(
    mut stream: Stream,
    name: &ServerName<'static>,
    roots: &Roots,
    versions: Versions,
    deadline: Instant,
) -> Result<Attempt, ProbeError> {
    let provider = Arc::new(ring::default_provider());
    let recorder = Arc::new(Recorder {
        verifier: verifier(&roots.store, &provider)?,
        trusted: roots.certificates.clone(),
        seen: Mutex::new(None),
    });
    let no_certificate = Arc::new(NoCertificate::default());
    let offered: &[&rustls::SupportedProtocolVersion] = match versions {
        Versions::All => rustls::ALL_VERSIONS,
        Versions::Only12 => &[&rustls::version::TLS12],
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(offered)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&recorder) as _)
        .with_client_cert_resolver(Arc::clone(&no_certificate) as _);
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    let mut connection = ClientConnection::new(Arc::new(config), name.clone())?;
    let mut attempt = Attempt::default();
    let mut failure = complete(&mut connection, &mut stream, deadline);
    // Known from the ServerHello on, also where the handshake fails later.
    attempt.version = connection.protocol_version().map(version);
    let suite = connection.negotiated_cipher_suite();
    attempt.cipher_suite = suite.and_then(|it| it.suite().as_str().map(str::to_owned));
    let alpn = connection.alpn_protocol();
    attempt.alpn = alpn.map(|it| String::from_utf8_lossy(it).into_owned());
    if failure.is_none() && no_certificate.asked.load(Ordering::Relaxed) {
        stream.end_at(deadline.min(Instant::now() + REFUSAL));
        failure = refusal(&mut connection, &mut stream);
        stream.end_at(deadline);
    }
    attempt.asked = no_certificate.asked.load(Ordering::Relaxed);
    attempt.refused = attempt.asked && failure.is_some();
    attempt.refused_version = matches!(
        failure,
        Some(Failure::Alert(AlertDescription::ProtocolVersion))
    ) || matches!(failure, Some(Failure::Alert(AlertDescription::HandshakeFailure)) if !attempt.asked);
    attempt.failure = failure.map(|failure| failure.to_string());
    connection.send_close_notify();
    // The connection ends in any case.
    let _ = connection.write_tls(&mut stream);
    let seen = recorder
        .seen
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    (attempt.chain, attempt.problem, attempt.is_trusted_itself) = seen.unwrap_or_default();
    Ok(attempt)
}

fn verifier(
    roots: &RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, ProbeError> {
    let roots = Arc::new(roots.clone());
    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|_| ProbeError::NoRoots)
}

/// The end of a handshake that was not completed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the server answered with the alert {}", verdict::AlertDescription::from(u8::from(*.0)))]
    Alert(AlertDescription),
    #[error("the server does not speak TLS here: {0}")]
    Tls(Error),
    #[error("the server closed the connection")]
    Closed,
    #[error("the server took too long")]
    TooLong,
    #[error("{0}")]
    System(std::io::Error),
}

fn complete(
    connection: &mut ClientConnection,
    stream: &mut Stream,
    deadline: Instant,
) -> Option<Failure> {
    while connection.is_handshaking() {
        if Instant::now() >= deadline {
            return Some(Failure::TooLong);
        }
        if let Err(error) = connection.complete_io(stream) {
            return Some(failure(error));
        }
    }
    None
}

/// Returns the server's refusal after the handshake, if one comes soon.
fn refusal(connection: &mut ClientConnection, stream: &mut Stream) -> Option<Failure> {
    loop {
        match connection.complete_io(stream) {
            Ok((0, 0)) => return None,
            Ok(_) => {}
            Err(error) => {
                return match failure(error) {
                    Failure::TooLong => None,
                    failure => Some(failure),
                };
            }
        }
    }
}

fn failure(error: std::io::Error) -> Failure {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    match (inner, error.kind()) {
        (Some(Error::AlertReceived(alert)), _) => Failure::Alert(*alert),
        (Some(inner), _) => Failure::Tls(inner.clone()),
        (None, ErrorKind::UnexpectedEof) => Failure::Closed,
        (None, ErrorKind::TimedOut) => Failure::TooLong,
        (None, _) => Failure::System(error),
    }
}

fn version(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_3 => "1.3",
        _ => "1.2",
    }
}
