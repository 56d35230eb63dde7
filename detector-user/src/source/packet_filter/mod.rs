//! Filter expressions of libpcap (pcap-filter(7)) on the frames of captures.
//!
//! In: an expression, and frames with their link types. Out: whether a frame is read. tcpdump compiles
//! the expression, once for each link type: it is on every gateway, and linking libpcap would tie a
//! package to one distribution's name of the library. The compiled programs run here.

pub mod program;

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use detector_common::headers;

use self::program::Program;
use crate::source::capture::{Frame, LinkType};
use crate::source::link_header::peel;

/// Names of the compiler: not every user has the folders of system programs on the path.
const COMPILERS: [&str; 3] = ["tcpdump", "/usr/sbin/tcpdump", "/usr/bin/tcpdump"];
/// Link types that captures of gateways have most often. An expression that none of them accepts is wrong;
/// one accepts what another does not (`inbound`).
const COMMON: [LinkType; 3] = [LinkType::ETHERNET, LinkType::LINUX_SLL2, LinkType::RAW];

/// A filter expression cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// There is no compiler.
    #[error(
        "cannot compile filter expressions: tcpdump is not installed; `apt-get install tcpdump`"
    )]
    NoCompiler,
    /// The compiler cannot be run.
    #[error("cannot run tcpdump to compile a filter expression: {0}")]
    Run(io::Error),
    /// The expression is wrong, or means nothing on a link type.
    #[error("wrong filter expression '{expression}': {cause}; pcap-filter(7) has the syntax")]
    Expression {
        /// The operator's expression.
        expression: String,
        /// The compiler's message.
        cause: String,
    },
}

/// A filter of frames.
#[derive(Debug)]
pub struct PacketFilter {
    expression: String,
    programs: HashMap<LinkType, Compiled>,
    errors: Vec<FilterError>,
    rejected: u64,
}

/// A filter on one link type.
#[derive(Debug)]
enum Compiled {
    /// For the frame as it was captured.
    Frame(Program),
    /// For the frame behind the link header, where libpcap does not look behind it.
    Peeled(Program),
    /// The expression cannot be asked of frames like this.
    Never,
}

