//! Captures of hostile shapes.

use std::path::Path;

use anyhow::Context;
use tests::conversation::{Conversation, From, Network, tls};

use crate::captures::{Capture, Writer};

/// A shape of traffic.
pub(super) struct Shape {
    pub(super) name: &'static str,
    /// Connections begin one after another and are over, or all go on at once with so many events each.
    events_each: u32,
    /// Returns the frames of a connection's event: number of the connection, number of the event in it.
    frames: fn(&mut Conversation, u32, u32) -> Vec<Vec<u8>>,
}

/// Segments of a connection in one-byte segments: its hello, and its server's flight.
const BYTES: u32 = 1000;
/// Bytes of a hello's record with its header and padding, at least.
const HELLO: usize = 300;
/// Segments of a connection of which each has many records.
const SEGMENTS: u32 = 100;
/// Records of a segment; with their headers they fill one.
const RECORDS: usize = 64;
const RECORD: [u8; 17] = [0xa5; 17];

pub(super) const SHAPES: [Shape; 5] = [
    Shape {
        name: "one-packet hellos without an answer",
        events_each: 1,
        frames: |talk, number, _| {
            let name = format!("host{}.scan.test", number % 16);
            vec![talk.data(From::Client, &hello(&name, number))]
        },
    },
    Shape {
        name: "one-byte segments",
        events_each: BYTES,
        frames: |talk, number, step| {
            let hello = hello("www.bytes.test", number);
            let at = step as usize;
            match hello.get(at) {
                Some(byte) => vec![talk.data(From::Client, &[*byte])],
                None => {
                    let flight = [tls::server_hello(0xc02f, false), certificate(900)].concat();
                    let byte = flight.get(at - hello.len()).copied().unwrap_or_default();
                    vec![talk.data(From::Server, &[byte])]
                }
            }
        },
    },
    Shape {
        name: "connections that work, a random name each",
        events_each: 1,
        frames: |talk, number, _| {
            let hello = hello(&random_name(number), number);
            let flight = [tls::server_hello(0x1301, true), tls::record(23, &[4; 300])];
            let mut frames = vec![
                talk.data(From::Client, &hello),
                talk.data(From::Server, &flight.concat()),
                talk.data(From::Client, &tls::record(23, &[6; 53])),
            ];
            for _ in 0..2 {
                frames.push(talk.data(From::Client, &tls::record(23, &[1; 100])));
                frames.push(talk.data(From::Server, &tls::record(23, &[2; 100])));
            }
            frames.extend([talk.fin(From::Client), talk.fin(From::Server)]);
            frames
        },
    },
    Shape {
        name: "refusals, another client and name each",
        events_each: 1,
        frames: |talk, number, _| {
            let hello = hello(&random_name(number), number);
            let flight = [tls::server_hello(0xc02f, false), certificate(300)];
            vec![
                talk.data(From::Client, &hello),
                talk.data(From::Server, &flight.concat()),
                talk.data(From::Client, &tls::record(21, &[2, 46])),
                talk.rst(From::Client),
            ]
        },
    },
    Shape {
        name: "segments of 64 records",
        events_each: SEGMENTS,
        frames: |talk, number, step| {
            let mut frames = Vec::new();
            if step == 0 {
                frames.push(talk.data(From::Client, &hello("www.records.test", number)));
                frames.push(talk.data(From::Server, &tls::server_hello(0xc02f, false)));
            }
            let records = tls::record(22, &RECORD).repeat(RECORDS);
            frames.push(talk.data(From::Server, &records));
            frames
        },
    },
];

/// Returns a record with a ClientHello like no other's.
fn hello(name: &str, number: u32) -> Vec<u8> {
    let mut hello = tls::client_hello(name, HELLO);
    // Record header, message header and version precede the random.
    if let Some(random) = hello.get_mut(11..15) {
        random.copy_from_slice(&number.to_be_bytes());
    }
    hello
}

fn certificate(len: usize) -> Vec<u8> {
    let messages = [tls::message(11, &vec![7; len]), tls::message(14, &[])];
    tls::record(22, &messages.concat())
}

/// Returns a name that no other number has, of no pattern.
fn random_name(number: u32) -> String {
    // The finaliser of SplitMix64.
    let mut word = u64::from(number).wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!("{:016x}.test", word ^ (word >> 31))
}

impl Shape {
    /// Writes a capture with so many events.
    pub(super) fn write(&self, path: &Path, events: u32) -> anyhow::Result<Capture> {
        let failed = || format!("cannot write {}", path.display());
        let mut writer = Writer::create(path, 0).with_context(failed)?;
        if self.events_each == 1 {
            for number in 0..events {
                for frame in (self.frames)(&mut connection(number), number, 0) {
                    writer.frame(&frame).with_context(failed)?;
                }
            }
            return writer.finish(path).with_context(failed);
        }
        let count = events.div_ceil(self.events_each);
        let mut connections: Vec<Conversation> = (0..count).map(connection).collect();
        for event in 0..events {
            let (number, step) = (event % count, event / count);
            let Some(talk) = connections.get_mut(number as usize) else {
                continue;
            };
            for frame in (self.frames)(talk, number, step) {
                writer.frame(&frame).with_context(failed)?;
            }
        }
        writer.finish(path).with_context(failed)
    }
}

/// Returns a connection of a client of its own.
fn connection(number: u32) -> Conversation {
    let mut talk = Conversation::new(Network::Ipv4);
    talk.client = 1 + number;
    talk
}
