use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::*;

const NAME: &str = "www.origin.test";
const BOTH: &[&SupportedProtocolVersion] = rustls::ALL_VERSIONS;
const ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
const ONLY_13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

fn ca(name: &str) -> Ca {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let issuer = Issuer::new(params, key);
    Ca {
        issuer,
        certificate,
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn key_of(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

/// A certificate of the CA, changed by `change`.
fn issued(ca: &Ca, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, NAME);
    change(&mut params);
    let certificate = params.signed_by(&key, &ca.issuer).unwrap();
    (vec![certificate.der().clone()], key_of(&key))
}

fn self_signed() -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, NAME);
    (
        vec![params.self_signed(&key).unwrap().der().clone()],
        key_of(&key),
    )
}

/// Serves handshakes until the test ends; returns the port.
fn serve(config: ServerConfig) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(config);
    thread_of(listener, move |mut stream| {
        let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        while connection
            .complete_io(&mut stream)
            .is_ok_and(|done| done != (0, 0))
        {}
    });
    port
}

fn thread_of(listener: TcpListener, serve: impl Fn(std::net::TcpStream) + Send + 'static) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap());
        }
    });
}

fn config(identity: Identity, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.0, identity.1)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

fn options(ca: &Ca) -> Options {
    let mut roots = Roots::empty();
    assert_eq!(roots.add(vec![ca.certificate.clone()]), 1);
    Options {
        connect: Some(Ipv4Addr::LOCALHOST.into()),
        source: None,
        mark: None,
        timeout: Duration::from_secs(20),
        roots,
        inspection_cas: Vec::new(),
        own: OwnConnections::default(),
    }
}

fn asked(port: u16, options: &Options) -> Report {
    let target = Target {
        name: NAME.to_owned(),
        port,
    };
    probe(&target, options)
}

#[rstest::rstest]
#[case(BOTH, "1.3", Some(true), Some(true))]
#[case(ONLY_13, "1.3", Some(false), Some(true))]
#[case(ONLY_12, "1.2", Some(true), Some(false))]
fn a_valid_certificate_is_called_so_whatever_the_version(
    #[case] versions: &[&'static SupportedProtocolVersion],
    #[case] chosen: &str,
    #[case] tls12: Option<bool>,
    #[case] tls13: Option<bool>,
) {
    let ca = ca("Origin CA");
    let port = serve(config(issued(&ca, |_| {}), versions));
    let report = asked(port, &options(&ca));
    assert_eq!(
        (report.outcome, report.problem),
        (Outcome::Valid, None),
        "{report}"
    );
    assert_eq!(report.tls_version.as_deref(), Some(chosen));
    assert_eq!(report.versions, VersionSupport { tls12, tls13 });
    assert_eq!(report.alpn.as_deref(), Some("http/1.1"));
    assert_eq!(report.client_certificate, Some(ClientCertificate::NotAsked));
    assert_eq!(report.chain[0].names, [NAME]);
    assert_eq!(report.chain[0].issuer, "CN=Origin CA");
}

fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2020, 2, 1);
}

fn of_the_future(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(3020, 1, 1);
    params.not_after = date_time_ymd(3020, 2, 1);
}

fn for_another(params: &mut CertificateParams) {
    *params = CertificateParams::new(vec!["other.test".to_owned()]).unwrap();
}

#[rstest::rstest]
#[case(expired, Problem::Expired, "expired at 2020-02-01")]
#[case(of_the_future, Problem::NotYetValid, "valid from 3020-01-01")]
#[case(for_another, Problem::WrongName, "it is for other.test")]
fn the_mistake_is_named(
    #[case] change: fn(&mut CertificateParams),
    #[case] problem: Problem,
    #[case] detail: &str,
) {
    let ca = ca("Origin CA");
    let port = serve(config(issued(&ca, change), BOTH));
    let report = asked(port, &options(&ca));
    assert_eq!(
        (report.outcome, report.problem),
        (Outcome::Invalid, Some(problem)),
        "{report}"
    );
    assert!(report.detail.as_ref().unwrap().contains(detail), "{report}");
}

#[test]
fn an_issuer_that_is_not_trusted_is_named() {
    let port = serve(config(issued(&ca("Other CA"), |_| {}), BOTH));
    let report = asked(port, &options(&ca("Origin CA")));
    assert_eq!(report.problem, Some(Problem::UnknownIssuer), "{report}");
    assert!(
        report.detail.as_ref().unwrap().contains("CN=Other CA"),
        "{report}"
    );
    let port = serve(config(self_signed(), BOTH));
    let report = asked(port, &options(&ca("Origin CA")));
    assert_eq!(report.problem, Some(Problem::SelfSigned), "{report}");
}

