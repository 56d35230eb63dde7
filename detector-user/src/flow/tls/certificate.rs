//! The server's certificate, which is in the clear up to TLS 1.2 (RFC 5246 §7.4.2).

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use x509_parser::error::X509Error;
use x509_parser::oid_registry::OID_CT_LIST_SCT;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::flow::tls::distinguished_name::{attribute_text, distinguished_name, push_hex};
use crate::flow::tls::memo::{Memo, remembered};
use crate::flow::tls::reader::Reader;

thread_local! {
    /// Leaves by the bodies of their messages, 4 MiB at most.
    static LEAVES: RefCell<Memo<Result<Arc<Leaf>, CertificateError>>> =
        RefCell::new(Memo::new(512, 8_192));
}

/// The leaf certificate, with the fields that verdicts need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaf {
    /// Distinguished name of the subject, `CN=…, O=…` (see [`distinguished_name`]).
    pub subject: String,
    /// Distinguished name of the issuer, likewise.
    pub issuer: Arc<str>,
    /// Serial number in hexadecimal, as it is encoded.
    pub serial: String,
    /// Start of validity, seconds since the UNIX epoch.
    pub not_before: i64,
    /// End of validity, likewise.
    pub not_after: i64,
    /// dNSName entries of the subject alternative name, in lower case.
    pub dns_names: Vec<String>,
    /// iPAddress entries of the subject alternative name.
    pub addresses: Vec<IpAddr>,
    /// Common name of the subject, in lower case.
    pub common_name: Option<String>,
    /// Certificates in the message that came whole.
    pub chain_len: usize,
    /// Whether all of the message came.
    pub chain_complete: bool,
    /// Fingerprint of the certificate: the first eight bytes of the SHA-256 of its DER.
    pub fingerprint: u64,
    /// Fingerprint of its public key: the same of its SubjectPublicKeyInfo.
    pub key_fingerprint: u64,
    /// Whether it has signed certificate timestamps (RFC 6962 §3.3), as browsers want of every
    /// certificate of a public CA.
    pub has_timestamps: bool,
    pub(crate) self_issued: bool,
}

/// The reason why a Certificate message has no leaf to parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The list is empty.
    #[error("the server's Certificate message is empty")]
    Empty,
    /// It ends within the leaf.
    #[error("the server's certificate was not captured to its end")]
    Truncated,
    /// It is no DER, or no certificate.
    #[error("the server's certificate is damaged: {0}")]
    Damaged(String),
}

/// Match of a certificate with a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameMatch {
    /// By a dNSName (RFC 9525 §6.3).
    DnsName,
    /// By an iPAddress, of a client that sends an address for a name.
    Address,
    /// Only by its common name, since it has no dNSName: RFC 6125 §6.4.4 let clients take that,
    /// RFC 9525 no longer does, and most refuse it.
    CommonName,
    /// It is for others.
    None,
}

/// Relation of a time to a validity period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Validity {
    /// Before it.
    NotYet,
    /// Within it, its ends included (RFC 5280 §4.1.2.5).
    Valid,
    /// After it.
    Expired,
}

/// Returns the first eight bytes of SHA-256.
fn fingerprint(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    digest
        .first_chunk()
        .map_or(0, |head| u64::from_be_bytes(*head))
}

/// The certificates of a Certificate message's body that came whole, as DER.
struct Chain<'a> {
    list: Reader<'a>,
    whole: bool,
}

impl<'a> Chain<'a> {
    fn new(body: &'a [u8]) -> Self {
        let mut reader = Reader(body);
        let length = reader.u24();
        let whole = length.is_some_and(|length| reader.0.len() >= length);
        let length = length.unwrap_or(0).min(reader.0.len());
        Self {
            list: Reader(reader.take(length).unwrap_or_default()),
            whole,
        }
    }

    /// Whether all came and was read.
    fn is_complete(&self) -> bool {
        self.whole && self.list.is_empty()
    }
}

impl<'a> Iterator for Chain<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut rest = self.list;
        let certificate = rest.vector24()?;
        self.list = rest;
        Some(certificate.0)
    }
}

/// Counts the certificates of a Certificate message's body that came whole.
pub fn count(body: &[u8]) -> usize {
    Chain::new(body).count()
}

