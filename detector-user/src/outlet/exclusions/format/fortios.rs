//! FortiOS: wildcard FQDNs and a group of them, which an entry of a profile's `ssl-exempt` names.
//!
//! `config firewall wildcard-fqdn custom` holds the names, `config firewall wildcard-fqdn group` lists them;
//! `config ssl-exempt` takes either (FortiOS CLI reference, `firewall ssl-ssh-profile`). A group needs a
//! member.

use super::{List, PLACEHOLDER, names};
use crate::outlet::exclusions::selection::Entry;

/// Name of the group, which stays the same from list to list.
const GROUP: &str = "tlswhy";
/// Maximum length of an object's name.
const OBJECT_MAX: usize = 79;

const HEADER: &str = "\
# A group of names that are exempt from inspection. Once, in each profile that inspects:
#   config firewall ssl-ssh-profile
#       edit PROFILE
#           config ssl-exempt
#               edit 0
#                   set type wildcard-fqdn
#                   set wildcard-fqdn \"tlswhy\"
";

pub(super) fn list(entries: &[Entry]) -> List {
    let mut list = List::default();
    // The first member is always the same: lists differ by their entries alone, and no group is empty.
    let mut objects = vec![(format!("{GROUP}-none"), PLACEHOLDER.to_owned())];
    // No name has an underscore: the object of `*.NAME` is none of `all.NAME`.
    let mut add = |fqdn: String, notices: &mut Vec<String>| {
        let object = format!("{GROUP}-{}", fqdn.replace('*', "all_"));
        if object.len() > OBJECT_MAX {
            notices.push(format!(
                "{fqdn} is not listed: longer than the name of an object"
            ));
        } else {
            objects.push((object, fqdn));
        }
    };
    let why = "wildcard FQDNs are names; use an address object";
    for (entry, name) in names(entries, &mut list.notices, why) {
        add(name.to_owned(), &mut list.notices);
        if entry.with_subdomains {
            add(format!("*.{name}"), &mut list.notices);
        }
    }
    list.text = format!("{HEADER}config firewall wildcard-fqdn custom\n");
    for (object, fqdn) in &objects {
        list.text.push_str(&format!(
            "    edit \"{object}\"\n        set wildcard-fqdn \"{fqdn}\"\n    next\n"
        ));
    }
    list.text.push_str(&format!(
        "end\nconfig firewall wildcard-fqdn group\n    edit \"{GROUP}\"\n"
    ));
    for (number, (object, _)) in objects.iter().enumerate() {
        let verb = if number == 0 { "set" } else { "append" };
        list.text
            .push_str(&format!("        {verb} member \"{object}\"\n"));
    }
    list.text.push_str("    next\nend\n");
    list
}
