//! The TLS of a client: the CA that servers are judged by, and its own certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::http::tls::{TlsError, certificates};

/// Files of a client's TLS, read again for each connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// CA that servers are judged by, in PEM; `None`: the platform's.
    pub ca: Option<PathBuf>,
    /// The client's own certificate, with its chain, in PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, in PEM.
    pub key: Option<PathBuf>,
}

impl ClientTlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let unusable = |path: &Path, reason: &dyn ToString| TlsError::Unusable {
            path: path.to_owned(),
            reason: reason.to_string(),
        };
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                let (added, _) = roots.add_parsable_certificates(certificates(path)?);
                if added == 0 {
                    return Err(unusable(path, &"it holds no certificate"));
                }
            }
            None => {
                let platform = rustls_native_certs::load_native_certs().certs;
                roots.add_parsable_certificates(platform);
            }
        }
        let place = self.certificate.as_deref().or(self.ca.as_deref());
        let place = place.unwrap_or_else(|| Path::new("TLS"));
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(place, &error))?
            .with_root_certificates(roots);
        let config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let key =
                    PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Unreadable {
                        path: key.clone(),
                        source,
                    })?;
                let built = builder.with_client_auth_cert(chain, key);
                built.map_err(|error| unusable(certificate, &error))?
            }
            (Some(path), None) | (None, Some(path)) => {
                return Err(unusable(path, &"certificate and key need each other"));
            }
            (None, None) => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}
