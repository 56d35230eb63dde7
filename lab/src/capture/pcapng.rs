//! A capture of several taps in one file, in the order of time.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::capture::Frame;

/// Writes a pcapng with one interface for each of `names`, in nanoseconds
/// (draft-ietf-opsawg-pcapng).
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
    let mut out = Vec::new();
    // Byte-order magic, version 1.0, length of the section unknown.
    block(
        &mut out,
        0x0a0d_0d0a,
        &[
            &0x1a2b_3c4d_u32.to_le_bytes()[..],
            &[1, 0, 0, 0],
            &[0xff; 8],
        ]
        .concat(),
    );
    for name in names {
        let mut body = [&1_u16.to_le_bytes()[..], &[0; 2], &0_u32.to_le_bytes()].concat();
        option(&mut body, 2, name.as_bytes());
        // if_tsresol: 10^-9 s.
        option(&mut body, 9, &[9]);
        option(&mut body, 0, &[]);
        block(&mut out, 1, &body);
    }
    for (interface, frame) in frames {
        let words = [
            *interface,
            u32::try_from(frame.time_ns >> 32)?,
            (frame.time_ns & 0xffff_ffff) as u32,
            u32::try_from(frame.bytes.len())?,
            u32::try_from(frame.wire_len)?,
        ];
        let mut body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        body.extend(&frame.bytes);
        block(&mut out, 6, &body);
    }
    fs::write(path, out).with_context(|| format!("cannot write {}", path.display()))
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let padded = body.len().next_multiple_of(4);
    let length = ((12 + padded) as u32).to_le_bytes();
    out.extend(kind.to_le_bytes());
    out.extend(length);
    out.extend(body);
    out.resize(out.len() + padded - body.len(), 0);
    out.extend(length);
}
