//! Taps: the eBPF object, its attachment to interfaces, and the rings read from it.

pub mod object;
