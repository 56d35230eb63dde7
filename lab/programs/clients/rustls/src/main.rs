//! A client of rustls; request.sh names the arguments. Its pin is checked by its certificate
//! verifier, within the handshake.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, StreamOwned, version,
};

const PATIENCE: Duration = Duration::from_secs(20);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Checks what WebPKI checks, then that the certificate is the pinned one.
#[derive(Debug)]
struct Pinning {
    webpki: Arc<WebPkiServerVerifier>,
    certificate_sha256_hex: String,
}

impl ServerCertVerifier for Pinning {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Error> {
        self.webpki
            .verify_server_cert(certificate, intermediates, name, ocsp, now)?;
        if sha256_hex(certificate) != self.certificate_sha256_hex {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        self.webpki
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        self.webpki
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    let digest = aws_lc_rs_digest(bytes);
    digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Returns SHA-256 by the provider's own hash, so that no crate is needed for it.
fn aws_lc_rs_digest(bytes: &[u8]) -> Vec<u8> {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let rustls::SupportedCipherSuite::Tls13(suite) = suite else {
        unreachable!("a TLS 1.3 suite is one");
    };
    let hash = suite.common.hash_provider.hash(bytes);
    hash.as_ref().to_vec()
}

fn configuration(arguments: &[String]) -> Result<ClientConfig> {
    let [_, _, _, version, ca, _, fingerprint, certificate, key, _] = arguments else {
        return Err("wrong number of arguments".into());
    };
    let mut roots = RootCertStore::empty();
    if ca == "-" {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    } else {
        for certificate in CertificateDer::pem_file_iter(ca)? {
            roots.add(certificate?)?;
        }
    }
    let versions: &[_] = match version.as_str() {
        "tls12" => &[&version::TLS12],
        "tls13" => &[&version::TLS13],
        _ => rustls::ALL_VERSIONS,
    };
    let builder = ClientConfig::builder_with_protocol_versions(versions);
    let webpki = WebPkiServerVerifier::builder(Arc::new(roots)).build()?;
    let builder = if fingerprint == "-" {
        builder.with_webpki_verifier(webpki)
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinning {
                webpki,
                certificate_sha256_hex: fingerprint.to_lowercase(),
            }))
    };
    if certificate == "-" {
        return Ok(builder.with_no_client_auth());
    }
    let chain =
        CertificateDer::pem_file_iter(certificate)?.collect::<std::result::Result<_, _>>()?;
    Ok(builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?)
}

/// Makes one request over a connection of its own.
fn request(configuration: &Arc<ClientConfig>, host: &str, port: &str, path: &str) -> Result<()> {
    let mut addresses = (host, port.parse()?).to_socket_addrs()?;
    let address = addresses.next().ok_or("the name has no address")?;
    let tcp = TcpStream::connect_timeout(&address, PATIENCE)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(host.to_owned())?;
    let connection = ClientConnection::new(Arc::clone(configuration), name)?;
    let mut stream = StreamOwned::new(connection, tcp);
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        // Many a server closes without close_notify; its data before that count.
        if answer.is_empty() || error.kind() != std::io::ErrorKind::UnexpectedEof {
            return Err(error.into());
        }
    }
    stream.conn.send_close_notify();
    // The server may be gone already.
    let _ = stream.flush();
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split_whitespace().nth(1).unwrap_or_default();
    if !status.starts_with(['2', '3']) {
        return Err(format!("answered with HTTP {status}").into());
    }
    Ok(())
}

fn run(arguments: &[String]) -> Result<()> {
    let configuration = Arc::new(configuration(arguments)?);
    let [host, port, path, .., times] = arguments else {
        return Err("wrong number of arguments".into());
    };
    for _ in 0..times.parse()? {
        request(&configuration, host, port, path)?;
    }
    Ok(())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Err(error) = run(&arguments) {
        println!("{error}");
        std::process::exit(1);
    }
}
