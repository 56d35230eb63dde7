//! Forged resets, device by device.
//!
//! Sources: Weaver, Sommer, Paxson, "Detecting Forged TCP Reset Packets" (NDSS 2009); "Global, Passive
//! Detection of Connection Tampering" (SIGCOMM 2023); Wang et al., "Your State is Not Mine" (IMC 2017)
//! for the two types of the Great Firewall.

use super::flow::{Flow, Side};
use super::random::Random;
use super::segment::{Segment, flag};

/// The point of a connection at which something is sent in a side's name.
#[derive(Clone, Debug)]
pub struct Moment {
    /// In whose name.
    pub name: Side,
    /// That side's next sequence number.
    pub seq: u32,
    /// The number that it would acknowledge.
    pub ack: u32,
    /// A segment of that side, as a pattern for addresses, TTL, MACs and IP ID.
    pub like: Segment,
    /// When.
    pub time_ns: u64,
}

impl Moment {
    /// Places it right behind segment `after`, `delay_ns` later. `None` if the side hasn't sent
    /// anything yet.
    #[must_use]
    pub fn behind(flow: &Flow, after: usize, name: Side, delay_ns: u64) -> Option<Self> {
        Some(Self {
            name,
            seq: flow.next_seq(name, after)?,
            ack: flow.next_seq(name.other(), after)?,
            like: flow.last_of(name, after)?.clone(),
            time_ns: flow.segments.get(after)?.time_ns + delay_ns,
        })
    }

    /// Makes a reset in the side's name with everything as the side itself would have it, but no
    /// options.
    #[must_use]
    pub fn reset(&self, flags: u8) -> Segment {
        Segment {
            time_ns: self.time_ns,
            seq: self.seq,
            ack: if flags & flag::ACK == 0 { 0 } else { self.ack },
            flags,
            window: 0,
            options: Vec::new(),
            payload: Vec::new(),
            ..self.like.clone()
        }
    }

    /// Returns the challenge ACK of the receiver to a reset that is not exact (RFC 5961 §3.2).
    #[must_use]
    pub fn challenge(&self, receiver: &Segment, time_ns: u64, ack: u32) -> Segment {
        Segment {
            time_ns,
            seq: self.ack,
            ack,
            flags: flag::ACK,
            payload: Vec::new(),
            ..receiver.clone()
        }
    }
}

/// A kind of injector.
#[derive(Clone, Copy, Debug)]
pub struct Injector {
    /// Its name in file names.
    pub name: &'static str,
    /// Its description, for the label's note.
    pub note: &'static str,
    /// Whether the resets show it without later segments.
    pub tells_alone: bool,
    /// Its resets.
    pub forge: fn(&Moment, &mut Random) -> Vec<Segment>,
}

const RST: u8 = flag::RST;
const RST_ACK: u8 = flag::RST | flag::ACK;

