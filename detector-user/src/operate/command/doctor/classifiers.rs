//! Programs that are already at an interface's classifier hooks: TCX programs, and clsact filters.

use aya::programs::SchedClassifier;
use aya::programs::tc::TcAttachType;

use crate::source::tap::clsact::{self, Filter};
use crate::source::tap::object::is_ours;

/// The owner of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Tlswhy,
    Other,
}

/// A program or filter at a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Classifier {
    /// Hook, such as `TCX ingress`.
    pub(super) hook: &'static str,
    pub(super) name: String,
    pub(super) owner: Owner,
}

impl Classifier {
    fn new(hook: &'static str, name: String) -> Self {
        let owner = owner(&name);
        Self { hook, name, owner }
    }
}

/// Returns the owner of a program by its name.
pub(super) fn owner(name: &str) -> Owner {
    if is_ours(name) {
        Owner::Tlswhy
    } else {
        Owner::Other
    }
}

/// Lists those of one interface in the order in which packets pass them. Those that the kernel does not
/// list are left out: before Linux 6.6 it has no TCX.
pub(super) fn all(interface: &str, index: u32) -> Vec<Classifier> {
    let mut found = Vec::new();
    let sides = [
        (
            ("TCX ingress", TcAttachType::Ingress),
            ("clsact ingress", clsact::INGRESS),
        ),
        (
            ("TCX egress", TcAttachType::Egress),
            ("clsact egress", clsact::EGRESS),
        ),
    ];
    for ((tcx, side), (clsact, chain)) in sides {
        let programs = SchedClassifier::query_tcx(interface, side).map(|(_, programs)| programs);
        for program in programs.unwrap_or_default() {
            let name = program.name_as_str().unwrap_or_default();
            let name = format!("{name} (id {})", program.id());
            found.push(Classifier::new(tcx, name));
        }
        let filters = clsact::filters(index, chain).unwrap_or_default();
        found.extend(
            filters
                .into_iter()
                .map(|it| Classifier::new(clsact, named(it))),
        );
    }
    // A u32 filter is listed with each of its tables.
    found.dedup();
    found
}

/// Names an eBPF filter by its program, others by their kind.
fn named(filter: Filter) -> String {
    let kind = filter.kind;
    filter
        .program_name
        .unwrap_or_else(|| format!("a filter of kind {kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_has_none() {
        assert_eq!(all("nonexistent0", u32::MAX), []);
    }

    #[test]
    fn ours_are_told_from_others() {
        assert_eq!(owner("tlswhy_ingress_ (id 5)"), Owner::Tlswhy);
        assert_eq!(owner("cil_from_netdev"), Owner::Other);
    }
}
