//! Causes in interceptors' own logs.

use super::alerts::of_alert;
use crate::labels::Cause;
use crate::labels::Folder;
use crate::score::cases::Case;
use crate::score::streams::Streams;

/// OpenSSL's reason for an alert that was received: 1000 and the alert's code.
const ALERT_REASONS: u32 = 1000;

/// Phrases and their causes; the first that fits counts. OpenSSL's names of alerts are the
/// registry's with spaces.
const PHRASES: &[(&str, Cause)] = &[
    // mitmproxy of its origin (proxy/layers/tls.py)
    (
        "server tls handshake failed. certificate verify failed",
        Cause::ServerCertInvalid,
    ),
    (
        "server tls handshake failed. the remote server and mitmproxy cannot agree",
        Cause::UnsupportedParameters,
    ),
    // OpenSSL, in the log of any of them
    ("certificate required", Cause::ClientAuth),
    ("did not return a certificate", Cause::ClientAuth),
    ("alert certificate expired", Cause::ServerCertInvalid),
    ("alert certificate revoked", Cause::ServerCertInvalid),
    ("unknown ca", Cause::CertificateRejected),
    ("bad certificate", Cause::CertificateRejected),
    ("certificate unknown", Cause::CertificateRejected),
    ("alert unsupported certificate", Cause::CertificateRejected),
    ("alert access denied", Cause::CertificateRejected),
    ("certificate verify failed", Cause::ServerCertInvalid),
    ("x509_v_err", Cause::ServerCertInvalid),
    ("alert handshake failure", Cause::UnsupportedParameters),
    ("alert protocol version", Cause::UnsupportedParameters),
    ("alert insufficient security", Cause::UnsupportedParameters),
    ("alert illegal parameter", Cause::UnsupportedParameters),
    ("alert inappropriate fallback", Cause::UnsupportedParameters),
    ("no shared cipher", Cause::UnsupportedParameters),
    ("no suitable key share", Cause::UnsupportedParameters),
    (
        "no suitable signature algorithm",
        Cause::UnsupportedParameters,
    ),
    ("unsupported protocol", Cause::UnsupportedParameters),
    ("wrong version number", Cause::UnsupportedParameters),
    ("version too low", Cause::UnsupportedParameters),
    ("bad record mac", Cause::DecryptError),
    ("decrypt error", Cause::DecryptError),
    ("decode error", Cause::DecryptError),
    ("alert internal error", Cause::DecryptError),
    ("alert unexpected message", Cause::DecryptError),
    // mitmproxy of its client
    (
        "cannot agree on a tls version",
        Cause::UnsupportedParameters,
    ),
    (
        "does not trust the proxy's certificate",
        Cause::CertificateRejected,
    ),
    (
        "may not trust the proxy's certificate",
        Cause::CertificateRejected,
    ),
];

