//! Logs of firewalls: rows as the firewall wrote them, and the verdicts that explain them.
//!
//! In: lines of a log, and the past as [`crate::outlet::database::Past`] has it. Out: [`Row`]s that a
//! [`filter::Filter`] selects, each with an [`explain::Explained`]. PAN-OS traffic and decryption logs are
//! read by position, as syslog has them, or by the header of an export; FortiGate's by their keys.
//!
//! Not here: judging. A row's own word is shown beside the verdict, and changes nothing about it.

pub mod explain;
pub mod filter;
mod fortigate;
mod pan_os;
mod reader;
mod row;
mod separated;
mod time;

pub use pan_os::TRAFFIC_KIND as PAN_OS_TRAFFIC;
pub use reader::{LogReader, Unread};
pub use row::{Ends, Row, RowError};
pub use time::RowTime;
