//! Arguments of `tlswhy probe`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

use crate::cause::inspection_ca::InspectionCa;
use crate::probe::Target;

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy probe www.example.com
  tlswhy probe internal.example:8443 --ca /etc/ssl/example-ca.pem
  tlswhy probe www.example.com --inspection-ca \"CN=Inspection CA\" --source 192.0.2.10
  tlswhy probe www.example.com --mark 0x7 --output json | jq .outcome

One or two handshakes go to the origin, without a request. What an interceptor signed proves nothing
about the origin: let the probe pass by its source address or mark, and name the inspection CA so that
a probe that meets it is recognised. Revocation is not checked.";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  the origin's certificate is valid for the name
  1  nothing is known: no answer, or an interceptor's; one line on standard error names the cause
  2  usage error or invalid configuration file
  3  the origin's certificate is not valid";

/// Exit code if the origin's certificate is not valid.
pub const EXIT_INVALID: u8 = 3;

/// Arguments of `tlswhy probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Name or address of the origin [default port: 443]
    #[arg(value_name = "NAME[:PORT]")]
    pub target: Target,

    /// Address to connect to instead of the name's
    #[arg(long, value_name = "ADDRESS")]
    pub connect: Option<IpAddr>,

    /// Address of this machine to connect from
    #[arg(long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,

    /// Mark of the socket (SO_MARK), decimal or as 0x7, for rules that let the probe pass; needs
    /// CAP_NET_ADMIN
    #[arg(long, value_name = "NUMBER", value_parser = mark)]
    pub mark: Option<u32>,

    /// Maximum time for the probe, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub timeout: Duration,

    /// File of root certificates (PEM) to trust in addition to this machine's; repeatable
    #[arg(long = "ca", value_name = "FILE", action = ArgAction::Append)]
    pub roots: Vec<PathBuf>,

    /// CA that signs intercepted certificates: a PEM or DER file, or its name; repeatable [default: those
    /// of the configuration]
    #[arg(long = "inspection-ca", value_name = "FILE-OR-NAME", action = ArgAction::Append)]
    pub inspection_cas: Vec<InspectionCa>,

    /// Configuration file [default: /etc/tlswhy/tlswhy.toml if it exists]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Format of the report
    #[arg(short, long, value_name = "OUTPUT", value_enum, default_value_t = ProbeOutput::Text)]
    pub output: ProbeOutput,
}

/// Format of a probe's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProbeOutput {
    /// Text for people
    Text,
    /// One JSON object
    Json,
}

/// Parses a mark as ip-rule(8) and nft(8) write it.
fn mark(given: &str) -> Result<u32, String> {
    let hexadecimal = given.strip_prefix("0x").or(given.strip_prefix("0X"));
    let number = match hexadecimal {
        // A sign is none of its digits.
        Some(digits) if !digits.starts_with('+') => u32::from_str_radix(digits, 16),
        _ => given.parse(),
    };
    number.map_err(|_| "not a number of 32 bits, such as 7 or 0x7".to_owned())
}

fn seconds(given: &str) -> Result<Duration, String> {
    let seconds: f64 = given.parse().map_err(|_| "not a number".to_owned())?;
    match seconds {
        0.1..=300.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("not between 0.1 and 300".to_owned()),
    }
}
