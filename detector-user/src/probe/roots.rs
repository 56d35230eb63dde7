//! Roots of trust: the platform's, and those of files.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

/// A file of root certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// It cannot be read.
    #[error("cannot read certificates from {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: pem::Error,
    },
    /// It holds none.
    #[error("{} holds no X.509 certificate in PEM", .0.display())]
    Empty(PathBuf),
}

/// Certificates that are trusted.
#[derive(Clone, Debug)]
pub struct Roots {
    /// They as roots, to which chains lead.
    pub store: RootCertStore,
    /// The same as they are: a server may show one of them as its own, which chains do not allow for.
    pub certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Returns no roots.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            store: RootCertStore::empty(),
            certificates: Vec::new(),
        }
    }

    /// Adds those of the certificates that can be read; returns their number.
    pub fn add(&mut self, certificates: Vec<CertificateDer<'static>>) -> usize {
        self.certificates.extend(certificates.iter().cloned());
        self.store.add_parsable_certificates(certificates).0
    }
}

/// Returns the platform's roots of trust (`/etc/ssl/certs` and the like, or what `SSL_CERT_FILE` names) and
/// those in files.
///
/// # Errors
/// [`RootsError`]: a file cannot be used.
pub fn roots(files: &[PathBuf]) -> Result<Roots, RootsError> {
    let mut roots = Roots::empty();
    roots.add(rustls_native_certs::load_native_certs().certs);
    for file in files {
        if roots.add(read(file)?) == 0 {
            return Err(RootsError::Empty(file.clone()));
        }
    }
    Ok(roots)
}

fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|source| RootsError::Unreadable {
            path: file.to_owned(),
            source,
        })
}
