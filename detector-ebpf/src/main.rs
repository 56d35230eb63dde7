//! tlswhy's kernel side: an XDP program at ingress, a TCX classifier at egress, and the same for
//! devices without Ethernet headers. Each calls the engine, counts the packet's outcome, and passes
//! the packet on: there is no other return value.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    feature(asm_experimental_arch),
    expect(unsafe_code, reason = "maps and packet pointers; the engine has none"),
    expect(
        unstable_features,
        reason = "inline assembly for this target is not stable"
    )
)]

#[cfg(target_arch = "bpf")]
mod atomic;
#[cfg(target_arch = "bpf")]
mod counters;
#[cfg(target_arch = "bpf")]
mod flows;
#[cfg(target_arch = "bpf")]
mod image;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod packet;
#[cfg(target_arch = "bpf")]
mod programs;
#[cfg(target_arch = "bpf")]
mod rings;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
