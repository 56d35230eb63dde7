//! Builds the programs that put VLAN tags on a link.

use std::process::ExitCode;

fn main() -> ExitCode {
    ebpf_build::embed("reference-ebpf", "LAB_EBPF_OBJECT")
}
