//! Syslog from the network: addresses to listen on, and messages in a stream (RFC 6587 §3.4).
//!
//! A message is handed on with its header: readers of rows find the body by themselves.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// Longest message, bytes; of a longer one nothing is read.
pub const MESSAGE_MAX: usize = 64 * 1024;
/// Digits of a length that may be one.
const DIGITS_MAX: usize = 7;

/// An address that a firewall sends its log to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyslogAddress {
    /// Whether messages come as datagrams (RFC 5426); otherwise in a stream.
    pub is_udp: bool,
    /// The address.
    pub address: SocketAddr,
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_udp { "udp" } else { "tcp" };
        write!(f, "{scheme}://{}", self.address)
    }
}

impl FromStr for SyslogAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is not udp:// or tcp:// with an address and a port");
        let (is_udp, rest) = match text.split_once("://") {
            Some(("udp", rest)) => (true, rest),
            Some(("tcp", rest)) => (false, rest),
            _ => return Err(wrong()),
        };
        let address = rest.parse().map_err(|_| wrong())?;
        Ok(Self { is_udp, address })
    }
}

/// Messages of a stream: each with its length before it, or ended by a line feed or NUL.
#[derive(Debug, Default)]
pub struct Stream {
    buffer: Vec<u8>,
    skip: Skip,
    /// Messages that were too long.
    pub oversized: u64,
}

/// The rest of a message that is too long.
#[derive(Debug, Default, PartialEq, Eq)]
enum Skip {
    #[default]
    Nothing,
    Bytes(usize),
    Line,
}

/// The beginning of the buffer.
enum Next {
    /// A message: its range, and the bytes that it takes.
    Message(std::ops::Range<usize>, usize),
    /// One that is too long.
    Oversized(Skip),
    /// More bytes are needed.
    Unknown,
}

impl Stream {
    /// Takes bytes, and passes on the messages that they complete.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        self.buffer.extend_from_slice(bytes);
        loop {
            self.skip();
            if self.skip != Skip::Nothing || self.buffer.is_empty() {
                return;
            }
            match self.next() {
                Next::Message(range, taken) => {
                    each(self.buffer.get(range).unwrap_or_default());
                    self.buffer.drain(..taken.min(self.buffer.len()));
                }
                Next::Oversized(skip) => {
                    self.oversized += 1;
                    self.skip = skip;
                }
                Next::Unknown => return,
            }
        }
    }

    /// Removes what is skipped, and what may stand between messages.
    fn skip(&mut self) {
        let taken = match self.skip {
            Skip::Nothing => {
                let is_between = |byte: &u8| matches!(byte, b'\n' | b'\r' | 0);
                self.buffer.iter().take_while(|it| is_between(it)).count()
            }
            Skip::Bytes(left) => {
                let taken = left.min(self.buffer.len());
                self.skip = match left - taken {
                    0 => Skip::Nothing,
                    left => Skip::Bytes(left),
                };
                taken
            }
            Skip::Line => match line_end(&self.buffer) {
                Some(end) => {
                    self.skip = Skip::Nothing;
                    end + 1
                }
                None => self.buffer.len(),
            },
        };
        self.buffer.drain(..taken);
    }

    fn next(&self) -> Next {
        let digits = self.buffer.iter().take_while(|it| it.is_ascii_digit());
        let digits = digits.count();
        let begins_with_length =
            (1..=DIGITS_MAX).contains(&digits) && self.buffer.first() != Some(&b'0');
        if begins_with_length {
            match self.buffer.get(digits) {
                None => return Next::Unknown,
                Some(b' ') => return self.counted(digits),
                Some(_) => {}
            }
        }
        match line_end(&self.buffer) {
            Some(end) if end <= MESSAGE_MAX => Next::Message(0..end, end + 1),
            None if self.buffer.len() <= MESSAGE_MAX => Next::Unknown,
            _ => Next::Oversized(Skip::Line),
        }
    }

    fn counted(&self, digits: usize) -> Next {
        let length = self.buffer.get(..digits).unwrap_or_default();
        let length = length
            .iter()
            .fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
        let begin = digits + 1;
        let end = begin + length;
        if length > MESSAGE_MAX {
            return Next::Oversized(Skip::Bytes(end));
        }
        if self.buffer.len() < end {
            return Next::Unknown;
        }
        Next::Message(begin..end, end)
    }
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| matches!(byte, b'\n' | 0))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Messages of a stream that comes in pieces of this many bytes.
    fn messages(stream: &[u8], piece: usize) -> Vec<String> {
        let mut messages = Vec::new();
        let mut reader = Stream::default();
        for piece in stream.chunks(piece) {
            reader.feed(piece, |it| {
                messages.push(String::from_utf8_lossy(it).into_owned())
            });
        }
        messages
    }

    #[rstest]
    #[case::lines(b"<14>one\n<14>two\r\n\n1,2026/11/23 rest\n", &["<14>one", "<14>two\r", "1,2026/11/23 rest"])]
    #[case::counted(b"7 <14>one11 <14>a\nb c d3 abc", &["<14>one", "<14>a\nb c d", "abc"])]
    #[case::counted_with_line_feeds(b"7 <14>one\n7 <14>two\n", &["<14>one", "<14>two"])]
    #[case::mixed(b"<14>one\n7 <14>two<14>three\0", &["<14>one", "<14>two", "<14>three"])]
    #[case::no_length(b"12345678 is too long a length\n", &["12345678 is too long a length"])]
    #[case::cut(b"7 <14>on", &[])]
    fn messages_are_found_whatever_the_pieces(#[case] stream: &[u8], #[case] expected: &[&str]) {
        for piece in 1..=stream.len() {
            assert_eq!(messages(stream, piece), expected, "{piece}");
        }
    }

    #[test]
    fn messages_that_are_too_long_are_skipped() {
        let long = "x".repeat(2 * MESSAGE_MAX);
        for stream in [
            format!("<14>{long}\n<14>next\n"),
            format!("{} {long}<14>next\n", long.len()),
        ] {
            for piece in [1_000, 1 << 20] {
                assert_eq!(messages(stream.as_bytes(), piece), ["<14>next"], "{piece}");
            }
        }
        let mut reader = Stream::default();
        for _ in 0..100 {
            reader.feed(&[b'x'; 10_000], |_| {});
            assert!(reader.buffer.len() <= MESSAGE_MAX + 10_000);
        }
    }

    #[test]
    fn an_address_has_a_scheme() {
        for text in ["udp://0.0.0.0:5514", "tcp://[::1]:601"] {
            assert_eq!(text.parse::<SyslogAddress>().unwrap().to_string(), text);
        }
        for wrong in [
            "0.0.0.0:5514",
            "udp://host:514",
            "tls://0.0.0.0:6514",
            "udp://1.2.3.4",
        ] {
            assert!(wrong.parse::<SyslogAddress>().is_err(), "{wrong}");
        }
    }
}
