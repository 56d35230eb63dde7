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
}

/// As gateways see it: most packets are data of connections that work, 568 bytes on average.
pub(crate) const MIX: Mix = Mix {
    packets: 1_000_000,
    at_once: 64,
    turns: 30,
    answer: 3320,
    records: 1,
};

impl Mix {
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<Capture> {
        let failed = || format!("cannot write {}", path.display());
        let mut writer = Writer::create(path).with_context(failed)?;
        let mut next = 1;
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
}

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
        }
    }

    /// Returns the next segments, sent at once; nothing at the end. Every twentieth client refuses
    /// the certificate.
    fn next(&mut self, mix: &Mix) -> Vec<Vec<u8>> {
        let talk = &mut self.talk;
        let step = self.step;
        self.step += 1;
        let refuses = self.number.is_multiple_of(20);
        match step {
            0 => {
                let name = format!("name{}.test", self.number % 300);
                let hello = talk.data(From::Client, &tls::client_hello(&name, 500));
                vec![hello, talk.ack(From::Server)]
            }
            1 => {
                let flight = [
                    tls::server_hello(0xc02f, false),
                    tls::record(22, &tls::message(11, &[7; 2800])),
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
                let finished = [tls::record(20, &[1]), tls::record(22, &[9; 40])].concat();
                vec![
                    talk.data(From::Client, &finished),
                    talk.data(From::Server, &finished),
                ]
            }
            _ if step < 3 + mix.turns => turn(talk, mix),
            _ if step == 3 + mix.turns => vec![
                talk.data(From::Client, &tls::record(21, &[3; 26])),
                talk.fin(From::Client),
                talk.fin(From::Server),
            ],
            _ => Vec::new(),
        }
    }
}

/// Returns a request and its answer.
fn turn(talk: &mut Conversation, mix: &Mix) -> Vec<Vec<u8>> {
    let mut frames = vec![
        talk.data(From::Client, &tls::record(23, &[1; 180])),
        talk.ack(From::Server),
    ];
    let answer = tls::record(23, &vec![2; mix.answer / mix.records]).repeat(mix.records);
    frames.extend(talk.pieces(From::Server, &answer, 1448));
    frames.push(talk.ack(From::Client));
    frames.push(talk.ack(From::Client));
    frames
}

/// Writes classic pcap: microseconds, little-endian, version 2.4, Ethernet.
struct Writer {
    out: BufWriter<File>,
    packets: u64,
    bytes: u64,
}

impl Writer {
    fn create(path: &Path) -> std::io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        out.write_all(&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
        out.write_all(&[0, 0, 4, 0, 1, 0, 0, 0])?;
        Ok(Self {
            out,
            packets: 0,
            bytes: 24,
        })
    }

    fn frame(&mut self, frame: &[u8]) -> std::io::Result<()> {
        self.packets += 1;
        let time = self.packets * 20;
        let header = [
            (1_700_000_000 + time / 1_000_000) as u32,
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

    fn finish(mut self, path: &Path) -> std::io::Result<Capture> {
        self.out.flush()?;
        Ok(Capture {
            path: path.to_owned(),
            packets: self.packets,
            bytes: self.bytes,
        })
    }
}
