//! Logs of firewalls: rows as the firewall wrote them, and the verdicts that explain them.
//!
//! In: lines of a log, and the past as [`crate::outlet::database::Past`] has it. Out: [`Row`]s that a
//! [`filter::Filter`] selects, each with an [`explain::Explained`]. PAN-OS traffic and decryption logs are
//! read by position, as syslog has them, or by the header of an export; those of FortiGate, FTD and AWS Network
//! Firewall by their keys.
//!
//! Rows of a live log are joined as they arrive ([`joiner`], with messages of [`syslog`]).
//!
//! Not here: judging. A row's own word is shown beside the verdict, and changes nothing about it.
#![forbid(unsafe_code)]

mod aws;
pub mod explain;
pub mod filter;
mod fortigate;
mod ftd;
pub mod joiner;
mod pan_os;
mod reader;
mod row;
mod separated;
pub mod syslog;
mod time;

pub use reader::{LogReader, Unread, read_row};
pub use row::{Ends, Row, RowError};
pub use time::RowTime;

/// Returns whether a row is explained where no filter says otherwise: of PAN-OS traffic logs those that
/// [`filter::DEFAULT`] selects, of FTD's connections those in which TLS failed, of other logs every row.
#[must_use]
pub fn is_selected(row: &Row, default: &filter::Filter) -> bool {
    match row.kind {
        pan_os::TRAFFIC_KIND => default.selects(row),
        ftd::KIND => ftd::is_failure(row),
        _ => true,
    }
}
