//! Inspection CAs: issuers of re-signed certificates, as the operator names them.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;

use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::flow::tls::memo::{Memo, remembered};

/// Bytes read at most: more than any certificate bundle has, so that a mistaken path fills no memory.
const LARGEST_FILE: u64 = 16 << 20;

thread_local! {
    /// Parts of issuers' names.
    static PARTS: RefCell<Memo<Rc<[Part]>>> = RefCell::new(Memo::new(256, 512));
}

/// An issuer of re-signed certificates, given as a file of certificates or by name.
///
/// ```
/// use detector_user::cause::inspection_ca::InspectionCa;
///
/// let ca: InspectionCa = "CN=Inspection CA, O=Example".parse()?;
/// assert!(ca.matches("O=Example, CN=Inspection CA"));
/// assert!(!ca.matches("CN=Inspection CA"));
/// # Ok::<(), detector_user::cause::inspection_ca::InspectionCaError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectionCa {
    given: String,
    names: Vec<Name>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    /// All of a distinguished name's parts, sorted: tools disagree about their order.
    Distinguished(Vec<Part>),
    Common(String),
}

/// An attribute's type and value, both in lower case (RFC 5280 §7.1 compares without case).
type Part = (String, String);

/// A value that names no inspection CA.
#[derive(Debug, thiserror::Error)]
pub enum InspectionCaError {
    /// The value is empty.
    #[error("give a certificate file, or the CA's name such as \"CN=Inspection CA\"")]
    Empty,
    /// It looks like a path, and there is no file.
    #[error("no such file; give a PEM or DER certificate, or the CA's name")]
    NoSuchFile,
    /// The file is there, but cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is no certificate.
    #[error("{} holds no X.509 certificate in PEM or DER", .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file holds a certificate that is damaged.
    #[error("certificate {number} in {} is damaged", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The certificate's number, from 1.
        number: usize,
    },
}

impl InspectionCa {
    /// Whether a certificate whose issuer is written `issuer` (`CN=Inspection CA, O=Example`, in
    /// any order) was made by this CA. A name proves nothing by itself: anybody can choose it.
    #[must_use]
    pub fn matches(&self, issuer: &str) -> bool {
        let parts = remembered(&PARTS, issuer.as_bytes(), |_| parts(issuer).into());
        self.names.iter().any(|name| match name {
            Name::Distinguished(wanted) => **wanted == *parts,
            Name::Common(wanted) => parts
                .iter()
                .any(|(kind, value)| kind == "cn" && value == wanted),
        })
    }

    fn from_file(given: &str, path: &Path) -> Result<Self, InspectionCaError> {
        let read_error = |source| InspectionCaError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(read_error)?;
        let mut bytes = Vec::new();
        file.take(LARGEST_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(read_error)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(InspectionCaError::NoCertificate {
                path: path.to_owned(),
            });
        }
        let names = subjects(&bytes, path)?;
        Ok(Self {
            given: given.to_owned(),
            names,
        })
    }

    fn from_name(given: &str) -> Self {
        let mut names = vec![Name::Common(given.to_lowercase())];
        if given.contains('=') {
            names.push(Name::Distinguished(parts(given)));
        }
        Self {
            given: given.to_owned(),
            names,
        }
    }
}

impl FromStr for InspectionCa {
    type Err = InspectionCaError;

    /// Reads an existing file; takes anything else as a name, unless it can only be meant as a
    /// file.
    fn from_str(given: &str) -> Result<Self, InspectionCaError> {
        let given = given.trim();
        let path = Path::new(given);
        if given.is_empty() {
            Err(InspectionCaError::Empty)
        } else if path.exists() && !path.is_dir() {
            Self::from_file(given, path)
        } else if looks_like_a_path(path) {
            // As a name it would silently never match.
            Err(InspectionCaError::NoSuchFile)
        } else {
            Ok(Self::from_name(given))
        }
    }
}

impl fmt::Display for InspectionCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

fn looks_like_a_path(path: &Path) -> bool {
    let extension = path
        .extension()
        .map(|end| end.to_string_lossy().to_lowercase());
    path.is_absolute()
        || path.starts_with(".")
        || path.starts_with("..")
        || path.is_dir()
        || matches!(extension.as_deref(), Some("pem" | "crt" | "cer" | "der"))
}

fn subjects(bytes: &[u8], path: &Path) -> Result<Vec<Name>, InspectionCaError> {
    let damaged = |number| InspectionCaError::Damaged {
        path: path.to_owned(),
        number,
    };
    let subject = |der: &[u8]| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Name::Distinguished(parts(
            &certificate.subject().to_string(),
        )))
    };
    let mut names = Vec::new();
    for pem in Pem::iter_from_buffer(bytes) {
        let number = names.len() + 1;
        let pem = pem.map_err(|_| damaged(number))?;
        if matches!(pem.label.as_str(), "CERTIFICATE" | "TRUSTED CERTIFICATE") {
            names.push(subject(&pem.contents).ok_or_else(|| damaged(number))?);
        }
    }
    if names.is_empty() {
        let no_certificate = || InspectionCaError::NoCertificate {
            path: path.to_owned(),
        };
        names.push(subject(bytes).ok_or_else(no_certificate)?);
    }
    Ok(names)
}

