//! Distinguished names as text (RFC 4514): `CN=Inspection CA, O=Example`.

use std::fmt::Write;

use x509_parser::asn1_rs::Tag;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Writes a name most specific part first, as RFC 4514 does, with a space after each comma.
///
/// Control characters are written as hexadecimal pairs, so that the text is one harmless line.
pub fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let mut text = String::new();
    for (index, part) in parts.iter().rev().enumerate() {
        for (nth, attribute) in part.iter().enumerate() {
            text.push_str(match (index, nth) {
                (0, 0) => "",
                (_, 0) => ", ",
                _ => "+",
            });
            push_attribute(&mut text, attribute);
        }
    }
    text
}

fn push_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let kind = attribute.attr_type();
    match oid2abbrev(kind, oid_registry()) {
        Ok(known) => text.push_str(known),
        Err(_) => text.push_str(&kind.to_id_string()),
    }
    text.push('=');
    match attribute_text(attribute) {
        Some(value) => push_escaped(text, &value),
        None => {
            text.push('#');
            push_hex(text, attribute.as_slice());
        }
    }
}

/// Returns an attribute's value as text, if it is a kind of string.
pub(super) fn attribute_text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let bytes = attribute.as_slice();
    match attribute.attr_value().tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString => String::from_utf8(bytes.to_vec()).ok(),
        // Today's writers of T61String mean Latin-1.
        Tag::T61String => Some(match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().copied().map(char::from).collect(),
        }),
        Tag::BmpString => {
            let (pairs, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().copied().map(u16::from_be_bytes).collect();
            rest.is_empty().then(|| String::from_utf16(&units).ok())?
        }
        _ => None,
    }
}

fn push_escaped(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', character]),
            '#' if index == 0 => text.push_str("\\#"),
            ' ' if index == 0 || index == last => text.push_str("\\ "),
            _ if character.is_control() => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    text.push('\\');
                    push_hex(text, &[byte]);
                }
            }
            _ => text.push(character),
        }
    }
}

/// Appends two lower-case digits for each byte.
pub(super) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::string::{BmpString, TeletexString};
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};
    use rstest::rstest;
    use x509_parser::prelude::{FromDer, X509Certificate};

    fn written(parts: Vec<(DnType, DnValue)>) -> String {
        let mut name = DistinguishedName::new();
        for (kind, value) in parts {
            name.push(kind, value);
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
        distinguished_name(parsed.subject())
    }

    #[test]
    fn the_most_specific_part_comes_first() {
        let name = written(vec![
            (DnType::CountryName, "DE".into()),
            (DnType::OrganizationName, "Example, Inc.".into()),
            (DnType::CommonName, "Inspection CA".into()),
        ]);
        assert_eq!(name, r"CN=Inspection CA, O=Example\, Inc., C=DE");
    }

    #[rstest]
    #[case("Bücher", "CN=Bücher")]
    #[case(" #a ", r"CN=\ #a\ ")]
    #[case("#a", r"CN=\#a")]
    #[case("a+b\\c\"<>;", r#"CN=a\+b\\c\"\<\>\;"#)]
    #[case("a\n\u{1b}[31m\u{85}", r"CN=a\0a\1b[31m\c2\85")]
    #[case("", "CN=")]
    fn values_are_escaped(#[case] value: &str, #[case] expected: &str) {
        assert_eq!(written(vec![(DnType::CommonName, value.into())]), expected);
    }

    #[test]
    fn other_strings_and_types_are_written_too() {
        let bmp = DnValue::BmpString(BmpString::try_from("Ünïcode").unwrap());
        assert_eq!(written(vec![(DnType::CommonName, bmp)]), "CN=Ünïcode");
        let teletex = DnValue::TeletexString(TeletexString::try_from("old").unwrap());
        assert_eq!(written(vec![(DnType::CommonName, teletex)]), "CN=old");
        let own = DnType::from_oid(&[1, 2, 3, 4]);
        assert_eq!(written(vec![(own, "x".into())]), "1.2.3.4=x");
        assert_eq!(written(vec![]), "");
    }
}