impl PacketFilter {
    /// Compiles an expression.
    ///
    /// # Errors
    /// If it is wrong, or cannot be compiled here.
    pub fn new(expression: &str) -> Result<Self, FilterError> {
        let mut filter = Self {
            expression: expression.to_owned(),
            programs: HashMap::new(),
            errors: Vec::new(),
            rejected: 0,
        };
        let mut first = None;
        for link in COMMON {
            match compile(expression, link) {
                Ok(program) => {
                    filter.programs.insert(link, Compiled::Frame(program));
                    return Ok(filter);
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        first.map_or(Ok(filter), Err)
    }

    /// Returns whether a frame is to be read. Frames of a link type on which the expression means nothing
    /// are rejected, with an error that [`PacketFilter::take_errors`] returns.
    pub fn accepts(&mut self, frame: &Frame<'_>) -> bool {
        let link = frame.link_type;
        if !self.programs.contains_key(&link) {
            let compiled = compile_for(&self.expression, frame).unwrap_or_else(|error| {
                self.errors.push(error);
                Compiled::Never
            });
            self.programs.insert(link, compiled);
        }
        let accepted = match self.programs.get(&link) {
            Some(Compiled::Frame(program)) => program.accepts(frame.captured, frame.original_len),
            Some(Compiled::Peeled(program)) => peel(link, frame.captured).is_ok_and(|(at, _)| {
                let wire_len = frame.original_len.saturating_sub(at as u32);
                program.accepts(frame.captured.get(at..).unwrap_or_default(), wire_len)
            }),
            Some(Compiled::Never) | None => false,
        };
        self.rejected += u64::from(!accepted);
        accepted
    }

    /// Returns the errors so far, one for each link type on which the expression means nothing.
    pub fn take_errors(&mut self) -> Vec<FilterError> {
        std::mem::take(&mut self.errors)
    }

    /// Returns the number of frames that were not read.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }
}

/// Compiles an expression for frames like this one.
fn compile_for(expression: &str, frame: &Frame<'_>) -> Result<Compiled, FilterError> {
    let error = match compile(expression, frame.link_type) {
        Ok(program) => return Ok(Compiled::Frame(program)),
        Err(error) => error,
    };
    let inner = match peel(frame.link_type, frame.captured) {
        Ok((1.., headers::LinkType::Raw)) => LinkType::RAW,
        Ok((1.., headers::LinkType::Ethernet)) => LinkType::ETHERNET,
        _ => return Err(error),
    };
    let program = compile(expression, inner).map_err(|_| error)?;
    Ok(Compiled::Peeled(program))
}

fn compile(expression: &str, link: LinkType) -> Result<Program, FilterError> {
    for compiler in COMPILERS {
        match run(compiler, expression, link) {
            Err(FilterError::Run(error)) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
    }
    Err(FilterError::NoCompiler)
}

/// Compiles by `tcpdump -ddd`, which takes the link type from a capture without frames.
fn run(compiler: &str, expression: &str, link: LinkType) -> Result<Program, FilterError> {
    let mut child = Command::new(compiler)
        .args(["-r", "-", "-ddd", "--", expression])
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(FilterError::Run)?;
    if let Some(mut stdin) = child.stdin.take() {
        // If tcpdump ends before it has read this, its message says why.
        let _ = stdin.write_all(&empty_capture(link));
    }
    let output = child.wait_with_output().map_err(FilterError::Run)?;
    let program = Program::parse(&String::from_utf8_lossy(&output.stdout));
    match program {
        Some(program) if output.status.success() => Ok(program),
        _ => Err(FilterError::Expression {
            expression: expression.to_owned(),
            cause: message(&String::from_utf8_lossy(&output.stderr)),
        }),
    }
}

/// Returns the header of a classic capture.
fn empty_capture(link: LinkType) -> Vec<u8> {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const SNAPSHOT_LEN: u32 = 262_144;
    let words = [MAGIC, 0x0004_0002, 0, 0, SNAPSHOT_LEN, link.0];
    // In little-endian order the version is 2.4.
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Returns tcpdump's error without the lines before it.
fn message(text: &str) -> String {
    let mut lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("tcpdump: "));
    let last = lines
        .next_back()
        .unwrap_or("tcpdump failed without a message");
    let cause = last.strip_prefix("can't parse filter expression: ");
    cause.unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// TCP from 10.0.0.1:1000 to 10.0.0.2:443 without payload.
    const IP: [u8; 40] = [
        0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x03, 0xe8, 0x01, 0xbb,
        0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x02, 0, 0, 0, 0, 0, 0,
    ];

    fn behind(header: &[u8]) -> Vec<u8> {
        [header, &IP].concat()
    }

    fn ethernet(tag: &[u8]) -> Vec<u8> {
        behind(&[&[0; 12][..], tag, &[8, 0]].concat())
    }

    fn accepts(expression: &str, link: LinkType, frame: &[u8]) -> bool {
        let mut filter = PacketFilter::new(expression).expect("an expression");
        let frame = Frame {
            time_ns: 0,
            interface: 0,
            link_type: link,
            captured: frame,
            original_len: frame.len() as u32,
        };
        let accepted = filter.accepts(&frame);
        assert!(filter.take_errors().is_empty());
        assert_eq!(filter.rejected(), u64::from(!accepted));
        accepted
    }

    #[rstest]
    #[case::ethernet(LinkType::ETHERNET, ethernet(&[]))]
    #[case::raw(LinkType::RAW, behind(&[]))]
    #[case::cooked(LinkType::LINUX_SLL, behind(&[0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]))]
    #[case::ppp(LinkType::PPP, behind(&[0xff, 3, 0, 0x21]))]
    // libpcap does not look behind these headers.
    #[case::nflog(LinkType::NFLOG, behind(&[2, 0, 0, 5, 44, 0, 9, 0]))]
    #[case::pktap(LinkType::PKTAP, behind(&[
        &[108, 0, 0, 0, 1, 0, 0, 0, 12, 0, 0, 0][..], &[0; 96],
    ].concat()))]
    fn an_expression_holds_on_every_link_type(#[case] link: LinkType, #[case] frame: Vec<u8>) {
        for (expression, holds) in [
            ("host 10.0.0.1", true),
            ("host 10.0.0.3", false),
            ("src net 10.0.0.0/24 and tcp dst port 443", true),
            ("tcp src port 443", false),
            ("tcp[tcpflags] & tcp-syn != 0", true),
            ("tcp[tcpflags] & tcp-rst != 0", false),
        ] {
            assert_eq!(accepts(expression, link, &frame), holds, "{expression}");
        }
    }

    #[test]
    fn frames_with_a_vlan_tag_are_asked_for() {
        let tagged = ethernet(&[0x81, 0, 0, 5]);
        assert!(!accepts("host 10.0.0.1", LinkType::ETHERNET, &tagged));
        assert!(accepts(
            "vlan 5 and host 10.0.0.1",
            LinkType::ETHERNET,
            &tagged
        ));
    }

    #[rstest]
    #[case::syntax("host host", "syntax error")]
    #[case::an_option("-r", "syntax error")]
    #[case::unknown("colour blue", "syntax error")]
    #[case::a_wrong_number("port 70000", "illegal port number 70000 > 65535")]
    fn a_wrong_expression_is_an_error(#[case] expression: &str, #[case] cause: &str) {
        let error = PacketFilter::new(expression).expect_err("no expression");
        assert_eq!(
            error.to_string(),
            format!(
                "wrong filter expression '{expression}': {cause}; pcap-filter(7) has the syntax"
            )
        );
    }

    #[test]
    fn an_expression_without_meaning_is_an_error_once() {
        // Ethernet frames of a capture do not say in which direction they went.
        let mut filter = PacketFilter::new("inbound").expect("an expression of cooked captures");
        let captured = ethernet(&[]);
        let frame = Frame {
            time_ns: 0,
            interface: 0,
            link_type: LinkType::ETHERNET,
            captured: &captured,
            original_len: 54,
        };
        assert!(!filter.accepts(&frame) && !filter.accepts(&frame));
        assert_eq!((filter.take_errors().len(), filter.rejected()), (1, 2));
    }
}
