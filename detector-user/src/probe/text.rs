//! A probe's report as text for people.

use std::fmt;

use super::{ClientCertificate, Outcome, Report};
use crate::outlet::sink::escaped;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = escaped(&self.name);
        if self.name.contains(':') {
            write!(f, "[{name}]:{}", self.port)?;
        } else {
            write!(f, "{name}:{}", self.port)?;
        }
        if let Some(address) = self.address {
            write!(f, " ({})", address.ip())?;
        }
        let outcome = match self.outcome {
            Outcome::Valid => "the certificate is valid for the name",
            Outcome::Invalid => "the certificate is not valid",
            Outcome::Intercepted => "an interceptor answered; nothing is known about the origin",
            Outcome::Failed => "no answer; nothing is known about the origin",
        };
        writeln!(f, ": {outcome}")?;
        if let Some(detail) = &self.detail {
            writeln!(f, "  because      {}", escaped(detail))?;
        }
        self.fmt_versions(f)?;
        if let Some(alpn) = &self.alpn {
            writeln!(f, "  ALPN         {}", escaped(alpn))?;
        }
        if let Some(wanted) = self.client_certificate {
            let wanted = match wanted {
                ClientCertificate::NotAsked => "not asked for",
                ClientCertificate::Optional => "asked for, not required",
                ClientCertificate::Required => "required: this server cannot be intercepted",
            };
            writeln!(f, "  client cert  {wanted}")?;
        }
        for (index, certificate) in self.chain.iter().enumerate() {
            let label = if index == 0 {
                "certificate"
            } else {
                "issued by"
            };
            let date = |time: Option<jiff::Timestamp>| {
                time.map_or_else(|| "?".to_owned(), |it| it.strftime("%Y-%m-%d").to_string())
            };
            write!(f, "  {label:<12} {}", escaped(&certificate.subject))?;
            if !certificate.names.is_empty() {
                write!(f, " for {}", escaped(&certificate.names.join(", ")))?;
            }
            let (from, to) = (date(certificate.not_before), date(certificate.not_after));
            writeln!(f, ", {from} to {to}")?;
            if index + 1 == self.chain.len() && certificate.issuer != certificate.subject {
                writeln!(
                    f,
                    "  {:<12} {}, not sent",
                    "issued by",
                    escaped(&certificate.issuer)
                )?;
            }
        }
        Ok(())
    }
}

impl Report {
    fn fmt_versions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(version) = &self.tls_version else {
            return Ok(());
        };
        let suite = self.cipher_suite.as_deref().unwrap_or("unknown");
        write!(f, "  version      TLS {version}, {suite}")?;
        match (version.as_str(), self.versions.tls12) {
            ("1.3", Some(true)) => writeln!(f, "; TLS 1.2 too"),
            ("1.3", Some(false)) => writeln!(f, "; no TLS 1.2"),
            ("1.2", _) => writeln!(f, "; no TLS 1.3"),
            _ => writeln!(f),
        }
    }
}
