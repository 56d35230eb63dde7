//! The header of an export, which names the columns.

use std::collections::HashMap;

use super::layout::field_name;
use super::{TRAFFIC_KIND, row};
use crate::firewall::row::{Row, RowError};
use crate::firewall::separated::fields;

/// Columns of an export; those that are not known have no name.
#[derive(Debug)]
pub(in crate::firewall) struct Header {
    columns: Vec<Option<&'static str>>,
}

/// Columns without which a row tells of no connection.
const NEEDED: [&str; 4] = ["addr.src", "port.src", "addr.dst", "port.dst"];

impl Header {
    /// Parses a line; `None` if it is no header.
    pub(in crate::firewall) fn parse(line: &str) -> Option<Self> {
        let names = fields(line.trim_start_matches('\u{feff}'));
        let columns: Vec<_> = names.iter().map(|name| field_name(name)).collect();
        let has = |needed: &&str| columns.contains(&Some(*needed));
        NEEDED.iter().all(has).then_some(Self { columns })
    }

    /// Reads a line below the header.
    ///
    /// # Errors
    /// [`RowError`].
    pub(in crate::firewall) fn row(&self, line: &str, number: u64) -> Result<Row, RowError> {
        let values = fields(line);
        let mut named = HashMap::new();
        for (name, value) in self.columns.iter().zip(values) {
            if let Some(name) = name {
                named.insert(*name, value);
            }
        }
        let is_decryption = self.columns.contains(&Some("err_index"));
        let kind = if is_decryption {
            "PAN-OS decryption"
        } else {
            TRAFFIC_KIND
        };
        row(named, kind, number)
    }
}
