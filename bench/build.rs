//! Builds the programs that are measured against.

use std::process::ExitCode;

fn main() -> ExitCode {
    ebpf_build::embed("reference-ebpf", "REFERENCE_EBPF_OBJECT")
}
