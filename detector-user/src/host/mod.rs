//! The machine underneath: interfaces, namespaces, privileges, clocks, the service manager.
//!
//! In: system calls, netlink and files of the running kernel. Out: plain facts (an
//! [`interfaces::Interface`], a clock's offset) and small actions (dropping a capability, notifying
//! systemd) for every other room. Not here: flows, verdicts, configuration, or the choice of
//! interfaces to watch. Nothing in this room knows that tlswhy exists, and it imports no other
//! room.
#![forbid(unsafe_code)]

pub mod clock;
pub(crate) mod ethtool;
pub mod interfaces;
pub(crate) mod name;
pub(crate) mod namespace;
pub(crate) mod netlink;
pub(crate) mod privileges;
pub(crate) mod routes;
pub(crate) mod service_manager;
pub(crate) mod unix_socket;