/// All kinds; each sends a reset with the exact sequence number among its own, which any stack obeys.
pub const INJECTORS: &[Injector] = &[
    Injector {
        name: "ttl-lower",
        note: "RST,ACK with a TTL 5 to 40 lower",
        tells_alone: true,
        forge: |moment, random| {
            lone(moment, RST_ACK, |reset| {
                reset.ttl = lower(reset.ttl, random.between(5, 40) as u8);
            })
        },
    },
    Injector {
        name: "ttl-higher",
        note: "RST with a TTL 5 to 40 higher",
        tells_alone: true,
        forge: |moment, random| {
            lone(moment, RST, |reset| {
                reset.ttl = higher(reset.ttl, random.between(5, 40) as u8);
                reset.ip_id = random.u16();
            })
        },
    },
    Injector {
        name: "gfw-type1",
        note: "a single RST with random TTL and window",
        tells_alone: true,
        forge: |moment, random| {
            lone(moment, RST, |reset| {
                reset.ttl = far_from(reset.ttl, random);
                reset.window = random.u16();
                reset.ip_id = random.u16();
            })
        },
    },
    Injector {
        name: "gfw-type2",
        note: "three RST,ACK at the base, +1460 and +4380 with TTLs and windows that grow",
        tells_alone: true,
        forge: |moment, random| {
            let ttl = far_from(moment.like.ttl, random);
            let window = random.between(0, 4000) as u16;
            series(moment, RST_ACK, &[0, 1460, 4380], |index, reset| {
                reset.ttl = ttl.saturating_add(index);
                reset.window = window + u16::from(index) * 79;
                reset.ip_id = reset.ip_id.wrapping_add(20_000 + u16::from(index));
            })
        },
    },
    Injector {
        name: "gfw-both-types",
        note: "a type 1 RST with three type 2 RST,ACK behind it",
        tells_alone: true,
        forge: |moment, random| {
            let mut first = moment.reset(RST);
            first.ttl = far_from(first.ttl, random);
            first.window = random.u16();
            first.ip_id = random.u16();
            let ttl = far_from(moment.like.ttl, random);
            let rest = series(moment, RST_ACK, &[0, 1460, 4380], |index, reset| {
                reset.ttl = ttl;
                reset.time_ns += 20_000 + u64::from(index) * 1000;
            });
            [vec![first], rest].concat()
        },
    },
    Injector {
        name: "seq-change",
        note: "RST_SEQ_CHANGE: TTL mirrored, a second RST one segment ahead",
        tells_alone: true,
        forge: |moment, _| series(moment, RST, &[0, 1460], |_, _| ()),
    },
    Injector {
        name: "seq-change-acked",
        note: "RST_SEQ_CHANGE: TTL mirrored, RST,ACK at the base and one window ahead",
        tells_alone: true,
        forge: |moment, _| {
            let window = u32::from(moment.like.window).max(2000);
            series(moment, RST_ACK, &[0, window / 2, window], |_, reset| {
                reset.window = moment.like.window;
            })
        },
    },
    Injector {
        name: "ack-change",
        note: "RST_ACK_CHANGE: several RST,ACK with acknowledgments of data never sent",
        tells_alone: true,
        forge: |moment, random| {
            let ttl = lower(moment.like.ttl, random.between(3, 9) as u8);
            series(moment, RST_ACK, &[0, 0, 0], |index, reset| {
                reset.ack = reset.ack.wrapping_add(u32::from(index) * 1460);
                reset.ttl = ttl;
            })
        },
    },
    Injector {
        name: "ack-guessed",
        note: "RST,ACK with an acknowledgment ahead of anything sent, TTL two hops off",
        tells_alone: false,
        forge: |moment, _| {
            lone(moment, RST_ACK, |reset| {
                reset.ack = reset.ack.wrapping_add(0x1_2345);
                reset.ttl = lower(reset.ttl, 2);
            })
        },
    },
    Injector {
        name: "rst-then-rstack",
        note: "RST and RST,ACK at the same number from two boxes",
        tells_alone: true,
        forge: |moment, random| {
            let mut first = moment.reset(RST);
            first.ttl = lower(first.ttl, random.between(6, 20) as u8);
            let mut second = moment.reset(RST_ACK);
            second.ttl = far_from(second.ttl, random);
            second.time_ns += 15_000;
            vec![first, second]
        },
    },
    Injector {
        name: "rst-pair-ack0",
        note: "SIGCOMM 2023's RST;RST0: the acknowledgment field filled once, once zero; TTL of its own",
        tells_alone: true,
        forge: |moment, random| {
            let mut first = moment.reset(RST);
            first.ack = moment.ack;
            first.ttl = far_from(first.ttl, random);
            let mut second = first.clone();
            second.ack = 0;
            second.time_ns += 3000;
            vec![first, second]
        },
    },
    Injector {
        name: "many-same",
        note: "five identical RSTs of another TTL within microseconds",
        tells_alone: true,
        forge: |moment, random| {
            let ttl = far_from(moment.like.ttl, random);
            series(moment, RST, &[0; 5], |_, reset| reset.ttl = ttl)
        },
    },
    Injector {
        name: "payload",
        note: "RST,ACK with text as payload, TTL mirrored, IP ID random",
        tells_alone: true,
        forge: |moment, random| {
            lone(moment, RST_ACK, |reset| {
                reset.payload = b"connection blocked by policy".to_vec();
                reset.ip_id = random.u16();
            })
        },
    },
    Injector {
        name: "other-mac",
        note: "TTL mirrored, from another source MAC",
        tells_alone: false,
        forge: |moment, random| {
            lone(moment, RST_ACK, |reset| {
                reset.macs[1] = other_mac(random);
                reset.ip_id = 0;
            })
        },
    },
    Injector {
        name: "other-mac-fresh-ttl",
        note: "from another source MAC with a TTL just begun",
        tells_alone: true,
        forge: |moment, random| {
            lone(moment, RST_ACK, |reset| {
                reset.macs[1] = other_mac(random);
                reset.ip_id = 0;
                reset.ttl = if reset.ttl > 58 && reset.ttl < 70 {
                    255
                } else {
                    64
                };
            })
        },
    },
    Injector {
        name: "gateway-reject",
        note: "a gateway's reject with tcp reset: fresh TTL 64, IP ID 0, no options",
        tells_alone: true,
        forge: |moment, _| {
            lone(moment, RST_ACK, |reset| {
                reset.ip_id = 0;
                reset.ttl = if reset.ttl > 59 && reset.ttl < 69 {
                    128
                } else {
                    64
                };
            })
        },
    },
    Injector {
        name: "mirrored",
        note: "TTL mirrored, exact number, IP ID next: only what follows tells",
        tells_alone: false,
        forge: |moment, _| {
            lone(moment, RST_ACK, |reset| {
                reset.ip_id = reset.ip_id.wrapping_add(1);
                reset.window = moment.like.window;
            })
        },
    },
    Injector {
        name: "mirrored-id0",
        note: "TTL mirrored, exact number, no ACK, window and IP ID 0: only what follows tells",
        tells_alone: false,
        forge: |moment, _| {
            lone(moment, RST, |reset| {
                reset.ip_id = 0;
            })
        },
    },
    Injector {
        name: "mirrored-random-id",
        note: "TTL mirrored, exact number, random IP ID and window: only what follows tells",
        tells_alone: false,
        forge: |moment, random| {
            lone(moment, RST, |reset| {
                reset.ip_id = random.u16();
                reset.window = random.u16();
            })
        },
    },
];

