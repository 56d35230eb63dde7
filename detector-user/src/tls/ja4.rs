//! JA4, the fingerprint of a TLS client (FoxIO, BSD-licensed part of the JA4+ suite).
//!
//! `t13d1516h2_8daaf6152771_02713d6af862`: transport, highest version, SNI or not, counts of
//! cipher suites and extensions, first ALPN; hash of the sorted suites; hash of the sorted
//! extensions and the signature algorithms in order.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::tls::hello::{ClientHello, is_grease};

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
/// What stands for the hash of nothing.
const EMPTY: &str = "000000000000";

/// JA4 of a ClientHello over TCP; `None` if not all of it came.
pub fn ja4(hello: &ClientHello) -> Option<String> {
    if !hello.complete {
        return None;
    }
    let mut suites = without_grease(&hello.cipher_suites);
    let mut extensions = without_grease(&hello.extensions);
    let prefix = format!(
        "t{}{}{:02}{:02}{}",
        version(hello.highest_version()),
        if extensions.contains(&SERVER_NAME) {
            'd'
        } else {
            'i'
        },
        suites.len().min(99),
        extensions.len().min(99),
        alpn(hello.first_alpn.as_deref()),
    );
    suites.sort_unstable();
    extensions.retain(|kind| ![SERVER_NAME, ALPN].contains(kind));
    extensions.sort_unstable();
    let algorithms = without_grease(&hello.signature_algorithms);
    let mut list = hex_list(&extensions);
    if !algorithms.is_empty() {
        list.push('_');
        list.push_str(&hex_list(&algorithms));
    }
    let extension_hash = if extensions.is_empty() {
        EMPTY.to_owned()
    } else {
        hash(&list)
    };
    let suite_hash = if suites.is_empty() {
        EMPTY.to_owned()
    } else {
        hash(&hex_list(&suites))
    };
    Some(format!("{prefix}_{suite_hash}_{extension_hash}"))
}

fn without_grease(values: &[u16]) -> Vec<u16> {
    values
        .iter()
        .copied()
        .filter(|value| !is_grease(*value))
        .collect()
}

fn version(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// First and last character of the first ALPN protocol; of bytes that are not alphanumeric, first
/// and last hexadecimal digit; `00` without ALPN.
fn alpn(first: Option<&[u8]>) -> String {
    let Some((Some(first), Some(last))) = first.map(|protocol| (protocol.first(), protocol.last()))
    else {
        return "00".to_owned();
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return format!("{}{}", char::from(*first), char::from(*last));
    }
    format!("{:x}{:x}", first >> 4, last & 0x0f)
}

fn hex_list(values: &[u16]) -> String {
    let mut list = String::with_capacity(values.len() * 5);
    for (index, value) in values.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a String does not fail.
        let _ = write!(list, "{comma}{value:04x}");
    }
    list
}

/// The first twelve hexadecimal digits of SHA-256.
fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .take(6)
        .fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}
