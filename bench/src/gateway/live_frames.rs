//! Frames that a program sends over a veth pair at once, as a network card would deliver them.

use std::time::Instant;

use anyhow::Context;
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use detector_user::source::tap::object::{ObjectOptions, load};
use lab::host::{Namespace, connect};
use nix::net::if_::if_nametoindex;
use tests::conversation::{Conversation, From, Network, tls};

use super::{LEFT, ROUNDS, inside, joined, seconds};
use crate::kernel::REFERENCE;
use crate::table::{Goal, Row, Table};
use crate::turns::median;

/// Frames sent at once; the kernel's own bulk size divides it.
const BATCH: u32 = 64;
/// Frames of one round.
const FRAMES: u32 = 1_200_000;

/// The frames that are sent: lengths without their check sequence, and their number in twelve.
const TRAFFIC: [(&str, &[(usize, u32)]); 3] = [
    ("64 bytes", &[(60, 12)]),
    ("IMIX in blocks", &[(60, 7), (590, 4), (1514, 1)]),
    ("1,500 bytes", &[(1514, 12)]),
];

/// The program that looks at frames where they arrive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    None,
    Empty,
    Tlswhy,
}

/// Adds rows of frames a second at the other end of a link.
pub(super) fn measure(table: &mut Table) -> anyhow::Result<()> {
    let from = Namespace::new("tw-live-from").context("needs root")?;
    let to = Namespace::new("tw-live-to")?;
    connect((&from, "eth0", &[]), (&to, "eth0", &[]))?;
    // With it the far end takes frames in bulk also where no program asks for that.
    to.run("ethtool -K eth0 gro on")?;
    for (name, lengths) in TRAFFIC {
        let mut rates = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            for (program, rates) in [Program::None, Program::Empty, Program::Tlswhy]
                .into_iter()
                .zip(&mut rates)
            {
                rates.push(round(&from, &to, program, lengths)?);
            }
        }
        let [none, empty, tlswhy] = rates.map(|rates| median(&rates));
        for (reference, rate, goal) in [
            ("no program", none, Some(Goal::AtLeast(LEFT))),
            ("an empty program", empty, None),
        ] {
            table.add(Row {
                what: format!("live frames to native XDP, as hardware would, {name}"),
                figure: format!("{:.3} M frames/s", tlswhy / 1e6),
                reference: format!("{reference} {:.3} M frames/s", rate / 1e6),
                ratio: Some(tlswhy / rate),
                goal,
            });
        }
    }
    Ok(())
}

/// Returns the frames a second that arrived.
fn round(
    from: &Namespace,
    to: &Namespace,
    program: Program,
    lengths: &'static [(usize, u32)],
) -> anyhow::Result<f64> {
    let attached = joined(inside(to.name(), move || attach(program)))?;
    let before = received(to)?;
    let took = joined(inside(from.name(), move || send(lengths)))?;
    let arrived = received(to)? - before;
    drop(attached);
    Ok(arrived / took)
}

fn received(namespace: &Namespace) -> anyhow::Result<f64> {
    let told = namespace.run("ip -json -statistics link show eth0")?;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    told.pointer("/0/stats64/rx/packets")
        .and_then(serde_json::Value::as_f64)
        .context("ip tells no packets")
}

/// Loads a program and attaches it to the far end; it is detached when the returned value is
/// dropped.
fn attach(program: Program) -> anyhow::Result<Option<Ebpf>> {
    let (mut object, name) = match program {
        Program::None => return Ok(None),
        Program::Empty => (EbpfLoader::new().load(REFERENCE)?, "reference_empty"),
        Program::Tlswhy => (load(&ObjectOptions::default())?, "tlswhy_xdp"),
    };
    let xdp = xdp(&mut object, name)?;
    xdp.load()?;
    xdp.attach("eth0", XdpMode::Driver)?;
    Ok(Some(object))
}

/// Sends application data of an established connection; returns seconds.
fn send(lengths: &[(usize, u32)]) -> anyhow::Result<f64> {
    let target = if_nametoindex("eth0")?;
    let mut reference = EbpfLoader::new()
        .override_global("TARGET", &target, true)
        .load(REFERENCE)?;
    let sender = xdp(&mut reference, "send_on")?;
    sender.load()?;
    let start = Instant::now();
    for (len, of_twelve) in lengths {
        let frame = frame(*len);
        sender.test_run(TestRunOptions {
            data_in: Some(&frame),
            repeat: FRAMES / 12 * of_twelve,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..Default::default()
        })?;
    }
    Ok(seconds(start.elapsed()))
}

fn xdp<'e>(object: &'e mut Ebpf, name: &str) -> anyhow::Result<&'e mut Xdp> {
    let program = object.program_mut(name).context("no such program")?;
    Ok(program.try_into()?)
}

/// Returns a TCP segment without options, as long as it takes.
fn frame(len: usize) -> Vec<u8> {
    const HEADERS: usize = 14 + 20 + 20;
    let talk = Conversation::new(Network::Ipv4);
    let payload = tls::record(23, &vec![0xa5; len.saturating_sub(HEADERS + 5)]);
    talk.segment(From::Client, 1000, &payload, |tcp| {
        // Nothing to lay out is always in order.
        let _ = tcp.set_options_raw(&[]);
    })
}
