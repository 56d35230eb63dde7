//! ICMP errors in captures: which connection's segment one quotes, and whether the segment arrived all the
//! same.
//!
//! In: frames in which the engine found no TCP, and while errors are remembered all others. Out: an
//! [`UnreachableReport`] for each error about a SYN or about data, and one when they were acknowledged.
//! Live taps have no part in this.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use detector_common::flow::{Flow, FlowKey, Sender, side_flags};
use detector_common::headers::{Segment, Tap, network_header, tcp_flags, walk};
use detector_common::packet::Packet;
use hashlink::LruCache;

use crate::flow::receiver::Receiver;
use crate::flow::unreachable::{Code, Unreachable, UnreachableReport};

/// Maximum connections with errors that are remembered.
const FOLLOWED_MAX: usize = 1 << 12;
/// A connection's data in flight are less.
const IN_FLIGHT_MAX: u32 = 1 << 28;

/// Connections whose segments were answered with errors and not acknowledged since.
pub(super) struct IcmpErrors(LruCache<FlowKey, Followed>);

impl Default for IcmpErrors {
    fn default() -> Self {
        Self(LruCache::new(FOLLOWED_MAX))
    }
}

/// One connection's latest segment that was answered with an error.
struct Followed {
    /// Index of its sender in the key.
    endpoint: u8,
    seq: u32,
    report: UnreachableReport,
}

/// A Destination Unreachable and the segment that it quotes.
struct Quote {
    by: IpAddr,
    code: Code,
    segment: Segment,
    /// Whether the quote goes as far as the segment's flags.
    has_flags: bool,
}

impl IcmpErrors {
    /// Whether no errors are remembered.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a frame without TCP; true if it is an error about TCP. `flow_of` returns the flow of a key,
    /// watched or settled.
    pub(super) fn read(
        &mut self,
        frame: &[u8],
        tap: &Tap,
        now_ns: u64,
        flow_of: impl FnOnce(&FlowKey) -> Option<Flow>,
        receiver: &mut impl Receiver,
    ) -> bool {
        let Some(quote) = quote(frame, tap) else {
            return false;
        };
        let mut segment = quote.segment;
        segment.order_endpoints();
        let flow = flow_of(&segment.key);
        let is_syn = segment.has(tcp_flags::SYN) || (!quote.has_flags && flow.is_none());
        let flow = flow.filter(|_| !is_syn);
        let client_endpoint = match &flow {
            Some(flow) => flow.client_endpoint,
            None if is_syn && segment.has(tcp_flags::ACK) => segment.endpoint ^ 1,
            None if is_syn => segment.endpoint,
            None => return true,
        };
        let about = if segment.endpoint == client_endpoint {
            Sender::Client
        } else {
            Sender::Server
        };
        let is_in_flight = |flow: &Flow| is_in_flight(flow, about, segment.seq);
        // Acknowledgements and FINs that are answered so are often those of a connection that is over.
        if !is_syn && segment.payload_len == 0 || flow.as_ref().is_some_and(|it| !is_in_flight(it))
        {
            return true;
        }
        let report = UnreachableReport {
            key: segment.key,
            client_endpoint,
            vlan: segment.vlan,
            time_ns: now_ns,
            flow_began_ns: flow.map(|flow| flow.started_ns),
            error: Some(Unreachable {
                by: quote.by,
                about,
                about_syn: is_syn,
                code: quote.code,
                count: 1,
                first_ns: now_ns,
                last_ns: now_ns,
            }),
        };
        receiver.unreachable(&report);
        self.follow(&segment, report);
        true
    }

    fn follow(&mut self, segment: &Segment, report: UnreachableReport) {
        let before = self.0.get(&segment.key).filter(|before| {
            let same = before.report.flow_began_ns == report.flow_began_ns;
            let is_later = before.seq.wrapping_sub(segment.seq) as i32 > 0;
            same && is_later && before.endpoint == segment.endpoint
        });
        let followed = Followed {
            endpoint: segment.endpoint,
            seq: before.map_or(segment.seq, |before| before.seq),
            report,
        };
        self.0.insert(segment.key, followed);
    }

    /// Reads a segment of any connection: it may acknowledge one that was answered with an error.
    pub(super) fn segment(
        &mut self,
        packet: &impl Packet,
        tap: &Tap,
        now_ns: u64,
        receiver: &mut impl Receiver,
    ) {
        if self.0.is_empty() {
            return;
        }
        let Ok(mut segment) = walk(packet, tap) else {
            return;
        };
        segment.order_endpoints();
        let Some(followed) = self.0.get(&segment.key) else {
            return;
        };
        if followed.shows_arrival(&segment) {
            receiver.unreachable(&UnreachableReport {
                time_ns: now_ns,
                error: None,
                ..followed.report
            });
            self.0.remove(&segment.key);
        }
    }
}

