//! The effective configuration as a file that would yield it, with the origin of each value.

use std::fmt;

use super::{Config, keys};

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for key in keys() {
            if key.section() != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                section = key.section();
                writeln!(f, "{gap}[{section}]")?;
            }
            let origin = self.origin(key.path);
            match (key.show)(&self.settings) {
                Some(value) => writeln!(f, "{} = {value}  # {origin}", key.name())?,
                None => writeln!(f, "# {} is not set  # {origin}", key.name())?,
            }
        }
        Ok(())
    }
}
