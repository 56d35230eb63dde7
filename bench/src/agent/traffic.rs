//! Observations of many clients: real frames through the engine, as a capture's are.
//!
//! Twenty thousand clients with sixty-four applications ask for fifty thousand names on five thousand
//! servers, through an interceptor. Of twenty connections sixteen work, five of them for long; two are
//! refused by an alert, in the clear or encrypted, one is reset by a third party, and one dropped.

use anyhow::Context;
use detector_common::headers::LinkType;
use detector_user::source::capture::{Frame, LinkType as CaptureLinkType};
use detector_user::source::capture_tap::CaptureTap;
use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tests::conversation::{Conversation, From, Network, tls};

use super::messages::{certificate_message, client_hello, scattered, server_hello};
use super::told::Told;

/// The owner of the certificates that are shown.
pub(super) const INSPECTION_CA: &str = "CN=Inspection CA";

/// Connections whose packets are mixed at any time.
const AT_ONCE: u32 = 1000;

/// Packets that one connection has on average.
const PACKETS: u64 = 17;

const CLIENTS: u32 = 20_000;
const APPS: u32 = 64;
const NAMES: u32 = 50_000;
const SERVERS: u32 = 5_000;

/// Names whose connections speak TLS 1.2, each with a certificate of its own.
const NAMES_TLS12: u32 = 200;

const SEGMENT: usize = 1448;

/// Makes connections, no two of them alike.
pub(super) struct Traffic {
    certificates: Vec<Vec<u8>>,
    tap: CaptureTap,
    number: u32,
    now_ns: u64,
    step_ns: u64,
}

impl Traffic {
    /// Makes connections at about this rate, on the tap's clock.
    pub(super) fn new(connections_a_second: u64) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(vec![])?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Inspection CA");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let own = params.self_signed(&key)?;
        let issuer = Issuer::new(params, key);
        let certificates = (0..NAMES_TLS12).map(|number| {
            let mut params = CertificateParams::new(vec![name(number)])?;
            params
                .distinguished_name
                .push(DnType::CommonName, name(number));
            let leaf = params.signed_by(&KeyPair::generate()?, &issuer)?;
            Ok(certificate_message(&[leaf.der(), own.der()]))
        });
        Ok(Self {
            certificates: certificates
                .collect::<Result<_, rcgen::Error>>()
                .context("cannot make certificates")?,
            tap: CaptureTap::default(),
            number: 0,
            now_ns: 1_800_000_000_000_000_000,
            step_ns: 1_000_000_000 / (connections_a_second * PACKETS),
        })
    }

    /// Replaces the records by those of the next connections, at least so many; returns their
    /// number.
    pub(super) fn next(&mut self, connections: u32, told: &mut Told) -> u32 {
        told.clear();
        let groups = connections.div_ceil(AT_ONCE);
        for _ in 0..groups {
            self.group(told);
        }
        told.end_turn(self.now_ns);
        groups * AT_ONCE
    }

    /// Records a group of connections whose packets are mixed.
    fn group(&mut self, told: &mut Told) {
        // All that came before has ended.
        self.tap.restart();
        let mut streams: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                self.number = self.number.wrapping_add(1);
                self.connection(self.number).into_iter()
            })
            .collect();
        while !streams.is_empty() {
            streams.retain_mut(|stream| {
                let Some(frame) = stream.next() else {
                    return false;
                };
                self.now_ns += self.step_ns;
                self.frame(&frame, told);
                true
            });
        }
    }

    fn frame(&mut self, frame: &[u8], told: &mut Told) {
        let frame = Frame {
            time_ns: self.now_ns,
            interface: 0,
            link_type: CaptureLinkType::ETHERNET,
            captured: frame,
            original_len: frame.len() as u32,
        };
        self.tap.frame(&frame, LinkType::Ethernet, 0, told);
        if told.turn_is_full() {
            told.end_turn(self.now_ns);
        }
    }

    fn connection(&self, number: u32) -> Vec<Vec<u8>> {
        let party = Party::of(number);
        let mut talk = Conversation::new(party.network);
        talk.client_port = 1024 + (number % 60_000) as u16;
        talk.seq = [scattered(number), scattered(!number)];
        let hello = client_hello(&name(party.name), party.app, number);
        let mut frames = talk.pieces(From::Client, &hello, SEGMENT);
        frames.push(talk.ack(From::Server));
        if number % 20 == 18 {
            talk.ttl[1] = 250;
            frames.push(talk.rst(From::Server));
        } else if party.is_tls12() {
            self.tls12(&mut talk, number, party.name, &mut frames);
        } else {
            tls13(&mut talk, number, &mut frames);
        }
        for frame in &mut frames {
            party.address(frame);
        }
        frames
    }

    /// Works, or is refused with an alert in the clear.
    fn tls12(&self, talk: &mut Conversation, number: u32, name: u32, frames: &mut Vec<Vec<u8>>) {
        let certificate = self.certificates.get(name as usize);
        let flight = [
            server_hello(number, 0xc02f, &[0xff, 1, 0, 1, 0, 0, 23, 0, 0]),
            tls::record(22, certificate.map_or(&[], Vec::as_slice)),
            tls::record(22, &tls::message(12, &[5; 329])),
            tls::record(22, &tls::message(14, &[])),
        ];
        frames.extend(talk.pieces(From::Server, &flight.concat(), SEGMENT));
        if number % 20 == 17 {
            frames.push(talk.data(From::Client, &tls::record(21, &[2, 48])));
            frames.push(talk.rst(From::Client));
            return;
        }
        let finished = [tls::record(20, &[1]), tls::record(22, &[9; 40])].concat();
        let key_exchange = tls::record(22, &tls::message(16, &[65; 66]));
        frames.push(talk.data(From::Client, &[key_exchange, finished.clone()].concat()));
        frames.push(talk.data(From::Server, &finished));
        exchange(talk, 2, frames);
        frames.push(talk.data(From::Client, &tls::record(21, &[3; 26])));
        close(talk, frames);
    }
}