impl Followed {
    /// Whether a segment shows that the one answered with an error arrived.
    fn shows_arrival(&self, segment: &Segment) -> bool {
        if segment.has(tcp_flags::RST) || !segment.has(tcp_flags::ACK) {
            return false;
        }
        if segment.endpoint == self.endpoint {
            // It got an answer to its SYN, which this capture does not have.
            let about_syn = self.report.error.is_some_and(|error| error.about_syn);
            return about_syn && !segment.has(tcp_flags::SYN);
        }
        (1..IN_FLIGHT_MAX).contains(&segment.ack.wrapping_sub(self.seq))
    }
}

/// Whether a side sent a byte at `seq` and its peer has not acknowledged it yet, as far as was seen.
fn is_in_flight(flow: &Flow, sender: Sender, seq: u32) -> bool {
    let [client, server] = &flow.sides;
    let (side, peer) = match sender {
        Sender::Client => (client, server),
        Sender::Server => (server, client),
    };
    let sent = side.next_seq.wrapping_sub(seq);
    let acknowledged = peer.ack.wrapping_sub(seq);
    // Numbers of a settled flow are those of when it became settled.
    let was_sent =
        (1..IN_FLIGHT_MAX).contains(&sent) || seq.wrapping_sub(side.next_seq) < IN_FLIGHT_MAX;
    let is_acknowledged = peer.has(side_flags::SEEN) && (1..IN_FLIGHT_MAX).contains(&acknowledged);
    was_sent && !is_acknowledged
}

/// Returns the error of a frame, if it is a Destination Unreachable about TCP that can be believed:
/// it goes to the sender of the segment that it quotes.
fn quote(frame: &[u8], tap: &Tap) -> Option<Quote> {
    let (offset, _) = network_header(&frame, tap.link).ok()?;
    let (link, packet) = frame.split_at_checked(offset)?;
    let (by, to, code, quoted) = match packet.first()? >> 4 {
        4 => icmp4(packet)?,
        6 => icmp6(packet)?,
        _ => return None,
    };
    if source(quoted)? != to {
        return None;
    }
    // RFC 792 has 8 bytes of the segment quoted: its ports and its number.
    const HEADER_REST: [u8; 12] = [0, 0, 0, 0, 0x50, 0, 0, 0, 0, 0, 0, 0];
    let whole = [link, quoted].concat();
    let (segment, has_flags) = match walk(&whole.as_slice(), tap) {
        Ok(segment) => (segment, true),
        Err(_) => {
            let padded = [whole.as_slice(), &HEADER_REST].concat();
            (walk(&padded.as_slice(), tap).ok()?, false)
        }
    };
    Some(Quote {
        by,
        code,
        segment,
        has_flags,
    })
}

type Parts<'a> = (IpAddr, IpAddr, Code, &'a [u8]);

/// Returns sender, receiver, code and quote of an ICMP message of type 3; its code 4 is path MTU
/// discovery (RFC 1191) and refuses nothing.
fn icmp4(packet: &[u8]) -> Option<Parts<'_>> {
    const ICMP: u8 = 1;
    const FRAGMENTATION_NEEDED: u8 = 4;
    let header = packet.first_chunk::<20>()?;
    let [
        first,
        _,
        len_high,
        len_low,
        _,
        _,
        fragment_high,
        fragment_low,
        _,
        protocol,
        ..,
    ] = *header;
    let fragment = u16::from_be_bytes([fragment_high & 0x1f, fragment_low]);
    let len = usize::from(u16::from_be_bytes([len_high, len_low]));
    let packet = packet.get(..len).unwrap_or(packet);
    let message = packet.get(usize::from(first & 0x0f) * 4..)?;
    match (protocol, fragment, message) {
        (ICMP, 0, [3, code, _, _, _, _, _, _, quoted @ ..]) if *code != FRAGMENTATION_NEEDED => {
            let address = |at| {
                let octets: [u8; 4] = *packet.get(at..)?.first_chunk()?;
                Some(IpAddr::V4(Ipv4Addr::from(octets)))
            };
            Some((address(12)?, address(16)?, Code::V4(*code), quoted))
        }
        _ => None,
    }
}

/// Returns the same of an ICMPv6 message of type 1.
fn icmp6(packet: &[u8]) -> Option<Parts<'_>> {
    const ICMPV6: u8 = 58;
    let (header, rest) = packet.split_first_chunk::<40>()?;
    let [_, _, _, _, len_high, len_low, protocol, ..] = *header;
    let len = usize::from(u16::from_be_bytes([len_high, len_low]));
    match (protocol, rest.get(..len).unwrap_or(rest)) {
        (ICMPV6, [1, code, _, _, _, _, _, _, quoted @ ..]) => {
            Some((ipv6(packet, 8)?, ipv6(packet, 24)?, Code::V6(*code), quoted))
        }
        _ => None,
    }
}

/// Returns the source address of an IP header.
fn source(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => {
            let octets: [u8; 4] = *packet.get(12..)?.first_chunk()?;
            Some(IpAddr::V4(Ipv4Addr::from(octets)))
        }
        6 => ipv6(packet, 8),
        _ => None,
    }
}

fn ipv6(packet: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 16] = *packet.get(at..)?.first_chunk()?;
    Some(IpAddr::V6(Ipv6Addr::from(octets)))
}
