//! TCP conversations, frame by frame, with sequence numbers kept.

use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader, VlanId};

/// The layers below TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// IPv4 over Ethernet.
    Ipv4,
    /// IPv4 in two VLAN tags.
    Ipv4DoubleVlan,
    /// IPv4 in a PPPoE session.
    Ipv4Pppoe,
    /// IPv6 over Ethernet.
    Ipv6,
    /// IPv6 with hop-by-hop and destination options.
    Ipv6Extensions,
}

/// All of them.
pub const NETWORKS: [Network; 5] = [
    Network::Ipv4,
    Network::Ipv4DoubleVlan,
    Network::Ipv4Pppoe,
    Network::Ipv6,
    Network::Ipv6Extensions,
];

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// The sending side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The TLS client.
    Client,
    /// The TLS server.
    Server,
}

/// A connection and where it stands.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// The layers below TCP.
    pub network: Network,
    /// Number of the client, below 2^24; each has its own address.
    pub client: u32,
    /// The client's port; the server's is 443.
    pub client_port: u16,
    /// Next sequence numbers: client, server.
    pub seq: [u32; 2],
    /// TTLs: client, server.
    pub ttl: [u8; 2],
}

impl Conversation {
    /// Creates a connection after its three-way handshake.
    pub fn new(network: Network) -> Self {
        Self {
            network,
            client: 0,
            client_port: 40_112,
            seq: [1_000, 5_000],
            ttl: [64, 57],
        }
    }

    /// Returns SYN, SYN-ACK and ACK before the first bytes.
    pub fn three_way_handshake(&self) -> Vec<Vec<u8>> {
        let before = |from: From| self.next(from).wrapping_sub(1);
        vec![
            self.segment(From::Client, before(From::Client), &[], |tcp| {
                tcp.syn = true;
                tcp.ack = false;
            }),
            self.segment(From::Server, before(From::Server), &[], |tcp| {
                tcp.syn = true;
            }),
            self.ack(From::Client),
        ]
    }

    /// Returns a segment with payload; the sender's sequence number moves on.
    pub fn data(&mut self, from: From, payload: &[u8]) -> Vec<u8> {
        let frame = self.segment(from, self.next(from), payload, |tcp| tcp.psh = true);
        self.seq[from as usize] = self.next(from).wrapping_add(payload.len() as u32);
        frame
    }

    /// Returns payload cut into segments of at most `size` bytes.
    pub fn pieces(&mut self, from: From, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
        payload
            .chunks(size)
            .map(|piece| self.data(from, piece))
            .collect()
    }

    /// Returns an acknowledgement without payload.
    pub fn ack(&self, from: From) -> Vec<u8> {
        self.segment(from, self.next(from), &[], |_| {})
    }

    /// Returns a FIN.
    pub fn fin(&mut self, from: From) -> Vec<u8> {
        let frame = self.segment(from, self.next(from), &[], |tcp| tcp.fin = true);
        self.seq[from as usize] = self.next(from).wrapping_add(1);
        frame
    }

    /// Returns a RST with ACK.
    pub fn rst(&self, from: From) -> Vec<u8> {
        self.segment(from, self.next(from), &[], |tcp| tcp.rst = true)
    }

    /// Returns the sequence number of the next byte.
    pub fn next(&self, from: From) -> u32 {
        self.seq[from as usize]
    }

    /// Returns any segment.
    pub fn segment(
        &self,
        from: From,
        seq: u32,
        payload: &[u8],
        change: impl FnOnce(&mut TcpHeader),
    ) -> Vec<u8> {
        let ports = match from {
            From::Client => (self.client_port, 443),
            From::Server => (443, self.client_port),
        };
        let mut tcp = TcpHeader::new(ports.0, ports.1, seq, 502);
        tcp.ack = true;
        tcp.acknowledgment_number = self.seq[1 - from as usize];
        // No-operation twice and a timestamp, as Linux sends it.
        let timestamp = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        tcp.set_options_raw(&timestamp).expect("twelve bytes fit");
        change(&mut tcp);
        self.frame(from, tcp, payload)
    }

