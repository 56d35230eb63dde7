//! Builds the eBPF object that the agent embeds.

use std::process::ExitCode;

fn main() -> ExitCode {
    ebpf_build::embed("tlswhy-ebpf", "TLSWHY_EBPF_OBJECT")
}
