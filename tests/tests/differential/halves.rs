//! Connections of which one direction alone passes.

use rstest::rstest;
use tests::conversation::{Conversation, From, NETWORKS, Network, tls};
use tests::engines::{Host, Kernel, Program, Told};

use detector_common::counter::Counter;
use detector_common::flow::{Sender, flow_flags};
use detector_common::observation::events;
use detector_user::source::tap::object::ObjectOptions;

use super::{Left, application_data, left, refused, works};

const OPTIONS: fn() -> ObjectOptions = || ObjectOptions {
    halves: true,
    ..ObjectOptions::default()
};

/// Returns the frames of one side of a conversation, in any network.
pub(super) fn only(from: From, mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    frames.retain(|frame| frame.get(11).copied() == Some(from as u8 + 1));
    frames
}

/// Runs frames through an engine that follows halves.
fn told(frames: &[Vec<u8>]) -> Told {
    let mut host = Host::with_options(&OPTIONS());
    frames.iter().for_each(|frame| host.frame(frame));
    host.told()
}

fn told_without(frames: &[Vec<u8>]) -> Told {
    let mut host = Host::default();
    frames.iter().for_each(|frame| host.frame(frame));
    host.told()
}

fn times(told: &Told, event: u16) -> usize {
    let observations = told.observations.iter();
    observations.filter(|it| it.events & event != 0).count()
}

fn refused_from_the_syn_on(talk: Conversation) -> Vec<Vec<u8>> {
    let mut frames = talk.three_way_handshake();
    frames.extend(refused(talk));
    frames
}

/// A handshake and its refusal: either side tells what a tap that sees both tells of it.
#[rstest]
fn one_direction_is_enough_to_follow_it(#[values(0, 1, 2, 3, 4)] network: usize) {
    let frames = refused_from_the_syn_on(Conversation::new(NETWORKS[network]));
    let [client, server] =
        [From::Client, From::Server].map(|from| told(&only(from, frames.clone())));
    let wanted = [
        events::HELLO,
        events::SERVER_HALF,
        events::ALERT,
        events::FIN,
    ];
    assert_eq!(wanted.map(|event| times(&client, event)), [1, 0, 1, 1]);
    let wanted = [
        events::HELLO,
        events::SERVER_HALF,
        events::RESET,
        events::SENT_AFTER_RESET,
    ];
    assert_eq!(wanted.map(|event| times(&server, event)), [0, 1, 1, 1]);

    let whole = told_without(&frames);
    let of = |told: &Told, sender: Sender| {
        let chunks = told.chunks.iter();
        let of_sender = chunks.filter(|(head, _)| head.sender == sender as u8);
        of_sender.cloned().collect::<Vec<_>>()
    };
    assert_eq!(of(&client, Sender::Client), of(&whole, Sender::Client));
    assert_eq!(of(&server, Sender::Server), of(&whole, Sender::Server));
    assert!(!server.chunks.is_empty());

    let [client, server, whole] =
        [&client, &server, &whole].map(|told| &told.observations.last().unwrap().watched);
    assert_eq!(server.flow.flags, flow_flags::SERVER_HALF);
    assert_eq!(server.flow.client_endpoint, whole.flow.client_endpoint);
    assert_eq!(
        server.flow.sides[1].record_count,
        whole.flow.sides[1].record_count
    );
    assert_eq!(client.flow.syns.map(|syn| syn.count), [1, 0]);
    assert_eq!(server.flow.syns.map(|syn| syn.count), [0, 1]);
    assert_eq!(client.flow.syns[1].next_seq, server.flow.syns[1].next_seq);
    // Where halves are not followed, the server's direction is not TLS.
    assert_eq!(told_without(&only(From::Server, frames)), Told::default());
}

/// Connections that pass in both directions are followed as they are without the switch.
#[rstest]
#[case::refused(refused(Conversation::new(Network::Ipv4)))]
#[case::refused_from_the_syn_on(refused_from_the_syn_on(Conversation::new(Network::Ipv4)))]
#[case::works(works(Conversation::new(Network::Ipv6)))]
fn whole_connections_tell_the_same(#[case] frames: Vec<Vec<u8>>) {
    let (mut with, without) = (told(&frames), told_without(&frames));
    for observation in &mut with.observations {
        let [_, syn_ack] = &mut observation.watched.flow.syns;
        if syn_ack.count == 0 {
            syn_ack.next_seq = 0;
        }
    }
    assert_eq!(with, without);
}

/// Returns a connection of so many records from one side, each after so many bytes of the other.
fn records(mut talk: Conversation, from: From, records: usize, answered: u32) -> Vec<Vec<u8>> {
    let mut frames = vec![talk.data(From::Client, &tls::client_hello("half.test", 500))];
    frames.push(talk.data(From::Server, &tls::server_hello(0x1301, true)));
    talk.seq[1] = 5_000;
    for _ in 0..records {
        talk.seq[1] = talk.seq[1].wrapping_add(answered);
        frames.push(talk.data(from, &application_data(100)));
    }
    frames.push(talk.fin(from));
    only(from, frames)
}