    fn frame(&self, from: From, tcp: TcpHeader, payload: &[u8]) -> Vec<u8> {
        let server = [10, 0, 2, 2];
        let client = match self.client.to_be_bytes() {
            [0, 0, 0, 0] => [10, 0, 1, 2],
            [_, b, c, d] => [11, b, c, d],
        };
        let (macs, v4) = match from {
            From::Client => ((CLIENT_MAC, SERVER_MAC), (client, server)),
            From::Server => ((SERVER_MAC, CLIENT_MAC), (server, client)),
        };
        let ttl = self.ttl[from as usize];
        let v6 = |number: u32, last: u8| -> [u8; 16] {
            let mut address = [0; 16];
            address[..2].copy_from_slice(&[0x20, 0x01]);
            address[10..14].copy_from_slice(&number.to_be_bytes());
            address[15] = last;
            address
        };
        let (one, other) = match from {
            From::Client => (v6(self.client, 1), v6(0, 2)),
            From::Server => (v6(0, 2), v6(self.client, 1)),
        };
        let ethernet = PacketBuilder::ethernet2(macs.0, macs.1);
        match self.network {
            Network::Ipv4 => written(ethernet.ipv4(v4.0, v4.1, ttl).tcp_header(tcp), payload),
            Network::Ipv4DoubleVlan => {
                let tagged = ethernet.double_vlan(
                    VlanId::try_new(100).expect("below 4096"),
                    VlanId::try_new(7).expect("below 4096"),
                );
                written(tagged.ipv4(v4.0, v4.1, ttl).tcp_header(tcp), payload)
            }
            Network::Ipv4Pppoe => {
                let plain = written(ethernet.ipv4(v4.0, v4.1, ttl).tcp_header(tcp), payload);
                let (link, packet) = plain.split_at(14);
                let length = (packet.len() as u16 + 2).to_be_bytes();
                let session = [0x88, 0x64, 0x11, 0, 0, 1, length[0], length[1], 0, 0x21];
                [&link[..12], &session, packet].concat()
            }
            Network::Ipv6 => written(ethernet.ipv6(one, other, ttl).tcp_header(tcp), payload),
            Network::Ipv6Extensions => {
                let plain = written(ethernet.ipv6(one, other, ttl).tcp_header(tcp), payload);
                with_extensions(&plain)
            }
        }
    }
}

fn written(step: PacketBuilderStep<TcpHeader>, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(step.size(payload.len()));
    step.write(&mut frame, payload)
        .expect("writing to memory does not fail");
    frame
}

/// Returns hop-by-hop options (8 bytes) and destination options (16 bytes) before TCP.
fn with_extensions(plain: &[u8]) -> Vec<u8> {
    let mut frame = plain.to_vec();
    let length = u16::from_be_bytes([frame[18], frame[19]]) + 24;
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    frame[20] = 0;
    let hop_by_hop = [60, 0, 1, 4, 0, 0, 0, 0];
    let destination = [6, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    frame.splice(54..54, hop_by_hop.into_iter().chain(destination));
    frame
}

/// Handshake messages and records.
pub mod tls {
    /// Returns a record of TLS 1.2's version.
    pub fn record(content_type: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [&[content_type, 3, 3, length[0], length[1]][..], body].concat()
    }

    /// Returns a handshake message.
    pub fn message(handshake_type: u8, body: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = (body.len() as u32).to_be_bytes();
        [&[handshake_type, a, b, c][..], body].concat()
    }

    /// Returns a record with a ClientHello for `name` whose body is `len` bytes or a little more.
    pub fn client_hello(name: &str, len: usize) -> Vec<u8> {
        let name = name.as_bytes();
        let entry = [&[0][..], &(name.len() as u16).to_be_bytes(), name].concat();
        let list = [&(entry.len() as u16).to_be_bytes()[..], &entry].concat();
        let mut extensions = [&[0, 0][..], &(list.len() as u16).to_be_bytes(), &list].concat();
        extensions.extend([0, 43, 0, 5, 4, 3, 4, 3, 3]);
        let padding = len.saturating_sub(extensions.len() + 43 + 4);
        extensions.extend([&[0, 21][..], &(padding as u16).to_be_bytes()].concat());
        extensions.extend(vec![0; padding]);
        let body = [
            &[3, 3][..],
            &[7; 32],
            &[0, 0, 4, 0x13, 0x01, 0xc0, 0x2f, 1, 0],
            &(extensions.len() as u16).to_be_bytes(),
            &extensions,
        ]
        .concat();
        record(22, &message(1, &body))
    }

    /// Returns a record with a ServerHello that chooses `suite`; TLS 1.3 if `tls13`.
    pub fn server_hello(suite: u16, tls13: bool) -> Vec<u8> {
        let extensions: &[u8] = if tls13 { &[0, 43, 0, 2, 3, 4] } else { &[] };
        let body = [
            &[3, 3][..],
            &[9; 32],
            &[0],
            &suite.to_be_bytes(),
            &[0],
            &(extensions.len() as u16).to_be_bytes(),
            extensions,
        ]
        .concat();
        record(22, &message(2, &body))
    }
}
