//! The permission to read: TLS, client certificates, and basic authentication (RFC 7617).

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;

use super::plain;
use super::tls::{TlsError, TlsFiles};

/// Settings of who may read; by default everybody, by HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessSettings {
    /// Certificate of the server, in PEM; `None`: HTTP.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// CA whose certificates clients must show.
    pub client_ca: Option<PathBuf>,
    /// User of basic authentication.
    pub user: Option<String>,
    /// File with the user's password.
    pub password_file: Option<PathBuf>,
}

/// Failure to use the settings.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The files of its TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The password cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The password is empty.
    #[error("the file {} is empty", .0.display())]
    NoPassword(PathBuf),
    /// A key needs others.
    #[error("{section}.{key} needs {needed}")]
    Needs {
        /// Table of the configuration.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// The others.
        needed: &'static str,
    },
}

impl AccessSettings {
    /// Whether clients must prove who they are.
    #[must_use]
    pub const fn is_restricted(&self) -> bool {
        self.client_ca.is_some() || self.user.is_some()
    }

    /// Reads the files of TLS, as the table `section` of the configuration names them; `None`: HTTP.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn acceptor(&self, section: &'static str) -> Result<Option<TlsAcceptor>, AccessError> {
        let needs = |key, needed| AccessError::Needs {
            section,
            key,
            needed,
        };
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let files = TlsFiles {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    client_ca: self.client_ca.clone(),
                };
                Ok(Some(files.acceptor()?))
            }
            (None, None) if self.client_ca.is_none() => Ok(None),
            (None, None) => Err(needs("client_ca", "certificate and key")),
            (Some(_), None) => Err(needs("certificate", "key")),
            (None, Some(_)) => Err(needs("key", "certificate")),
        }
    }

    /// Reads the password; `None`: everybody may read.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn credentials(
        &self,
        section: &'static str,
    ) -> Result<Option<BasicCredentials>, AccessError> {
        let needs = |key, needed| AccessError::Needs {
            section,
            key,
            needed,
        };
        let (user, path) = match (&self.user, &self.password_file) {
            (Some(user), Some(path)) => (user, path),
            (None, None) => return Ok(None),
            (Some(_), None) => return Err(needs("user", "password_file")),
            (None, Some(_)) => return Err(needs("password_file", "user")),
        };
        let text = fs::read_to_string(path).map_err(|source| AccessError::Password {
            path: path.clone(),
            source,
        })?;
        let password = text.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(AccessError::NoPassword(path.clone()));
        }
        Ok(Some(BasicCredentials::new(user, password)))
    }
}

/// The credentials that requests need: as a digest, so that comparing tells nothing about them.
#[derive(Debug, Clone)]
pub struct BasicCredentials([u8; 32]);

impl BasicCredentials {
    fn new(user: &str, password: &str) -> Self {
        let credentials = STANDARD.encode(format!("{user}:{password}"));
        Self(Sha256::digest(credentials).into())
    }

    /// Returns the refusal of a request without them.
    pub(crate) fn refusal<B>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        if self.permits(request) {
            return None;
        }
        let text = "authentication is required".to_owned();
        let mut answer = plain(StatusCode::UNAUTHORIZED, text);
        let challenge = HeaderValue::from_static("Basic realm=\"tlswhy\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        Some(answer)
    }

    fn permits<B>(&self, request: &Request<B>) -> bool {
        let given = request.headers().get(AUTHORIZATION);
        let given = given.and_then(|it| it.to_str().ok());
        let Some((scheme, credentials)) = given.and_then(|it| it.split_once(' ')) else {
            return false;
        };
        let digest: [u8; 32] = Sha256::digest(credentials.trim()).into();
        scheme.eq_ignore_ascii_case("basic") && digest == self.0
    }
}