/// A half is settled by its one direction, and its end is seen. Early data come before the server's first
/// byte and do not show that it works; nor do a few records without a long answer.
#[rstest]
#[case::server(From::Server, 30, 0, 1)]
#[case::servers_flight(From::Server, 9, 0, 0)]
#[case::many_requests(From::Client, 9, 300, 1)]
#[case::download(From::Client, 3, 30_000, 1)]
#[case::early_data(From::Client, 12, 0, 0)]
#[case::certificate_and_request(From::Client, 5, 500, 0)]
fn a_half_settles_when_it_works(
    #[case] from: From,
    #[case] count: usize,
    #[case] answered: u32,
    #[case] settled: usize,
) {
    let told = told(&records(
        Conversation::new(Network::Ipv4),
        from,
        count,
        answered,
    ));
    let of = [events::SETTLED, events::FIN].map(|event| times(&told, event));
    assert_eq!(of, [settled, 1]);
    let flow = &told.observations.last().unwrap().watched.flow;
    assert_eq!(flow.has(flow_flags::RESUMED), settled == 1);
    assert_eq!(flow.has(flow_flags::SERVER_HALF), from == From::Server);
}

fn late_hello(mut talk: Conversation) -> Vec<Vec<u8>> {
    let hello = talk.data(From::Client, &tls::client_hello("late.test", 500));
    let server = talk.data(From::Server, &tls::server_hello(0xc02f, false));
    let alert = talk.data(From::Client, &tls::record(21, &[2, 46]));
    vec![server, hello, alert, talk.fin(From::Client)]
}

/// A ClientHello behind its ServerHello joins the flow that the latter began.
#[test]
fn a_late_client_hello_makes_a_half_whole() {
    let told = told(&late_hello(Conversation::new(Network::Ipv4)));
    let events: Vec<u16> = told.observations.iter().map(|it| it.events).collect();
    let wanted = [
        events::SERVER_HALF,
        events::HELLO,
        events::ALERT,
        events::FIN,
    ];
    assert_eq!(events, wanted);
    assert_eq!(told.observations[1].watched.flow.flags, 0);
    let last = &told.observations[3].watched.flow;
    assert_eq!(last.sides.map(|side| side.record_count), [2, 1]);
}

/// Returns four connections on the same ports, of which one direction passes.
fn again(mut talk: Conversation, from: From, how: Left, syn_is_seen: bool) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for step in [0x1_0000, 0x4000_0000, 0x8000_0000, 0xf000_0000] {
        if syn_is_seen {
            frames.extend(talk.three_way_handshake());
        }
        frames.push(talk.data(From::Client, &tls::client_hello("again.test", 500)));
        frames.push(talk.data(From::Server, &tls::server_hello(0xc02f, false)));
        match how {
            Left::Reset => frames.push(talk.rst(from)),
            how => frames.extend(left(&mut talk, how)),
        }
        talk.seq = talk.seq.map(|seq| seq.wrapping_add(step));
    }
    only(from, frames)
}

#[rstest]
fn each_half_on_the_same_ports_is_told(
    #[values(From::Client, From::Server)] from: From,
    #[values(Left::Closed, Left::Reset)] how: Left,
    #[values(true, false)] syn_is_seen: bool,
) {
    let told = told(&again(
        Conversation::new(Network::Ipv4),
        from,
        how,
        syn_is_seen,
    ));
    assert_eq!(times(&told, events::HELLO | events::SERVER_HALF), 4);
}

/// Returns a settled half with bytes like a ServerHello, then a connection on the same ports.
fn settled_and_again(mut talk: Conversation, syn_is_seen: bool) -> Vec<Vec<u8>> {
    let mut frames = vec![talk.data(From::Server, &tls::server_hello(0x1301, true))];
    for _ in 0..30 {
        frames.push(talk.data(From::Server, &application_data(2_000)));
    }
    frames.push(talk.data(From::Server, &tls::server_hello(0x1301, true)));
    talk.seq = talk.seq.map(|seq| seq.wrapping_add(0x4000_0000));
    if syn_is_seen {
        frames.extend(only(From::Server, talk.three_way_handshake()));
    }
    frames.push(talk.data(From::Server, &tls::server_hello(0x1301, true)));
    frames
}

/// Bytes of a settled connection that look like a ServerHello begin nothing, unless a SYN,ACK came before.
#[rstest]
fn a_settled_half_begins_again_behind_a_syn_ack(#[values(true, false)] syn_is_seen: bool) {
    let told = told(&settled_and_again(
        Conversation::new(Network::Ipv4),
        syn_is_seen,
    ));
    let of = [events::SETTLED, events::SERVER_HALF].map(|event| times(&told, event));
    assert_eq!(of, [1, 1 + usize::from(syn_is_seen)]);
}

