//! Captures to read: connections that work and some that do not.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tests::conversation::{Conversation, From, Network, tls};

/// A capture and its contents.
pub(crate) struct Capture {
    pub(crate) path: PathBuf,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// Clients behind the gateway; each connects again and again.
const CLIENTS: u32 = 4096;

/// The traffic to write.
#[derive(Clone, Copy)]
pub(crate) struct Mix {
    /// Packets, at least.
    pub(crate) packets: u64,
    /// Connections whose packets are mixed at any time.
    pub(crate) at_once: u32,
    /// Turns of request and answer in each connection.
    pub(crate) turns: u32,
    /// Bytes of an answer.
    pub(crate) answer: usize,
    /// Records in which an answer comes.
    pub(crate) records: usize,
    /// Number of the first connection; a capture with later ones begins so many seconds later.
    pub(crate) first: u32,
}

/// As gateways see it: most packets are data of connections that work, 568 bytes on average, 209 packets in each
/// connection.
pub(crate) const MIX: Mix = Mix {
    packets: 1_000_000,
    at_once: 64,
    turns: 30,
    answer: 3320,
    records: 1,
    first: 1,
};

/// Connections with one request each, 16 packets on average.
pub(crate) const SHORT: Mix = Mix {
    turns: 1,
    answer: 1000,
    ..MIX
};

impl Mix {
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<Capture> {
        let failed = || format!("cannot write {}", path.display());
        let mut writer = Writer::create(path, self.first).with_context(failed)?;
        let mut next = self.first;
        while writer.packets < self.packets {
            let mut connections: Vec<Connection> =
                (next..next + self.at_once).map(Connection::new).collect();
            next += self.at_once;
            while !connections.is_empty() {
                let mut going_on = Vec::with_capacity(connections.len());
                for mut connection in connections {
                    let frames = connection.next(self);
                    for frame in &frames {
                        writer.frame(frame).with_context(failed)?;
                    }
                    if !frames.is_empty() {
                        going_on.push(connection);
                    }
                }
                connections = going_on;
            }
        }
        writer.finish(path).with_context(failed)
    }
}

/// A connection that is under way; it keeps little, as there may be a million.
struct Connection {
    talk: Conversation,
    number: u32,
    step: u32,
    bytes: Bytes,
}

/// Bytes as of ciphertext, the same in each run.
struct Bytes(u64);

impl Bytes {
    fn take<const LEN: usize>(&mut self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        self.fill(&mut bytes);
        bytes
    }

    fn many(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }

    /// Fills by xorshift.
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Offset of the random in a record with a hello.
const RANDOM: usize = 11;

impl Connection {
    fn new(number: u32) -> Self {
        let network = if number.is_multiple_of(4) {
            Network::Ipv6
        } else {
            Network::Ipv4
        };
        let mut talk = Conversation::new(network);
        talk.client = 1 + number % CLIENTS;
        talk.client_port = 1024 + (number / CLIENTS % 60_000) as u16;
        talk.seq = [
            number.wrapping_mul(2_654_435_761),
            number.wrapping_mul(40_503),
        ];
        Self {
            talk,
            number,
            step: 0,
            bytes: Bytes(u64::from(number) << 32 | 0x9e37_79b9),
        }
    }

    /// Returns the next segments, sent at once; nothing at the end. Every twentieth client refuses
    /// the certificate.
    fn next(&mut self, mix: &Mix) -> Vec<Vec<u8>> {
        let (talk, bytes) = (&mut self.talk, &mut self.bytes);
        let step = self.step;
        self.step += 1;
        let refuses = self.number.is_multiple_of(20);
        match step {
            0 => {
                let name = format!("name{}.test", self.number % 300);
                let mut hello = tls::client_hello(&name, 500);
                hello[RANDOM..RANDOM + 32].copy_from_slice(&bytes.take::<32>());
                let hello = talk.data(From::Client, &hello);
                vec![hello, talk.ack(From::Server)]
            }
            1 => {
                let mut server_hello = tls::server_hello(0xc02f, false);
                server_hello[RANDOM..RANDOM + 32].copy_from_slice(&bytes.take::<32>());
                let mut of_name = Bytes(u64::from(self.number % 300) + 1);
                let flight = [
                    server_hello,
                    tls::record(22, &tls::message(11, &of_name.many(2800))),
                    tls::record(22, &tls::message(14, &[])),
                ];
                let mut frames = talk.pieces(From::Server, &flight.concat(), 1448);
                frames.push(talk.ack(From::Client));
                frames
            }
            2 if refuses => vec![
                talk.data(From::Client, &tls::record(21, &[2, 46])),
                talk.fin(From::Client),
                talk.fin(From::Server),
            ],
            _ if refuses => Vec::new(),
            2 => {
                let finished =
                    [tls::record(20, &[1]), tls::record(22, &bytes.take::<40>())].concat();
                vec![
                    talk.data(From::Client, &finished),
                    talk.data(From::Server, &finished),
                ]
            }
            _ if step < 3 + mix.turns => turn(talk, bytes, mix),
            _ if step == 3 + mix.turns => vec![
                talk.data(From::Client, &tls::record(21, &bytes.take::<26>())),
                talk.fin(From::Client),
                talk.fin(From::Server),
            ],
            _ => Vec::new(),
        }
    }
}

/// Returns a request and its answer.
fn turn(talk: &mut Conversation, bytes: &mut Bytes, mix: &Mix) -> Vec<Vec<u8>> {
    let mut frames = vec![
        talk.data(From::Client, &tls::record(23, &bytes.take::<180>())),
        talk.ack(From::Server),
    ];
    let records = (0..mix.records).map(|_| tls::record(23, &bytes.many(mix.answer / mix.records)));
    let answer: Vec<Vec<u8>> = records.collect();
    frames.extend(talk.pieces(From::Server, &answer.concat(), 1448));
    frames.push(talk.ack(From::Client));
    frames.push(talk.ack(From::Client));
    frames
}

/// Writes classic pcap: microseconds, little-endian, version 2.4, Ethernet.
pub(crate) struct Writer {
    out: BufWriter<File>,
    begin_s: u64,
    packets: u64,
    bytes: u64,
}

impl Writer {
    pub(crate) fn create(path: &Path, later_s: u32) -> std::io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        out.write_all(&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
        out.write_all(&[0, 0, 4, 0, 1, 0, 0, 0])?;
        Ok(Self {
            out,
            begin_s: 1_700_000_000 + u64::from(later_s),
            packets: 0,
            bytes: 24,
        })
    }

    pub(crate) fn frame(&mut self, frame: &[u8]) -> std::io::Result<()> {
        self.packets += 1;
        let time = self.packets * 20;
        let header = [
            (self.begin_s + time / 1_000_000) as u32,
            (time % 1_000_000) as u32,
            frame.len() as u32,
            frame.len() as u32,
        ];
        for number in header {
            self.out.write_all(&number.to_le_bytes())?;
        }
        self.bytes += 16 + frame.len() as u64;
        self.out.write_all(frame)
    }

    pub(crate) fn finish(mut self, path: &Path) -> std::io::Result<Capture> {
        self.out.flush()?;
        Ok(Capture {
            path: path.to_owned(),
            packets: self.packets,
            bytes: self.bytes,
        })
    }
}