/// Parses a distinguished name as RFC 4514, OpenSSL and this program write it, and sorts its parts.
fn parts(name: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for piece in name.split([',', '+']) {
        match (piece.split_once('='), parts.last_mut()) {
            (Some((kind, value)), _) if is_attribute_type(kind.trim()) => {
                parts.push((attribute_type(kind), unquoted(value)));
            }
            // A comma within a value: the piece belongs to the one before.
            (_, Some((_, value))) => {
                value.push(',');
                value.push_str(&unquoted(piece));
            }
            (_, None) => {}
        }
    }
    parts.sort();
    parts
}

fn is_attribute_type(kind: &str) -> bool {
    !kind.is_empty()
        && kind
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
}

/// Returns one spelling for the types that tools spell differently.
fn attribute_type(kind: &str) -> String {
    match kind.trim().to_ascii_lowercase().as_str() {
        "e" | "emailaddress" => "email".into(),
        "s" => "st".into(),
        other => other.into(),
    }
}

fn unquoted(value: &str) -> String {
    value
        .trim()
        .trim_matches('"')
        .replace('\\', "")
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use rstest::rstest;

    use super::*;

    fn certificate(names: &[(DnType, &str)]) -> rcgen::Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn parsed(file: &tempfile::NamedTempFile) -> Result<InspectionCa, InspectionCaError> {
        file.path().to_str().unwrap().parse()
    }

    #[rstest]
    #[case("Inspection CA", "CN=Inspection CA", true)]
    #[case("inspection ca", "C=DE, O=Example, CN=Inspection CA", true)]
    #[case("CN=Inspection CA", "CN=Inspection CA", true)]
    #[case("CN=Inspection CA", "CN=Inspection CA, O=Example", false)]
    #[case("CN = Inspection CA, O = Example", "O=Example, CN=Inspection CA", true)]
    #[case(r"CN=Proxy,O=Example\, Inc.", "O=Example, Inc., CN=Proxy", true)]
    #[case("CN=a,emailAddress=x@example.test", "Email=x@example.test, CN=a", true)]
    #[case("Inspection", "CN=Inspection CA", false)]
    #[case("Example", "O=Example, CN=Inspection CA", false)]
    #[case("a=b", "CN=a=b", true)]
    #[case("Inspection CA", "", false)]
    fn a_name_matches(#[case] given: &str, #[case] issuer: &str, #[case] expected: bool) {
        assert_eq!(
            given.parse::<InspectionCa>().unwrap().matches(issuer),
            expected
        );
    }

    #[test]
    fn pem_and_der_files_give_their_subjects() {
        let name = [
            (DnType::OrganizationName, "Example, Inc."),
            (DnType::CommonName, "Prüf CA"),
        ];
        let certificate = certificate(&name);
        for bytes in [certificate.pem().as_bytes(), certificate.der()] {
            let ca = parsed(&file(bytes)).unwrap();
            assert!(ca.matches("CN=Prüf CA, O=Example, Inc."), "{ca:?}");
            assert!(!ca.matches("CN=Prüf CA"), "{ca:?}");
        }
    }

    #[test]
    fn every_certificate_of_a_bundle_counts_and_keys_do_not() {
        let root = certificate(&[(DnType::CommonName, "Root")]);
        let issuing = certificate(&[(DnType::CommonName, "Issuing")]);
        let key = KeyPair::generate().unwrap().serialize_pem();
        let ca = parsed(&file((key + &root.pem() + &issuing.pem()).as_bytes())).unwrap();
        assert!(ca.matches("CN=Root") && ca.matches("CN=Issuing") && !ca.matches("CN=Leaf"));
    }

    #[test]
    fn a_file_that_is_no_certificate_is_said_in_one_line() {
        let der = certificate(&[(DnType::CommonName, "Root")]).der().to_vec();
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let errors = [
            (file(b""), "holds no X.509 certificate"),
            (file(b"not a certificate"), "holds no X.509 certificate"),
            (
                file(der.get(..der.len() / 2).unwrap()),
                "holds no X.509 certificate",
            ),
            (file(damaged.as_bytes()), "certificate 1 in"),
        ];
        for (file, expected) in errors {
            let error = parsed(&file).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
    }

    #[rstest]
    #[case("/nonexistent/ca.pem")]
    #[case("inspection-ca.crt")]
    #[case("./ca")]
    #[case("/tmp")]
    fn a_missing_file_is_not_taken_for_a_name(#[case] given: &str) {
        let error = given.parse::<InspectionCa>().unwrap_err();
        assert!(matches!(error, InspectionCaError::NoSuchFile), "{error}");
    }

    #[test]
    fn nothing_is_no_name() {
        assert!(matches!(
            "  ".parse::<InspectionCa>(),
            Err(InspectionCaError::Empty)
        ));
    }

    proptest::proptest! {
        #[test]
        fn no_issuer_panics(given in "\\PC{1,20}", issuer in "\\PC*") {
            if let Ok(ca) = given.parse::<InspectionCa>() {
                let _ = ca.matches(&issuer);
            }
        }
    }
}