/// A ServerHello of whose first bytes a segment has fewer than seven begins nothing.
#[rstest]
#[case(6, 0)]
#[case(7, 1)]
fn a_split_server_hello_begins_nothing(#[case] size: usize, #[case] begun: usize) {
    let mut talk = Conversation::new(Network::Ipv4);
    let frames = talk.pieces(From::Server, &tls::server_hello(0xc02f, false), size);
    assert_eq!(times(&told(&frames), events::SERVER_HALF), begun);
}

/// Returns a connection that its server ends with its first byte.
fn ended_at_once(mut talk: Conversation, syn_is_seen: bool, asked: bool, end: End) -> Vec<Vec<u8>> {
    let mut frames = talk.three_way_handshake();
    if asked {
        frames.push(talk.data(From::Client, &tls::client_hello("refused.test", 500)));
    }
    let end = match end {
        End::Alert => talk.data(From::Server, &tls::record(21, &[2, 70])),
        End::Fin => talk.fin(From::Server),
        End::Reset => talk.rst(From::Server),
        End::BareReset => talk.segment(From::Server, talk.next(From::Server), &[], |tcp| {
            tcp.rst = true;
            tcp.ack = false;
            tcp.acknowledgment_number = 0;
        }),
    };
    let last = [end, talk.fin(From::Server)];
    if syn_is_seen {
        frames.truncate(3);
        frames.extend(last);
        return frames;
    }
    frames.extend(last);
    only(From::Server, frames)
}

#[derive(Clone, Copy, Debug)]
enum End {
    Alert,
    Fin,
    Reset,
    BareReset,
}

/// A server's alert, FIN or RST in the place of its hello begins a half, unless the client asked for nothing, or its
/// SYN passed here.
#[rstest]
fn a_server_may_end_a_half_at_once(
    #[values((false, true, 1), (false, false, 0), (true, true, 0))] case: (bool, bool, usize),
    #[values((End::Alert, events::ALERT), (End::Fin, events::FIN), (End::Reset, events::RESET))]
    end: (End, u16),
) {
    let (syn_is_seen, asked, begun) = case;
    let told = told(&ended_at_once(
        Conversation::new(Network::Ipv4),
        syn_is_seen,
        asked,
        end.0,
    ));
    assert_eq!(times(&told, events::SERVER_HALF), begun);
    if begun == 1 {
        assert_eq!(told.observations[0].events & end.1, end.1);
        let flow = &told.observations[0].watched.flow;
        assert_eq!(flow.syns.map(|syn| syn.count), [0, 1]);
        assert_eq!(told.observations[0].sender, 1);
    }
}

/// A reset without ACK does not say what it answers.
#[test]
fn a_server_may_reset_a_half_at_once_without_an_acknowledgement() {
    let told = told(&ended_at_once(
        Conversation::new(Network::Ipv4),
        false,
        true,
        End::BareReset,
    ));
    assert_eq!(
        told.observations[0].events,
        events::SERVER_HALF | events::RESET
    );
}

/// All of these through one kernel and one host, each with a client of its own.
#[rstest]
fn halves_are_told_the_same(#[values(Program::Xdp, Program::Egress)] program: Program) {
    let mut clients = 1..;
    let mut talk = |network| Conversation {
        client: clients.next().unwrap(),
        ..Conversation::new(network)
    };
    let mut all = Vec::new();
    for from in [From::Client, From::Server] {
        all.extend(NETWORKS.map(|network| only(from, refused_from_the_syn_on(talk(network)))));
        all.push(only(from, works(talk(Network::Ipv6))));
        for syn_is_seen in [true, false] {
            for how in [Left::Closed, Left::Reset] {
                all.push(again(talk(Network::Ipv4), from, how, syn_is_seen));
            }
        }
        for (count, answered) in [(30, 0), (9, 300), (3, 30_000)] {
            all.push(records(talk(Network::Ipv4), from, count, answered));
        }
    }
    all.extend([
        refused(talk(Network::Ipv4)),
        works(talk(Network::Ipv6)),
        late_hello(talk(Network::Ipv4)),
    ]);
    all.extend(
        [true, false].map(|syn_is_seen| settled_and_again(talk(Network::Ipv4), syn_is_seen)),
    );
    for end in [End::Alert, End::Fin, End::Reset, End::BareReset] {
        all.extend(
            [true, false].map(|asked| ended_at_once(talk(Network::Ipv6), false, asked, end)),
        );
    }
    let mut kernel = Kernel::new(program, &OPTIONS()).unwrap();
    let mut host = Host::with_options(&OPTIONS());
    for (number, frames) in all.iter().enumerate() {
        for frame in frames {
            kernel.frame(frame).unwrap();
            host.frame(frame);
        }
        assert_eq!(kernel.told(), host.told(), "conversation {number}");
    }
    assert_eq!(kernel.counters().unwrap(), host.counters());
    let counters = host.counters();
    let settled = counters.iter().find(|(it, _)| *it == Counter::Settled);
    assert!(settled.unwrap().1 >= 6);
}
