//! A server's answer to a ClientHello that is no TLS: its first bytes, made safe to show.

use std::fmt::{self, Write as _};

/// Maximum characters of an answer's first line that are shown.
const LINE_MAX: usize = 120;
/// Maximum characters of a redirect's target that are shown.
const LOCATION_MAX: usize = 200;
/// Maximum bytes of a binary answer that are shown.
const BYTES_MAX: usize = 16;

/// Begins of plaintext protocols that a server may answer a ClientHello in.
const GREETINGS: [(&str, &str); 8] = [
    ("SSH-", "SSH"),
    ("Invalid SSH", "SSH"),
    ("220 ", "SMTP or FTP"),
    ("220-", "SMTP or FTP"),
    ("* OK", "IMAP"),
    ("* BYE", "IMAP"),
    ("+OK", "POP3"),
    ("-ERR", "POP3 or Redis"),
];

/// A server's first bytes, where they begin no TLS record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlainAnswer {
    /// An HTTP response.
    Http {
        /// Its status code (RFC 9110 §15).
        status: u16,
        /// Its Location field, escaped and cut.
        location: Option<String>,
    },
    /// A line of text.
    Line {
        /// Name of the protocol that begins so.
        protocol: Option<&'static str>,
        /// The line, escaped and cut.
        line: String,
    },
    /// Other bytes, in hexadecimal.
    Binary(String),
}

impl PlainAnswer {
    /// Reads the first bytes of a stream; `None` if there are none.
    ///
    /// ```
    /// use detector_user::flow::tls::plain_answer::PlainAnswer;
    ///
    /// let answer = PlainAnswer::read(b"HTTP/1.1 302 Found\r\nlocation: http://block.test/\r\n\r\n");
    /// let answer = answer.map(|answer| answer.to_string());
    /// assert_eq!(answer.as_deref(), Some("HTTP status 302 with Location http://block.test/"));
    /// ```
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        Some(
            http(bytes)
                .or_else(|| line(bytes))
                .unwrap_or_else(|| Self::Binary(hexadecimal(bytes))),
        )
    }
}

impl fmt::Display for PlainAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http {
                status,
                location: None,
            } => write!(f, "HTTP status {status}"),
            Self::Http {
                status,
                location: Some(location),
            } => write!(f, "HTTP status {status} with Location {location}"),
            Self::Line {
                protocol: Some(protocol),
                line,
            } => write!(f, "{protocol}: \"{line}\""),
            Self::Line {
                protocol: None,
                line,
            } => write!(f, "\"{line}\""),
            Self::Binary(bytes) => write!(f, "bytes {bytes}"),
        }
    }
}

fn http(bytes: &[u8]) -> Option<PlainAnswer> {
    let rest = bytes.strip_prefix(b"HTTP/")?;
    let at = rest.iter().position(|byte| *byte == b' ')?;
    let digits = rest.get(at + 1..at + 4)?;
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let location = header(bytes, "location").map(|value| printable(value, LOCATION_MAX));
    Some(PlainAnswer::Http { status, location })
}

/// Returns the value of a field of an HTTP header (RFC 9112 §5).
fn header<'a>(message: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut lines = message.split(|byte| *byte == b'\n').skip(1);
    let lines = lines.by_ref().map(<[u8]>::trim_ascii);
    let mut fields = lines.take_while(|line| !line.is_empty());
    fields.find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        found
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| value.trim_ascii())
    })
}

fn line(bytes: &[u8]) -> Option<PlainAnswer> {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~') || *byte >= 0x80;
    let readable = line.iter().filter(|byte| byte.is_ascii_graphic()).count();
    if line.is_empty() || !line.iter().all(is_text) || readable * 2 < line.len() {
        return None;
    }
    let greeting = GREETINGS
        .iter()
        .find(|(begin, _)| line.starts_with(begin.as_bytes()));
    Some(PlainAnswer::Line {
        protocol: greeting.map(|(_, protocol)| *protocol),
        line: printable(line, LINE_MAX),
    })
}

/// Returns at most `max` characters: printable ASCII stays, everything else and the quotation mark
/// is escaped.
pub fn printable(bytes: &[u8], max: usize) -> String {
    let mut text = String::new();
    for byte in bytes {
        let escaped = std::ascii::escape_default(*byte).to_string();
        if text.len() + escaped.len() > max {
            text.push_str("...");
            break;
        }
        text.push_str(&escaped);
    }
    text
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(BYTES_MAX) {
        let separator = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{separator}{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::http(
        b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n<html>",
        "HTTP status 400"
    )]
    #[case::old_http(b"HTTP/1.0 503 \r\n", "HTTP status 503")]
    #[case::redirect(
        b"HTTP/1.1 302 Found\r\nServer: x\r\nLOCATION:  http://block.test/\x1b[2J\"\r\n\r\n",
        "HTTP status 302 with Location http://block.test/\\x1b[2J\\\""
    )]
    #[case::location_in_the_body(b"HTTP/1.1 200 OK\r\n\r\nLocation: x\r\n", "HTTP status 200")]
    #[case::smtp(b"220 mail.test ESMTP\r\n", "SMTP or FTP: \"220 mail.test ESMTP\"")]
    #[case::ssh(b"SSH-2.0-OpenSSH_9.2\r\n", "SSH: \"SSH-2.0-OpenSSH_9.2\"")]
    #[case::any_line(b"no such service", "\"no such service\"")]
    #[case::an_sslv2_hello(&[0x80, 0x4b, 4, 0, 1], "bytes 80 4b 04 00 01")]
    #[case::noise(&[0xff; 40], "bytes ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff")]
    fn is_shown(#[case] bytes: &[u8], #[case] shown: &str) {
        assert_eq!(PlainAnswer::read(bytes).unwrap().to_string(), shown);
    }

    proptest! {
        #[test]
        fn is_short_and_printable(bytes in proptest::collection::vec(any::<u8>(), 1..2000), text: bool) {
            let begin: &[u8] = if text { b"HTTP/1.1 301 x\r\nLocation: " } else { b"" };
            let shown = PlainAnswer::read(&[begin, &bytes].concat()).unwrap().to_string();
            prop_assert!(shown.len() < 300, "{shown}");
            prop_assert!(shown.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{shown}");
        }
    }
}
