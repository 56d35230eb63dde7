//! Numbers of the LINKTYPE_ registry (<https://www.tcpdump.org/linktypes.html>).

/// LINKTYPE_ETHERNET.
pub const ETHERNET: u32 = 1;
/// LINKTYPE_RAW: an IPv4 or IPv6 header at once.
pub const RAW: u32 = 101;
/// LINKTYPE_LINUX_SLL: Linux cooked capture.
pub const LINUX_SLL: u32 = 113;
/// LINKTYPE_LINUX_SLL2: Linux cooked capture, version 2.
pub const LINUX_SLL2: u32 = 276;
