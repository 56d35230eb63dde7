//! The programs in this machine's kernel: that the verifier accepts them, and at which cost.

use aya::programs::{ProgramInfo, SchedClassifier, Xdp};
use detector_common::counter::Counter;
use detector_common::observation::events;
use detector_user::source::tap::object::{ObjectOptions, load};
use rstest::rstest;
use tests::conversation::{Conversation, From, Network, tls};
use tests::engines::{Kernel, Program};

/// The limits of a program: bytes of bytecode, bytes of machine code, instructions that the
/// verifier processes. Some way above the present numbers, so that a costlier program shows here
/// without a clock. Older verifiers give up at a million.
struct Ceiling {
    translated: u32,
    jited: u32,
    verified: u32,
}

/// Programs with and without the code for diagnostics, which the verifier cuts off where the level
/// forbids it.
const QUIET: Ceiling = Ceiling {
    translated: 46_500,
    jited: 28_500,
    verified: 250_000,
};
const TALKATIVE: Ceiling = Ceiling {
    translated: 52_500,
    jited: 32_500,
    verified: 250_000,
};

/// The same with the code that opens tunnels, which the verifier cuts off where it is off.
const TUNNELS: Ceiling = Ceiling {
    translated: 99_000,
    jited: 62_000,
    verified: 600_000,
};

/// Where connections are followed of which one direction alone passes.
const HALVES: Ceiling = Ceiling {
    translated: 49_000,
    jited: 30_000,
    verified: 250_000,
};

fn within(ceiling: &Ceiling, name: &str, info: &ProgramInfo) {
    let verified = info.verified_instruction_count().unwrap();
    let translated = info.size_translated().unwrap();
    let jited = info.size_jitted();
    println!("{name}: {translated} bytes translated, {jited} jited, {verified} verified");
    assert!(
        verified <= ceiling.verified,
        "{name}: the verifier processed {verified} instructions"
    );
    assert!(
        translated <= ceiling.translated,
        "{name}: {translated} bytes of bytecode"
    );
    assert!(
        jited <= ceiling.jited,
        "{name}: {jited} bytes of machine code"
    );
}

#[rstest]
#[case(0, false, false)]
#[case(5, false, false)]
#[case(0, true, false)]
#[case(5, true, false)]
#[case(0, false, true)]
#[case(5, true, true)]
fn the_verifier_accepts_every_program(
    #[case] log_level: u8,
    #[case] tunnels: bool,
    #[case] halves: bool,
) {
    let options = ObjectOptions {
        log_level,
        tunnels,
        halves,
        ..ObjectOptions::default()
    };
    let ceiling = match log_level {
        _ if tunnels => &TUNNELS,
        _ if halves => &HALVES,
        0 => &QUIET,
        _ => &TALKATIVE,
    };
    let mut object = load(&options).expect("needs root");
    let xdp: &mut Xdp = object
        .program_mut("tlswhy_xdp")
        .unwrap()
        .try_into()
        .unwrap();
    xdp.load().unwrap();
    within(ceiling, "tlswhy_xdp", &xdp.info().unwrap());
    for name in [
        "tlswhy_ingress",
        "tlswhy_egress",
        "tlswhy_ingress_l3",
        "tlswhy_egress_l3",
    ] {
        let classifier: &mut SchedClassifier =
            object.program_mut(name).unwrap().try_into().unwrap();
        classifier.load().unwrap();
        within(ceiling, name, &classifier.info().unwrap());
    }
}

/// Flows that the table has room for.
const ROOM: u16 = 64;

/// A table full of flows, of which none has ended, and one more client.
struct Full {
    kernel: Kernel,
    clients: Vec<Conversation>,
}

impl Full {
    const FIRST_PORT: u16 = 40_000;
    const NEWEST: usize = ROOM as usize;

    fn new() -> Self {
        let options = ObjectOptions {
            watched_flows: u32::from(ROOM),
            ..ObjectOptions::default()
        };
        let client = |number| Conversation {
            client_port: Self::FIRST_PORT + number,
            ..Conversation::new(Network::Ipv4)
        };
        let mut full = Self {
            kernel: Kernel::new(Program::Xdp, &options).unwrap(),
            clients: (0..=ROOM).map(client).collect(),
        };
        for number in 0..Self::NEWEST {
            full.hello(number);
        }
        full
    }

    fn hello(&mut self, number: usize) {
        let hello = tls::client_hello("cap.test", 300);
        let frame = self.clients[number].data(From::Client, &hello);
        self.kernel.frame(&frame).unwrap();
    }

    fn frame(&mut self, number: usize, frame: impl Fn(&mut Conversation) -> Vec<u8>) {
        let frame = frame(&mut self.clients[number]);
        self.kernel.frame(&frame).unwrap();
    }

    /// The clients whose flows are still watched, by an alert of each.
    fn left(&mut self) -> Vec<u16> {
        self.kernel.told();
        for client in &mut self.clients {
            let alert = client.data(From::Client, &tls::record(21, &[2, 46]));
            self.kernel.frame(&alert).unwrap();
        }
        let told = self.kernel.told();
        let alerts = told
            .observations
            .iter()
            .filter(|it| it.events & events::ALERT != 0);
        alerts
            .filter_map(|it| it.key.ports.into_iter().find(|port| *port != 443))
            .map(|port| port - Self::FIRST_PORT)
            .collect()
    }

    /// Flows evicted that were busy, and others.
    fn evicted(&self) -> [u64; 2] {
        let counters = self.kernel.counters().unwrap();
        [Counter::EvictedBusy, Counter::Evicted].map(|wanted| {
            let found = counters.iter().find(|(counter, _)| *counter == wanted);
            found.map_or(0, |(_, count)| *count)
        })
    }
}

fn all_but(client: u16) -> Vec<u16> {
    (0..=ROOM).filter(|it| *it != client).collect()
}

#[test]
fn at_the_cap_the_one_idle_for_longest_makes_room_and_is_counted() {
    let mut full = Full::new();
    // The oldest goes on; the next to come takes the second's place.
    full.frame(0, |it| {
        it.data(From::Server, &tls::server_hello(0xc02f, false))
    });
    full.hello(Full::NEWEST);
    assert_eq!(full.left(), all_but(1));
    assert_eq!(full.evicted(), [1, 0]);
}

#[test]
fn at_the_cap_one_that_ended_a_second_ago_makes_room_before_others() {
    let mut full = Full::new();
    full.frame(4, |it| it.rst(From::Server));
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    full.hello(Full::NEWEST);
    assert_eq!(full.left(), all_but(4));
    assert_eq!(full.evicted(), [0, 1]);
}

#[test]
fn a_place_that_its_flow_has_left_is_free() {
    let mut full = Full::new();
    full.frame(3, |it| it.rst(From::Server));
    // Another connection on the same ports begins with a SYN and says no hello.
    full.clients[3].seq[0] += 1 << 20;
    full.frame(3, |it| it.three_way_handshake().swap_remove(0));
    full.hello(Full::NEWEST);
    assert_eq!(full.left(), all_but(3));
    assert_eq!(full.evicted(), [0, 0]);
}

#[test]
fn the_next_hello_on_the_same_ports_frees_its_predecessors_place() {
    let mut full = Full::new();
    full.frame(5, |it| it.rst(From::Server));
    full.clients[5].seq[0] += 1 << 20;
    full.hello(5);
    assert_eq!(full.evicted(), [0, 0]);
    full.hello(Full::NEWEST);
    assert_eq!(full.left(), all_but(6));
    assert_eq!(full.evicted(), [1, 0]);
}