/// Works for a moment or for long, is refused with an encrypted alert, or dropped.
fn tls13(talk: &mut Conversation, number: u32, frames: &mut Vec<Vec<u8>>) {
    let share = [
        &[0, 51, 0, 36, 0, 29, 0, 32][..],
        &[3; 32],
        &[0, 43, 0, 2, 3, 4],
    ]
    .concat();
    let changed = tls::record(20, &[1]);
    let encrypted = tls::record(23, &[4; 2900]);
    let flight = [
        server_hello(number, 0x1301, &share),
        changed.clone(),
        encrypted,
    ]
    .concat();
    frames.extend(talk.pieces(From::Server, &flight, SEGMENT));
    match number % 20 {
        16 => {
            let alert = [changed, tls::record(23, &[6; 19])].concat();
            frames.push(talk.data(From::Client, &alert));
        }
        19 => {}
        kind => {
            let finished = [changed, tls::record(23, &[6; 53])].concat();
            frames.push(talk.data(From::Client, &finished));
            exchange(talk, if kind < 8 { 2 } else { 10 }, frames);
            frames.push(talk.data(From::Client, &tls::record(23, &[8; 19])));
        }
    }
    close(talk, frames);
}

fn exchange(talk: &mut Conversation, times: u32, frames: &mut Vec<Vec<u8>>) {
    for _ in 0..times {
        frames.push(talk.data(From::Client, &tls::record(23, &[1; 300])));
        frames.push(talk.data(From::Server, &tls::record(23, &[2; 900])));
    }
}

fn close(talk: &mut Conversation, frames: &mut Vec<Vec<u8>>) {
    frames.push(talk.fin(From::Client));
    frames.push(talk.fin(From::Server));
}

/// The two ends of a connection.
struct Party {
    network: Network,
    client: u32,
    app: u32,
    name: u32,
}

impl Party {
    fn of(number: u32) -> Self {
        let tls12 = matches!(number % 20, 13..=15 | 17);
        let names = if tls12 { NAMES_TLS12 } else { NAMES };
        let client = scattered(number) % CLIENTS;
        Self {
            network: if number.is_multiple_of(4) {
                Network::Ipv6
            } else {
                Network::Ipv4
            },
            client,
            // Four applications on each client.
            app: (client * 7 + scattered(number ^ 0x5555) % 4) % APPS,
            name: scattered(number ^ 0xaaaa) % names,
        }
    }

    fn is_tls12(&self) -> bool {
        self.name < NAMES_TLS12
    }

    /// Puts both ends' addresses into a frame.
    fn address(&self, frame: &mut [u8]) {
        // Where the last bytes of source and destination lie.
        let places = match self.network {
            Network::Ipv6 => [34, 50],
            _ => [26, 30],
        };
        let [_, a, b, c] = self.client.to_be_bytes();
        let client = [10, a, b, c];
        let [_, a, b, c] = (self.name % SERVERS).to_be_bytes();
        let server = [20, a, b, c];
        let is_client = frame.get(11) == Some(&1);
        let ends = if is_client {
            [client, server]
        } else {
            [server, client]
        };
        for (at, end) in places.into_iter().zip(ends) {
            if let Some(bytes) = frame.get_mut(at..at + end.len()) {
                bytes.copy_from_slice(&end);
            }
        }
    }
}

fn name(number: u32) -> String {
    format!("www.site{number:05}.test")
}