/// Makes one reset, which `change` adapts.
fn lone(moment: &Moment, flags: u8, change: impl FnOnce(&mut Segment)) -> Vec<Segment> {
    let mut reset = moment.reset(flags);
    change(&mut reset);
    vec![reset]
}

/// Resets at distances ahead of the base, microseconds apart.
fn series(
    moment: &Moment,
    flags: u8,
    ahead: &[u32],
    mut change: impl FnMut(u8, &mut Segment),
) -> Vec<Segment> {
    let resets = ahead.iter().enumerate().map(|(index, ahead)| {
        let mut reset = moment.reset(flags);
        reset.seq = reset.seq.wrapping_add(*ahead);
        reset.time_ns += index as u64 * 2000;
        change(index as u8, &mut reset);
        reset
    });
    resets.collect()
}

/// Returns a lower one, or a higher one where the TTL leaves no room below.
fn lower(ttl: u8, by: u8) -> u8 {
    if ttl > by + 5 { ttl - by } else { ttl + by }
}

fn higher(ttl: u8, by: u8) -> u8 {
    if ttl < 250 - by { ttl + by } else { ttl - by }
}

/// Returns a TTL that a path may leave, at least five away.
fn far_from(ttl: u8, random: &mut Random) -> u8 {
    let any = random.between(30, 250) as u8;
    if any.abs_diff(ttl) < 5 {
        lower(ttl, 17)
    } else {
        any
    }
}

/// Returns a universally administered unicast address.
pub fn other_mac(random: &mut Random) -> [u8; 6] {
    let mut mac: [u8; 6] = std::array::from_fn(|_| random.between(0, 255) as u8);
    mac[0] &= 0xfc;
    mac
}
