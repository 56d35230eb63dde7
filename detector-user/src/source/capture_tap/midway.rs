//! Connections whose ClientHello a capture missed.

use detector_common::flow::{Flow, Sender};
use detector_common::headers::Segment;
use detector_common::packet::Packet;
use detector_common::syn::SynSlot;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
/// The longest handshake message that is believed, in bytes: a Certificate with a long chain.
const MESSAGE_MAX: u32 = 1 << 17;

/// Returns the sender of a segment that begins with a plaintext handshake record of a server, or with a
/// plaintext alert.
pub(super) fn sender(packet: &impl Packet, segment: &Segment) -> Option<Sender> {
    let head = packet.window::<7>(segment.payload_offset)?;
    match *head {
        [HANDSHAKE, 3, 0..=4, high, low, kind, length_high] => {
            let record = u32::from(u16::from_be_bytes([high, low]));
            let rest = packet.window::<9>(segment.payload_offset)?;
            let message = u32::from_be_bytes([0, length_high, rest[7], rest[8]]);
            let fits = match kind {
                SERVER_HELLO => (38..=record.saturating_sub(4)).contains(&message),
                CERTIFICATE | SERVER_KEY_EXCHANGE | CERTIFICATE_REQUEST => message <= MESSAGE_MAX,
                _ => return None,
            };
            // A client's Certificate comes in the same kind of message.
            let sender = match kind {
                CERTIFICATE => by_port(segment),
                _ => Sender::Server,
            };
            fits.then_some(sender)
        }
        [ALERT, 3, 0..=4, 0, 2, 1..=2, description] if is_assigned(description) => {
            Some(by_port(segment))
        }
        _ => None,
    }
}

/// Takes the side that listens on the lower port for the server.
const fn by_port(segment: &Segment) -> Sender {
    let [source, destination] = segment.key.ports;
    if source < destination {
        Sender::Server
    } else {
        Sender::Client
    }
}

/// Whether an alert's description is in the registry.
const fn is_assigned(description: u8) -> bool {
    matches!(
        description,
        0 | 10 | 20..=22 | 30 | 40..=51 | 60 | 70 | 71 | 80 | 86 | 90 | 100 | 109..=116 | 120 | 121
    )
}

/// Initialises the flow of such a segment. Where it is the client's first, its SYN shows that no ClientHello
/// was missed.
pub(super) fn begin(
    flow: &mut Flow,
    sender: Sender,
    segment: &Segment,
    now_ns: u64,
    slot: Option<&SynSlot>,
) {
    let syn = slot
        .map(|slot| slot.syn)
        .filter(|syn| sender == Sender::Client && syn.was_seen() && syn.next_seq == segment.seq);
    let [client, _] = &mut flow.syns;
    *client = syn.unwrap_or_default();
    flow.started_ns = now_ns;
    flow.vlan = segment.vlan;
    flow.client_endpoint = match sender {
        Sender::Client => segment.endpoint,
        Sender::Server => segment.endpoint ^ 1,
    };
}
