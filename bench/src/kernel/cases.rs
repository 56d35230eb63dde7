//! Packets, and those that bring their flow to where they are looked at.

use tests::conversation::{Conversation, From, Network, tls};

/// One kind of packet.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) price: Price,
    network: Network,
    make: Make,
}

/// Makes the packets before the one that is meant, and that.
type Make = fn(Conversation) -> (Vec<Vec<u8>>, Vec<u8>);

/// The limit of a packet's cost.
#[derive(Clone, Copy)]
pub(super) enum Price {
    /// Next to nothing.
    Established,
    /// So many times the reference.
    References(f64),
}

impl Case {
    /// Returns the packets of a connection from this port of the client's.
    pub(super) fn packets(&self, client_port: u16) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut talk = Conversation::new(self.network);
        talk.client_port = client_port;
        (self.make)(talk)
    }
}

fn application_data(len: usize) -> Vec<u8> {
    tls::record(23, &vec![0xa5; len])
}

/// Returns the packets up to where the connection has settled.
fn settled(talk: &mut Conversation) -> Vec<Vec<u8>> {
    let mut frames = vec![talk.data(From::Client, &tls::client_hello("bench.test", 500))];
    frames.push(talk.data(From::Server, &tls::server_hello(0x1301, true)));
    for _ in 0..12 {
        frames.push(talk.data(From::Client, &application_data(300)));
        frames.push(talk.data(From::Server, &application_data(1000)));
    }
    frames
}

/// Returns the packets up to the middle of the handshake.
fn watched(talk: &mut Conversation) -> Vec<Vec<u8>> {
    let hello = talk.data(From::Client, &tls::client_hello("bench.test", 500));
    let answer = talk.data(From::Server, &tls::server_hello(0xc02f, false));
    vec![hello, answer]
}

/// Returns packets that tell nothing, or pass, however often they come.
pub(super) fn passing() -> Vec<Case> {
    let case = |name, network, price, make: Make| Case {
        name,
        price,
        network,
        make,
    };
    let ack: Make = |mut talk| {
        let before = settled(&mut talk);
        (before, talk.ack(From::Client))
    };
    let data: Make = |mut talk| {
        let before = settled(&mut talk);
        let segment = talk.data(From::Server, &[0x5a; 1448]);
        (before, segment)
    };
    let established = Price::Established;
    vec![
        case(
            "pure ACK, established, IPv4",
            Network::Ipv4,
            established,
            ack,
        ),
        case(
            "full data segment, established, IPv4",
            Network::Ipv4,
            established,
            data,
        ),
        case(
            "pure ACK, established, IPv6",
            Network::Ipv6,
            established,
            ack,
        ),
        case(
            "full data segment, established, IPv6",
            Network::Ipv6,
            established,
            data,
        ),
        case("not TCP", Network::Ipv4, established, |talk| {
            let mut udp = talk.ack(From::Client);
            if let Some(protocol) = udp.get_mut(14 + 9) {
                *protocol = 17;
            }
            (Vec::new(), udp)
        }),
        case(
            "data within a record, in the handshake",
            Network::Ipv4,
            Price::References(3.0),
            |mut talk| {
                let before = watched(&mut talk);
                let mut record = tls::record(22, &[0; 8000]);
                record.truncate(1448);
                (before, talk.data(From::Server, &record))
            },
        ),
        case(
            "RST of no flow",
            Network::Ipv4,
            Price::References(3.0),
            |talk| (Vec::new(), talk.rst(From::Server)),
        ),
    ]
}

/// Returns packets that tell something once.
pub(super) fn telling() -> Vec<Case> {
    let case = |name, times, make| Case {
        name,
        price: Price::References(times),
        network: Network::Ipv4,
        make,
    };
    vec![
        case("ClientHello of 517 bytes", 10.0, |mut talk| {
            let hello = talk.data(From::Client, &tls::client_hello("bench.test", 500));
            (Vec::new(), hello)
        }),
        case("ServerHello", 3.0, |mut talk| {
            let hello = talk.data(From::Client, &tls::client_hello("bench.test", 500));
            let answer = talk.data(From::Server, &tls::server_hello(0xc02f, false));
            (vec![hello], answer)
        }),
        case("alert", 3.0, |mut talk| {
            let before = watched(&mut talk);
            (before, talk.data(From::Client, &tls::record(21, &[2, 46])))
        }),
        case("FIN of a watched flow", 3.0, |mut talk| {
            let before = watched(&mut talk);
            (before, talk.fin(From::Client))
        }),
        case("RST of a watched flow", 3.0, |mut talk| {
            let before = watched(&mut talk);
            (before, talk.rst(From::Server))
        }),
    ]
}

/// Returns a connection that has settled, and a segment of its data.
pub(super) fn established() -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut talk = Conversation::new(Network::Ipv4);
    let before = settled(&mut talk);
    let segment = talk.data(From::Server, &[0x5a; 1448]);
    (before, segment)
}

/// Returns a ClientHello from this port of the client's.
pub(super) fn hello(client_port: u16) -> Vec<u8> {
    let mut talk = Conversation::new(Network::Ipv4);
    talk.client_port = client_port;
    talk.data(From::Client, &tls::client_hello("bench.test", 500))
}
