//! How fast captures are read, beside tshark on the same file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use nix::sys::resource::{UsageWho, getrusage};
use tests::conversation::{Conversation, From, Network, tls};

use crate::table::{Goal, Row, Table};

/// Connections whose packets are mixed at any time.
const AT_ONCE: usize = 64;

/// Adds rows for packets and bytes per second of CPU time.
pub(crate) fn measure(table: &mut Table, agent: &Path, quick: bool) -> anyhow::Result<()> {
    let packets = if quick { 200_000 } else { 1_000_000 };
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let file = folder.path().join("mix.pcap");
    let (packets, bytes) = write_mix(&file, packets)?;
    eprintln!("captures: {packets} packets, {bytes} bytes");

    let ours = cpu_seconds(
        Command::new(agent)
            .args(["pcap", "--quiet", "--output", "json"])
            .arg(&file),
    )?;
    let tshark = cpu_seconds(
        Command::new("tshark")
            .arg("-r")
            .arg(&file)
            .args(["-Y", "tls.alert_message"]),
    );
    let rate = |seconds: f64| packets as f64 / seconds / 1e6;
    let (reference, ratio) = match tshark {
        Ok(seconds) => (
            format!("tshark {:.3} M packets/s", rate(seconds)),
            Some(seconds / ours),
        ),
        Err(error) => (
            format!("no tshark here ({error}): apt-get install tshark"),
            None,
        ),
    };
    table.add(Row {
        what: format!("`tlswhy pcap`, {packets} packets, per CPU-second"),
        figure: format!(
            "{:.2} M packets/s, {:.2} GB/s",
            rate(ours),
            bytes as f64 / ours / 1e9
        ),
        reference,
        ratio,
        goal: Some(Goal::AtLeast(1.0)),
    });
    Ok(())
}

/// CPU time, user and system, of a command run to its end.
fn cpu_seconds(command: &mut Command) -> anyhow::Result<f64> {
    let used = || -> anyhow::Result<f64> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let seconds =
            |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
    };
    let before = used()?;
    let status = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("{:?} ended with {status}", command.get_program());
    }
    Ok(used()? - before)
}

/// Writes connections that work and some that do not, packets of many mixed; returns how many
/// packets and bytes it wrote.
fn write_mix(path: &Path, wanted: usize) -> anyhow::Result<(usize, u64)> {
    let mut out = BufWriter::new(File::create(path).context("cannot write the capture")?);
    // Microseconds, little-endian, version 2.4, Ethernet.
    out.write_all(&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
    out.write_all(&[0, 0, 4, 0, 1, 0, 0, 0])?;
    let (mut packets, mut bytes, mut number) = (0, 24, 0u32);
    while packets < wanted {
        let mut streams: Vec<std::vec::IntoIter<Vec<u8>>> = (0..AT_ONCE)
            .map(|_| {
                number += 1;
                connection(number).into_iter()
            })
            .collect();
        while !streams.is_empty() {
            streams.retain_mut(|stream| {
                let Some(frame) = stream.next() else {
                    return false;
                };
                packets += 1;
                let time = packets as u64 * 20;
                let header = [
                    (1_700_000_000 + time / 1_000_000) as u32,
                    (time % 1_000_000) as u32,
                    frame.len() as u32,
                    frame.len() as u32,
                ];
                bytes += 16 + frame.len() as u64;
                let written = header
                    .iter()
                    .try_for_each(|n| out.write_all(&n.to_le_bytes()));
                // The final flush tells of a full disk, too.
                written.and_then(|()| out.write_all(&frame)).is_ok()
            });
        }
    }
    out.flush().context("cannot write the capture")?;
    Ok((packets, bytes))
}

/// The frames of one connection; every twentieth client refuses the certificate.
fn connection(number: u32) -> Vec<Vec<u8>> {
    let network = if number.is_multiple_of(4) {
        Network::Ipv6
    } else {
        Network::Ipv4
    };
    let mut talk = Conversation::new(network);
    talk.client_port = 1024 + (number % 60_000) as u16;
    talk.seq = [
        number.wrapping_mul(2_654_435_761),
        number.wrapping_mul(40_503),
    ];
    let mut frames = vec![talk.data(From::Client, &tls::client_hello("mix.test", 500))];
    frames.push(talk.ack(From::Server));
    let flight = [
        tls::server_hello(0xc02f, false),
        tls::record(22, &tls::message(11, &[7; 2800])),
        tls::record(22, &tls::message(14, &[])),
    ];
    frames.extend(talk.pieces(From::Server, &flight.concat(), 1448));
    frames.push(talk.ack(From::Client));
    if number.is_multiple_of(20) {
        frames.push(talk.data(From::Client, &tls::record(21, &[2, 46])));
        frames.push(talk.fin(From::Client));
        frames.push(talk.fin(From::Server));
        return frames;
    }
    let finished = [tls::record(20, &[1]), tls::record(22, &[9; 40])].concat();
    frames.push(talk.data(From::Client, &finished));
    frames.push(talk.data(From::Server, &finished));
    for _ in 0..30 {
        frames.push(talk.data(From::Client, &tls::record(23, &[1; 180])));
        frames.push(talk.ack(From::Server));
        frames.extend(talk.pieces(From::Server, &tls::record(23, &[2; 4200]), 1448));
        frames.push(talk.ack(From::Client));
        frames.push(talk.ack(From::Client));
    }
    frames.push(talk.data(From::Client, &tls::record(21, &[3; 26])));
    frames.push(talk.fin(From::Client));
    frames.push(talk.fin(From::Server));
    frames
}