/// `openssl req -x509` makes a CA's certificate, `openssl x509` and many devices one without constraints.
#[rstest::rstest]
#[case::of_a_ca(|it: &mut CertificateParams| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), None, true)]
#[case::of_no_ca(|_: &mut CertificateParams| (), None, false)]
#[case::expired(expired, Some(Problem::Expired), false)]
#[case::of_the_future(of_the_future, Some(Problem::NotYetValid), false)]
#[case::for_another(for_another, Some(Problem::WrongName), false)]
#[case::for_clients(
    |it: &mut CertificateParams| {
        it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    },
    Some(Problem::WrongUse),
    false
)]
fn a_certificate_may_be_trusted_itself(
    #[case] change: fn(&mut CertificateParams),
    #[case] problem: Option<Problem>,
    #[case] is_said: bool,
) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    change(&mut params);
    params.distinguished_name.push(DnType::CommonName, "box");
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let mut options = options(&ca("Origin CA"));
    options.roots.add(vec![certificate.clone()]);
    let port = serve(config((vec![certificate], key_of(&key)), BOTH));
    let report = asked(port, &options);
    assert_eq!(report.problem, problem, "{report}");
    let is_valid = report.outcome == Outcome::Valid;
    assert_eq!(is_valid, problem.is_none(), "{report}");
    // Of a certificate without constraints webpki makes a root that signed itself.
    let said = report.detail.as_deref().unwrap_or_default();
    assert_eq!(said.contains("itself among"), is_said, "{report}");
}

#[test]
fn an_interceptor_proves_nothing_even_if_its_ca_is_trusted() {
    let ca = ca("Inspection CA");
    let port = serve(config(issued(&ca, |_| {}), BOTH));
    let mut options = options(&ca);
    assert_eq!(asked(port, &options).outcome, Outcome::Valid);
    options.inspection_cas = vec!["CN=Inspection CA".parse().unwrap()];
    let report = asked(port, &options);
    assert_eq!(
        (report.outcome, report.problem),
        (Outcome::Intercepted, None),
        "{report}"
    );
}

#[rstest::rstest]
#[case(BOTH, false, ClientCertificate::Required)]
#[case(ONLY_12, false, ClientCertificate::Required)]
#[case(BOTH, true, ClientCertificate::Optional)]
#[case(ONLY_12, true, ClientCertificate::Optional)]
fn a_client_certificate_that_is_wanted_is_said(
    #[case] versions: &[&'static SupportedProtocolVersion],
    #[case] optional: bool,
    #[case] expected: ClientCertificate,
) {
    let ca = ca("Origin CA");
    let roots = Arc::new(options(&ca).roots.store);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let verifier = if optional {
        verifier.allow_unauthenticated()
    } else {
        verifier
    };
    let identity = issued(&ca, |_| {});
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(identity.0, identity.1)
        .unwrap();
    let report = asked(serve(config), &options(&ca));
    assert_eq!(report.outcome, Outcome::Valid, "{report}");
    assert_eq!(report.client_certificate, Some(expected), "{report}");
    assert_eq!(report.versions.tls12, Some(true), "{report}");
}

#[test]
fn what_is_no_tls_server_proves_nothing() {
    let ca = ca("Origin CA");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread_of(listener, |mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let report = asked(port, &options(&ca));
    assert_eq!(
        (report.outcome, report.client_certificate),
        (Outcome::Failed, None)
    );
    let detail = report.detail.unwrap();
    assert!(detail.contains("does not speak TLS"), "{detail}");
}

#[test]
fn an_alert_has_its_name_of_the_registry() {
    let ca = ca("Origin CA");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread_of(listener, |mut stream| {
        // It is read first: closing with unread bytes would send a reset.
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
        let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 112]);
    });
    let detail = asked(port, &options(&ca)).detail.unwrap();
    assert!(
        detail.contains("the server answered with the alert unrecognized_name (112)"),
        "{detail}"
    );
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    let ca = ca("Origin CA");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let options = Options {
        timeout: Duration::from_millis(300),
        ..options(&ca)
    };
    let report = asked(listener.local_addr().unwrap().port(), &options);
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(report.detail.unwrap().contains("took too long"));
}

#[test]
fn a_port_without_a_server_is_said() {
    let ca = ca("Origin CA");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let detail = asked(port, &options(&ca)).detail.unwrap();
    assert!(
        detail.starts_with("cannot connect to 127.0.0.1:"),
        "{detail}"
    );
}

#[test]
fn without_roots_nothing_is_judged() {
    let ca = ca("Origin CA");
    let port = serve(config(issued(&ca, |_| {}), BOTH));
    let options = Options {
        roots: Roots::empty(),
        ..options(&ca)
    };
    let report = asked(port, &options);
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(report.detail.unwrap().contains("no root certificates"));
}
