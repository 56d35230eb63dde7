//! The machine underneath: interfaces, namespaces, privileges, clocks, the service manager.
//!
//! In: system calls, netlink and files of the running kernel. Out: plain facts and small actions
//! for every other room. Not here: flows, verdicts, or configuration; nothing in this room knows
//! that tlswhy exists.

pub mod clock;
pub(crate) mod ethtool;
pub mod interfaces;
pub(crate) mod namespace;
pub(crate) mod netlink;
pub(crate) mod privileges;
pub(crate) mod routes;
pub(crate) mod service_manager;
