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
    translated: 43_000,
    jited: 26_500,
    verified: 250_000,
};
const TALKATIVE: Ceiling = Ceiling {
    translated: 49_500,
    jited: 30_500,
    verified: 250_000,
};

/// The same with the code that opens tunnels, which the verifier cuts off where it is off.
const TUNNELS: Ceiling = Ceiling {
    translated: 95_000,
    jited: 59_500,
    verified: 600_000,
};

/// Where connections are followed of which one direction alone passes.
const HALVES: Ceiling = Ceiling {
    translated: 45_500,
    jited: 28_000,
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

/// The clients, by their place, of which a hello or an alert was observed.
fn told(kernel: &mut Kernel, wanted: u16, first_port: u16) -> Vec<u16> {
    let told = kernel.told();
    let of_client = told.observations.iter().filter(|o| o.events & wanted != 0);
    of_client
        .filter_map(|o| o.key.ports.into_iter().find(|port| *port != 443))
        .map(|port| port - first_port)
        .collect()
}

#[test]
fn at_the_cap_the_one_idle_for_longest_makes_room_and_is_counted() {
    const ROOM: u16 = 64;
    let options = ObjectOptions {
        watched_flows: u32::from(ROOM),
        ..ObjectOptions::default()
    };
    let mut kernel = Kernel::new(Program::Xdp, &options).unwrap();
    let talk = Conversation::new(Network::Ipv4);
    let first_port = talk.client_port;
    let mut clients: Vec<Conversation> = (0..=ROOM)
        .map(|client| Conversation {
            client_port: first_port + client,
            ..talk.clone()
        })
        .collect();
    let (newest, rest) = clients.split_last_mut().unwrap();
    let hello = tls::client_hello("cap.test", 300);
    for client in rest.iter_mut() {
        kernel.frame(&client.data(From::Client, &hello)).unwrap();
    }
    // The oldest goes on; the next to come takes the second's place.
    let more = rest[0].data(From::Server, &tls::server_hello(0xc02f, false));
    kernel.frame(&more).unwrap();
    kernel.frame(&newest.data(From::Client, &hello)).unwrap();
    assert_eq!(told(&mut kernel, events::HELLO, first_port).len(), 65);

    for client in &mut clients {
        let alert = client.data(From::Client, &tls::record(21, &[2, 46]));
        kernel.frame(&alert).unwrap();
    }
    let left: Vec<u16> = (0..=ROOM).filter(|client| *client != 1).collect();
    assert_eq!(told(&mut kernel, events::ALERT, first_port), left);
    let counters = kernel.counters().unwrap();
    let of = |wanted| counters.iter().find(|(counter, _)| *counter == wanted);
    assert_eq!(of(Counter::EvictedBusy), Some(&(Counter::EvictedBusy, 1)));
    assert_eq!(of(Counter::Evicted), Some(&(Counter::Evicted, 0)));
}