impl Leaf {
    /// Parses the first certificate of a Certificate message's body, which may end after it.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn parse(body: &[u8]) -> Result<Arc<Self>, CertificateError> {
        remembered(&LEAVES, body, |body| Self::parse_new(body).map(Arc::new))
    }

    fn parse_new(body: &[u8]) -> Result<Self, CertificateError> {
        let mut chain = Chain::new(body);
        let Some(der) = chain.next() else {
            return Err(if chain.is_complete() {
                CertificateError::Empty
            } else {
                CertificateError::Truncated
            });
        };
        let mut leaf = Self::from_der(der)?;
        leaf.chain_len += chain.by_ref().count();
        leaf.chain_complete = chain.is_complete();
        Ok(leaf)
    }

    fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let damaged = |error: X509Error| CertificateError::Damaged(error.to_string());
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| match error {
                x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => {
                    error
                }
                x509_parser::nom::Err::Incomplete(_) => X509Error::InvalidCertificate,
            })
            .map_err(damaged)?;
        let subject = certificate.subject();
        let issuer = certificate.issuer();
        let mut serial = String::new();
        push_hex(&mut serial, certificate.raw_serial());
        Ok(Self {
            subject: distinguished_name(subject),
            issuer: distinguished_name(issuer).into(),
            serial,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            dns_names: dns_names(&certificate),
            addresses: addresses(&certificate),
            common_name: subject
                .iter_common_name()
                .last()
                .and_then(attribute_text)
                .map(|name| name.to_lowercase()),
            chain_len: 1,
            chain_complete: true,
            fingerprint: fingerprint(der),
            key_fingerprint: fingerprint(certificate.public_key().raw),
            has_timestamps: certificate
                .extensions()
                .iter()
                .any(|extension| extension.oid == OID_CT_LIST_SCT),
            self_issued: subject.as_raw() == issuer.as_raw(),
        })
    }

    /// Whether subject and issuer are the same name, as in a self-signed certificate. (Its
    /// signature is not checked.)
    pub fn is_self_signed(&self) -> bool {
        self.self_issued
    }

    /// Compares a time, in seconds since the UNIX epoch, with its validity.
    pub fn validity_at(&self, time: i64) -> Validity {
        if time < self.not_before {
            Validity::NotYet
        } else if time > self.not_after {
            Validity::Expired
        } else {
            Validity::Valid
        }
    }

    /// Whether it is valid at a time, seconds since the UNIX epoch.
    pub fn is_valid_at(&self, time: i64) -> bool {
        self.validity_at(time) == Validity::Valid
    }

    /// Matches it with a host name.
    pub fn name_match(&self, host: &str) -> NameMatch {
        let host = host.strip_suffix('.').unwrap_or(host);
        let address = host.trim_matches(['[', ']']).parse().ok();
        if address.is_some_and(|address| self.addresses.contains(&address)) {
            NameMatch::Address
        } else if self.dns_names.iter().any(|name| matches(name, host)) {
            NameMatch::DnsName
        } else if self.dns_names.is_empty()
            && self
                .common_name
                .as_ref()
                .is_some_and(|name| matches(name, host))
        {
            NameMatch::CommonName
        } else {
            NameMatch::None
        }
    }

    /// Whether it is for a host: by its DNS names, or without any by its common name.
    pub fn is_for(&self, host: &str) -> bool {
        self.name_match(host) != NameMatch::None
    }
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

fn addresses(certificate: &X509Certificate<'_>) -> Vec<IpAddr> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    let address = |bytes: &[u8]| {
        let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
    };
    names
        .filter_map(|name| match name {
            GeneralName::IPAddress(bytes) => address(bytes).ok(),
            _ => None,
        })
        .collect()
}

