//! Shared by the fuzz targets: the inputs' format and a host of the engine that checks its output.

mod connection;
mod host;
#[cfg(feature = "agent")]
mod verdict;

pub use connection::Connection;
pub use host::Host;
#[cfg(feature = "agent")]
pub use verdict::check_verdict;

use detector_common::headers::{LinkType, Tap};

/// Returns the frames of an input: each a big-endian 16-bit length and as many bytes.
pub fn frames(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_be_bytes(*input.first_chunk()?));
        let rest = &input[2..];
        let (frame, rest) = rest.split_at(len.min(rest.len()));
        input = rest;
        Some(frame)
    })
}

/// Appends a frame, for seeds: the reverse of [`frames`]. Longer frames are cut.
pub fn push_frame(input: &mut Vec<u8>, frame: &[u8]) {
    let frame = &frame[..frame.len().min(usize::from(u16::MAX))];
    input.extend((frame.len() as u16).to_be_bytes());
    input.extend(frame);
}

/// Returns the tap that an input's first byte stands for.
pub fn tap(choice: u8) -> Tap {
    Tap {
        link: match choice & 7 {
            0..=3 => LinkType::Ethernet,
            4 => LinkType::LinuxSll,
            5 => LinkType::LinuxSll2,
            6 => LinkType::Raw,
            _ => LinkType::Null,
        },
        interface: 1,
        egress: choice & 8 != 0,
        vlan_in_key: choice & 16 != 0,
        tunnel: 0,
    }
}
