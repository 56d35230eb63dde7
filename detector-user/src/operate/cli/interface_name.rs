//! Interface names on the command line.

use crate::source::tap::selection::Wanted;

/// Returns the name if an interface can have it.
pub(super) fn interface_name(name: &str) -> Result<String, String> {
    Wanted::parse(name).map(|_| name.to_owned())
}
