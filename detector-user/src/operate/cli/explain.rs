//! Arguments of `tlswhy explain`.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::past::{PastArgs, PastOutput};
use crate::firewall::filter::Filter;

pub(super) const EXAMPLES: &str = "\
Examples:
  tlswhy explain --traffic-log traffic.csv
  tlswhy explain --traffic-log /var/log/pan/traffic.log --pcap incident.pcapng
  tlswhy explain --traffic-log traffic.csv --filter '( session_end_reason eq decrypt-error )'
  tlswhy explain --traffic-log traffic.csv --filter '( addr.src in 10.0.1.0/24 ) and !( port.dst eq 8443 )'
  tlswhy explain --traffic-log traffic.log.1.gz --all --output json

Logs of PAN-OS 7.1 to 11 (traffic and decryption; as syslog or exported with a header), FortiGate (UTM,
SSL), Cisco FTD (connection events) and AWS Network Firewall (TLS). A row belongs to the connection between its ends, translated or not, that began at its time;
the offset of the firewall's clock is estimated from the rows.";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  all rows were read
  1  a line is no row, or the log or the past cannot be read
  2  usage error";

/// Arguments of `tlswhy explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Log of the firewall; `-` is standard input; repeatable
    #[arg(long = "traffic-log", value_name = "FILE", required = true, action = ArgAction::Append)]
    pub logs: Vec<PathBuf>,

    /// Rows that are explained, in PAN-OS's filter language [default: of PAN-OS traffic logs those of
    /// `( subtype neq end ) and ( action eq allow )`, of FTD's events those that failed, of other logs every row]
    #[arg(long, value_name = "FILTER", conflicts_with = "all")]
    pub filter: Option<Filter>,

    /// Explain every row
    #[arg(long)]
    pub all: bool,

    /// Format
    #[arg(short, long, value_name = "OUTPUT", value_enum, default_value_t)]
    pub output: PastOutput,

    /// The past that is asked.
    #[command(flatten)]
    pub past: PastArgs,
}
