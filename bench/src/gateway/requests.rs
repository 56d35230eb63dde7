//! New connections through the gateway, each with a ClientHello and an answer.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::conversation::tls;
use tests::gateway::Gateway;

use super::{LEFT, SERVER, in_turns, inside, joined, median, seconds};
use crate::table::{Goal, Row, Table};

const PORT: u16 = 443;
const CLIENTS: usize = 4;
const ROUND: Duration = Duration::from_secs(2);

/// Adds rows for connections a second, and for how long one takes.
pub(super) fn measure(table: &mut Table, gateway: &Gateway, agent: &Path) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let server = {
        let stop = Arc::clone(&stop);
        inside(gateway.server.name(), move || serve(&stop))
    };
    gateway.server.wait_until_listening(PORT)?;
    let rate = in_turns(gateway, agent, || Ok(ask(gateway, CLIENTS)?.0));
    let latency = in_turns(gateway, agent, || Ok(ask(gateway, 1)?.1));
    stop.store(true, Ordering::Relaxed);
    // The one connection that makes it look.
    let woken = inside(gateway.server.name(), || {
        Ok(TcpStream::connect(("127.0.0.1", PORT))?)
    });
    joined(woken)?;
    joined(server)?;
    let (rate, latency) = (rate?, latency?);
    table.add(Row {
        what: format!("new connections through the gateway, {CLIENTS} clients"),
        figure: format!("{:.0} a second", rate.with),
        reference: format!("without the agent {:.0} a second", rate.without),
        ratio: Some(rate.with / rate.without),
        goal: Some(Goal::AtLeast(LEFT)),
    });
    table.add(Row {
        what: "time of a new connection through the gateway, one client, median".to_owned(),
        figure: format!("{:.0} µs", latency.with * 1e6),
        reference: format!("without the agent {:.0} µs", latency.without * 1e6),
        ratio: Some(latency.with / latency.without),
        goal: Some(Goal::AtMost(1.02)),
    });
    Ok(())
}

fn request() -> Vec<u8> {
    tls::client_hello("bench.test", 500)
}

/// Answers each connection and closes it, until told to stop and connected to once more.
fn serve(stop: &AtomicBool) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", PORT))?;
    let answer = [
        tls::server_hello(0xc02f, false),
        tls::record(22, &tls::message(11, &[7; 4000])),
    ]
    .concat();
    let mut asked = request();
    loop {
        let (mut stream, _) = listener.accept()?;
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        // A client that went away is no reason to stop.
        let _ = stream
            .read_exact(&mut asked)
            .and_then(|()| stream.write_all(&answer));
    }
}

/// Connections a second of so many clients, and the median seconds of one.
fn ask(gateway: &Gateway, clients: usize) -> anyhow::Result<(f64, f64)> {
    let threads: Vec<_> = (0..clients)
        .map(|_| inside(gateway.client.name(), connections))
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(joined(thread)?);
    }
    let rate = times.len() as f64 / seconds(ROUND);
    Ok((rate, median(times)))
}

/// Connects again and again; seconds of each connection.
fn connections() -> anyhow::Result<Vec<f64>> {
    let request = request();
    let mut answer = Vec::new();
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < ROUND {
        let began = Instant::now();
        let mut stream = TcpStream::connect((SERVER, PORT))?;
        stream.write_all(&request)?;
        answer.clear();
        stream.read_to_end(&mut answer)?;
        times.push(seconds(began.elapsed()));
    }
    Ok(times)
}
