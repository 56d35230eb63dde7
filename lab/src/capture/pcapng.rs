//! Writes pcapng (draft-ietf-opsawg-pcapng), with times in nanoseconds.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

use super::frame::Frame;
use super::link_type::ETHERNET;

/// An interface that frames were captured on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interface<'a> {
    /// A number of the LINKTYPE_ registry.
    pub(super) link_type: u16,
    /// Its name, `if_name`.
    pub(super) name: Option<&'a str>,
}

/// Writes a capture of several Ethernet interfaces, in the order of time.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, names: &[&str], frames: &[(u32, Frame)]) -> anyhow::Result<()> {
    ensure!(
        frames
            .iter()
            .all(|(interface, _)| (*interface as usize) < names.len()),
        "a frame of an interface without name"
    );
    let interfaces: Vec<_> = names
        .iter()
        .map(|name| Interface {
            link_type: ETHERNET as u16,
            name: Some(name),
        })
        .collect();
    let frames = frames.iter().map(|(interface, frame)| (*interface, frame));
    fs::write(path, to_bytes(&interfaces, frames))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Returns the file's bytes; each frame comes with the index of its interface.
pub(super) fn to_bytes<'a>(
    interfaces: &[Interface<'_>],
    frames: impl Iterator<Item = (u32, &'a Frame)>,
) -> Vec<u8> {
    let mut out = Vec::new();
    // Byte-order magic, version 1.0, length of the section unknown.
    let mut section = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    section.extend([1, 0, 0, 0]);
    section.extend([0xff; 8]);
    block(&mut out, 0x0a0d_0d0a, &section);
    for interface in interfaces {
        // Two bytes reserved, and no snap length.
        let mut body = interface.link_type.to_le_bytes().to_vec();
        body.extend([0; 6]);
        if let Some(name) = interface.name {
            option(&mut body, 2, name.as_bytes());
        }
        // if_tsresol: 10^-9 s.
        option(&mut body, 9, &[9]);
        option(&mut body, 0, &[]);
        block(&mut out, 1, &body);
    }
    for (interface, frame) in frames {
        let words = [
            interface,
            (frame.time_ns >> 32) as u32,
            frame.time_ns as u32,
            frame.bytes.len() as u32,
            frame.wire_len as u32,
        ];
        let mut body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        body.extend(&frame.bytes);
        block(&mut out, 6, &body);
    }
    out
}

/// Appends an option, padded to 32 bits.
fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Appends a block, padded to 32 bits.
fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let padded = body.len().next_multiple_of(4);
    let length = ((12 + padded) as u32).to_le_bytes();
    out.extend(kind.to_le_bytes());
    out.extend(length);
    out.extend(body);
    out.resize(out.len() + padded - body.len(), 0);
    out.extend(length);
}
