//! What to do about a cause, and what a PAN-OS firewall would call it.

use detector_common::flow::Sender;

use crate::cause::judge::facts::Facts;
use crate::verdict::{Cause, Intercepted};

/// What to do, in one sentence; `name` is the server name or address.
pub fn advice(
    cause: Cause,
    name: &str,
    intercepted: Intercepted,
    facts: &Facts<'_>,
) -> Option<String> {
    Some(match cause {
        Cause::CertificateRejected if intercepted == Intercepted::No => {
            format!("check which CAs the client trusts: {name} was not intercepted")
        }
        Cause::CertificateRejected => format!(
            "see whether this app accepts other inspected names and whether other apps accept \
             {name}: if so it pins, exclude {name} from decryption; if it rejects every inspected \
             name, install the inspection CA where this app looks for it"
        ),
        Cause::Pinning => format!("exclude {name} from decryption"),
        Cause::CaNotTrusted => "install the inspection CA on this client".to_owned(),
        Cause::ServerCertInvalid => {
            format!("renew or correct the certificate of {name}, or make a policy exception for it")
        }
        Cause::UnsupportedParameters => format!(
            "allow the versions and ciphers {name} needs in the decryption profile, or exclude it"
        ),
        Cause::DecryptError => format!(
            "capture this connection on both sides of the interceptor: a record for {name} could \
             not be decrypted or read"
        ),
        Cause::ClientAuth => {
            format!("exclude {name} from decryption: mutual TLS cannot be intercepted")
        }
        Cause::InjectedReset => {
            "find the device that sends this reset: compare its TTL with your path".to_owned()
        }
        Cause::EndpointReset if !facts.resets.comparable => {
            "capture nearer to the server: its reset is all that was seen of it here".to_owned()
        }
        Cause::EndpointReset => return None,
        Cause::Abandoned if facts.client.finished => format!(
            "nothing, unless it repeats: then see whether this app ever uses {name} elsewhere"
        ),
        Cause::Abandoned | Cause::Established => return None,
    })
}

/// The session end reason that PAN-OS logs in such a case.
pub fn pan_os(cause: Cause, facts: &Facts<'_>) -> &'static str {
    match cause {
        Cause::Pinning | Cause::CertificateRejected | Cause::CaNotTrusted => "policy-deny",
        Cause::ServerCertInvalid | Cause::ClientAuth => "decrypt-cert-validation",
        Cause::UnsupportedParameters => "decrypt-unsupport-param",
        Cause::DecryptError => "decrypt-error",
        Cause::InjectedReset | Cause::EndpointReset => match facts.resets.in_name_of {
            Some(Sender::Client) => "tcp-rst-from-client",
            _ => "tcp-rst-from-server",
        },
        Cause::Abandoned | Cause::Established => "tcp-fin",
    }
}