/// Returns the interceptors that logged something.
#[must_use]
pub fn interceptors(folder: &Folder) -> Vec<String> {
    let mut names: Vec<String> = folder
        .logs
        .iter()
        .map(|line| line.interceptor.clone())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Returns the causes that a log names for a labelled capture or connection. A line that names a client's port is about
/// that connection, any other about the whole capture.
#[must_use]
pub fn says(case: &Case, interceptor: &str, folder: &Folder, streams: &[Streams]) -> Vec<Cause> {
    let captures = folder.captures.iter().zip(streams);
    let own = captures.into_iter().find(|(one, _)| one.file == case.file);
    let clients: Vec<String> = own.map_or_else(Vec::new, |(_, streams)| {
        let ends = streams.all.iter().map(|stream| stream.ends.0.to_string());
        ends.collect()
    });
    let wanted = case
        .stream
        .and_then(|stream| clients.get(usize::try_from(stream).ok()?));
    folder
        .logs
        .iter()
        .filter(|line| line.file == case.file && line.interceptor == interceptor)
        .filter(|line| match wanted {
            Some(client) if clients.iter().any(|one| names(&line.text, one)) => {
                names(&line.text, client)
            }
            _ => true,
        })
        .filter_map(|line| of_line(&line.text))
        .collect()
}

/// Whether a line has this address and port, and no longer port that begins alike.
fn names(line: &str, client: &str) -> bool {
    line.match_indices(client).any(|(at, _)| {
        let after = line.get(at + client.len()..).unwrap_or_default();
        !after.starts_with(|next: char| next.is_ascii_digit())
    })
}

/// Returns the cause that a line names. Squid's access log says `NONE_NONE/000` of every connection
/// that it peeks at, so that says nothing.
fn of_line(line: &str) -> Option<Cause> {
    if let Some(reason) = library_error(line) {
        return of_reason(reason);
    }
    let line = line.to_lowercase();
    let phrase = PHRASES.iter().find(|(phrase, _)| line.contains(phrase));
    phrase.map(|(_, cause)| *cause)
}

/// Reads OpenSSL's errors, which squid writes as numbers: `TLS_LIB_ERR=A000418`; the reason is the
/// lower 12 bits.
fn library_error(line: &str) -> Option<u32> {
    let (_, rest) = line.split_once("TLS_LIB_ERR=")?;
    let end = rest.find(|one: char| !one.is_ascii_hexdigit());
    let digits = rest.get(..end.unwrap_or(rest.len()))?;
    let error = u32::from_str_radix(digits, 16).ok()?;
    Some(error & 0xfff)
}

/// Returns the cause of one of OpenSSL's reasons (include/openssl/sslerr.h).
fn of_reason(reason: u32) -> Option<Cause> {
    if let Some(code) = reason.checked_sub(ALERT_REASONS) {
        // Squid writes this of the clients it accepts; the alert is theirs.
        return of_alert(u8::try_from(code).ok()?, true);
    }
    Some(match reason {
        // CERTIFICATE_VERIFY_FAILED
        134 => Cause::ServerCertInvalid,
        // NO_SHARED_CIPHER, UNSUPPORTED_PROTOCOL, WRONG_VERSION_NUMBER, NO_SUITABLE_KEY_SHARE,
        // NO_SUITABLE_SIGNATURE_ALGORITHM, VERSION_TOO_LOW
        193 | 258 | 267 | 101 | 118 | 396 => Cause::UnsupportedParameters,
        // DECRYPTION_FAILED_OR_BAD_RECORD_MAC
        281 => Cause::DecryptError,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_meant() {
        let cases = [
            (
                "[10.0.0.1:4000] Client TLS handshake failed. The client does not trust the proxy's certificate for a.test (OpenSSL Error([('SSL routines', '', 'tlsv1 alert unknown ca')]))",
                Some(Cause::CertificateRejected),
            ),
            (
                "Server TLS handshake failed. Certificate verify failed: certificate has expired",
                Some(Cause::ServerCertInvalid),
            ),
            (
                "Client TLS handshake failed. Client and mitmproxy cannot agree on a TLS version to use.",
                Some(Cause::UnsupportedParameters),
            ),
            (
                "ERROR: failure while accepting a TLS connection on conn8: SQUID_TLS_ERR_ACCEPT+TLS_LIB_ERR=A000416+TLS_IO_ERR=1",
                Some(Cause::CertificateRejected),
            ),
            (
                "SQUID_TLS_ERR_ACCEPT+TLS_LIB_ERR=A0000C1+TLS_IO_ERR=1",
                Some(Cause::UnsupportedParameters),
            ),
            (
                "Error negotiating SSL connection on FD 11: error:14094418:SSL routines:ssl3_read_bytes:tlsv1 alert unknown ca (1/0)",
                Some(Cause::CertificateRejected),
            ),
            (
                "1795449699.514 858 10.88.1.14 NONE_NONE/000 0 CONNECT 10.99.4.11:443 - ORIGINAL_DST/10.99.4.11 -",
                None,
            ),
            ("client connect", None),
        ];
        for (line, cause) in cases {
            assert_eq!(of_line(line), cause, "{line}");
        }
    }

    #[test]
    fn a_port_is_not_found_in_a_longer_one() {
        assert!(names("[10.0.0.1:4000] failed", "10.0.0.1:4000"));
        assert!(names("remote=10.0.0.1:4000", "10.0.0.1:4000"));
        assert!(!names("[10.0.0.1:40001] failed", "10.0.0.1:4000"));
    }
}