/// Whether a pattern matches a name: a wildcard stands for the whole leftmost label and for one
/// label only (RFC 9525 §6.3).
fn matches(pattern: &str, host: &str) -> bool {
    let pattern = pattern.strip_suffix('.').unwrap_or(pattern);
    match pattern.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(label, rest)| {
            !label.is_empty() && !rest.is_empty() && rest.eq_ignore_ascii_case(parent)
        }),
        None => !host.is_empty() && pattern.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tls::tests::{certificate_list, signed_leaf};
    use proptest::prelude::*;
    use rstest::rstest;

    fn leaf(names: &[&str], common_name: &str) -> Leaf {
        Leaf::from_der(&signed_leaf("Inspection CA", common_name, names)).unwrap()
    }

    #[rstest]
    #[case::exact("a.test", "a.test", true)]
    #[case::case_is_ignored("A.Test", "a.TEST", true)]
    #[case::one_label("*.a.test", "x.a.test", true)]
    #[case::not_two("*.a.test", "x.y.a.test", false)]
    #[case::not_none("*.a.test", "a.test", false)]
    #[case::not_an_empty_one("*.a.test", ".a.test", false)]
    #[case::within_a_label("x*.a.test", "xy.a.test", false)]
    #[case::not_the_leftmost("a.*.test", "a.b.test", false)]
    #[case::alone("*", "test", false)]
    #[case::idn("*.a.test", "xn--bcher-kva.a.test", true)]
    #[case::other("a.test", "b.test", false)]
    #[case::nothing("", "", false)]
    fn names_match(#[case] pattern: &str, #[case] host: &str, #[case] expected: bool) {
        assert_eq!(matches(pattern, host), expected);
    }

    #[test]
    fn an_address_matches_its_own_entry_only() {
        let leaf = leaf(&["192.0.2.10", "2001:db8::1", "a.test"], "cn.test");
        assert_eq!(leaf.name_match("192.0.2.10"), NameMatch::Address);
        assert_eq!(leaf.name_match("2001:DB8:0::1"), NameMatch::Address);
        assert_eq!(leaf.name_match("[2001:db8::1]"), NameMatch::Address);
        assert!(!leaf.is_for("192.0.2.11"));
        assert_eq!(leaf.dns_names, ["a.test"]);
    }

    #[test]
    fn the_common_name_counts_only_without_dns_names() {
        let named = leaf(&["a.test", "*.Wild.test"], "cn.test");
        assert_eq!(named.dns_names, ["a.test", "*.wild.test"]);
        assert_eq!(named.name_match("x.WILD.test."), NameMatch::DnsName);
        assert_eq!(named.name_match("cn.test"), NameMatch::None);
        assert!(named.is_for("a.test") && !named.is_for("b.test"));
        let unnamed = leaf(&[], "cn.test");
        assert_eq!(unnamed.name_match("CN.test"), NameMatch::CommonName);
        assert_eq!(unnamed.name_match("a.test"), NameMatch::None);
    }

    #[test]
    fn validity_includes_its_ends() {
        let leaf = leaf(&["a.test"], "a.test");
        assert_eq!(leaf.validity_at(leaf.not_before - 1), Validity::NotYet);
        assert!(leaf.is_valid_at(leaf.not_before) && leaf.is_valid_at(leaf.not_after));
        assert_eq!(leaf.validity_at(leaf.not_after + 1), Validity::Expired);
    }

    #[test]
    fn a_self_signed_certificate_is_known() {
        assert!(!leaf(&[], "a.test").is_self_signed());
        let names = vec!["a.test".to_owned()];
        let own = rcgen::generate_simple_self_signed(names).unwrap();
        assert!(Leaf::from_der(own.cert.der()).unwrap().is_self_signed());
    }

    #[test]
    fn the_leaf_is_read_though_the_chain_is_cut() {
        let der = signed_leaf("Inspection CA", "a.test", &["a.test"]);
        let body = certificate_list(&[&der, &der, &der]);
        let whole = Leaf::parse(&body).unwrap();
        assert_eq!((whole.chain_len, whole.chain_complete), (3, true));
        assert_eq!(count(&body), 3);
        let cut = Leaf::parse(&body[..body.len() - 1]).unwrap();
        assert_eq!((cut.chain_len, cut.chain_complete), (2, false));
        assert_eq!(&*cut.issuer, "CN=Inspection CA");
        let end_of_leaf = 3 + 3 + der.len();
        assert_eq!(Leaf::parse(&body[..end_of_leaf]).unwrap().chain_len, 1);
        for end in 0..end_of_leaf {
            assert_eq!(Leaf::parse(&body[..end]), Err(CertificateError::Truncated));
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert_eq!(Leaf::parse(&[0, 0, 0]), Err(CertificateError::Empty));
        assert_eq!(count(&[0, 0, 0]), 0);
        let damaged = Leaf::parse(&certificate_list(&[b"no certificate"]));
        assert!(matches!(damaged, Err(CertificateError::Damaged(_))));
        let text = damaged.unwrap_err().to_string();
        assert!(
            text.starts_with("the server's certificate is damaged: "),
            "{text}"
        );
        assert!(!text.contains('\n'));
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0usize..600, value: u8, len in 0usize..600) {
            static DER: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
            let der = DER.get_or_init(|| signed_leaf("CA", "a.test", &["a.test"]));
            let mut body = certificate_list(&[der]);
            let at = at % body.len();
            body[at] = value;
            body.truncate(len);
            if let Ok(leaf) = Leaf::parse(&body) {
                let _ = (leaf.is_for("a.test"), leaf.is_valid_at(0));
            }
        }
    }
}
