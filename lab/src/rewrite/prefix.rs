//! TLS that begins in the midst of a connection: behind a proxy's CONNECT or a mail server's STARTTLS.

use super::flow::{Flow, Side};
use super::segment::{Segment, flag};

/// The exchange of both sides before the ClientHello, in turns.
pub type Lines = &'static [(Side, &'static str)];

/// An HTTP proxy's tunnel (RFC 9110 §9.3.6).
pub const CONNECT: Lines = &[
    (
        Side::Client,
        "CONNECT origin.example:443 HTTP/1.1\r\nHost: origin.example:443\r\nUser-Agent: app/1.0\r\n\r\n",
    ),
    (Side::Server, "HTTP/1.1 200 Connection established\r\n\r\n"),
];

/// Mail submission (RFC 3207).
pub const STARTTLS: Lines = &[
    (Side::Server, "220 mail.example ESMTP\r\n"),
    (Side::Client, "EHLO client.example\r\n"),
    (
        Side::Server,
        "250-mail.example\r\n250-STARTTLS\r\n250 8BITMIME\r\n",
    ),
    (Side::Client, "STARTTLS\r\n"),
    (Side::Server, "220 ready for TLS\r\n"),
];

/// Between one line and the answer to it.
const TURN_NS: u64 = 500_000;

/// Puts these lines before a connection's first payload, and sends it to another port. One not seen
/// from its beginning stays as it is.
#[must_use]
pub fn behind(flow: &Flow, lines: Lines, port: u16) -> Flow {
    let mut out = flow.clone();
    let first = flow
        .segments
        .iter()
        .position(|segment| !segment.payload.is_empty());
    if let Some(first) = first.filter(|_| flow.is_whole_tls()) {
        let said = spoken(flow, first, lines);
        let lens = [Side::Client, Side::Server].map(|side| said_by(lines, side));
        for segment in out.segments.iter_mut().skip(first) {
            let [own, other] = match flow.side(segment) {
                Side::Client => lens,
                Side::Server => [lens[1], lens[0]],
            };
            segment.time_ns += TURN_NS * (lines.len() as u64 + 1);
            super::identity::renumber(segment, [own, other]);
        }
        out.segments.splice(first..first, said);
    }
    out.server.1 = port;
    for segment in &mut out.segments {
        match flow.side(segment) {
            Side::Client => segment.destination_port = port,
            Side::Server => segment.source_port = port,
        }
    }
    out
}

fn said_by(lines: Lines, side: Side) -> u32 {
    let own = lines.iter().filter(|(speaker, _)| *speaker == side);
    own.map(|(_, line)| line.len() as u32).sum()
}

fn spoken(flow: &Flow, first: usize, lines: Lines) -> Vec<Segment> {
    let mut said: Vec<Segment> = Vec::new();
    for (turn, (side, line)) in lines.iter().enumerate() {
        let before = lines.get(..turn).unwrap_or_default();
        let offset = |side: Side| {
            let own = before.iter().filter(|(speaker, _)| *speaker == side);
            own.map(|(_, line)| line.len() as u32).sum::<u32>()
        };
        let numbers = (
            flow.next_seq(*side, first.saturating_sub(1)),
            flow.next_seq(side.other(), first.saturating_sub(1)),
            flow.last_of(*side, first.saturating_sub(1)),
        );
        let (Some(seq), Some(ack), Some(like)) = numbers else {
            continue;
        };
        let opening = like.has(flag::SYN);
        said.push(Segment {
            time_ns: flow.segments.get(first).map_or(0, |s| s.time_ns) + TURN_NS * turn as u64,
            seq: seq.wrapping_add(offset(*side)),
            ack: ack.wrapping_add(offset(side.other())),
            flags: flag::ACK | flag::PSH,
            options: if opening {
                Vec::new()
            } else {
                like.options.clone()
            },
            payload: line.as_bytes().to_vec(),
            ..like.clone()
        });
    }
    said
}
