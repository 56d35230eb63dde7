//! New connections through the gateway, each with the records of a TLS 1.2 handshake.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::conversation::tls;
use tests::gateway::Gateway;

use super::place::{Agent, Pinned, Place};
use super::{SERVER, in_turns, inside, joined, seconds};
use crate::table::{Goal, Row, Table};
use crate::turns::{Turns, median};

const PORT: u16 = 443;
const AT_ONCE: usize = 4;
/// Threads of the server: one alone would make all clients wait for whatever it waits for.
const SERVERS: usize = 4;
/// Time before each round: an agent begins with its tables in no cache.
const WARM_UP: Duration = Duration::from_secs(1);
const ROUND: Duration = Duration::from_secs(2);

/// The clients' check of the server's certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clients {
    Accept,
    Refuse,
}

/// Adds rows for connections a second that work and that fail, and for how long one takes.
pub(super) fn measure(table: &mut Table, gateway: &Gateway, path: &Path) -> anyhow::Result<()> {
    // Clients that refuse close first, and would be out of ports for a minute.
    gateway.client.run("sysctl -qw net.ipv4.tcp_tw_reuse=1")?;
    for (place, left) in [(Place::Own, 0.97), (Place::Shared, 0.92)] {
        let agent = Agent { path, place };
        let traffic = place.traffics_core().map(Pinned::to).transpose()?;
        let served = while_served(gateway, || ask_in_turns(gateway, &agent));
        drop(traffic);
        let [accepted, refused, latency] = served?;
        for (what, rate, goal) in [
            ("that work", accepted, Some(Goal::AtLeast(left))),
            ("that all fail, each with a verdict", refused, None),
        ] {
            let of = format!(
                "new connections {what}, {AT_ONCE} clients, {}",
                place.name()
            );
            let figures = |rates: &[f64]| format!("{:.0} a second", median(rates));
            table.add(row(of, &rate, figures, goal));
        }
        let of = format!(
            "time of a new connection that works, one client, {}",
            place.name()
        );
        let figures = |times: &[f64]| format!("{:.0} µs", median(times) * 1e6);
        let goal = (place == Place::Own).then_some(Goal::AtMost(1.02));
        table.add(row(of, &latency, figures, goal));
    }
    Ok(())
}

fn row(what: String, turns: &Turns, figures: impl Fn(&[f64]) -> String, goal: Option<Goal>) -> Row {
    let ratio = turns.ratio();
    Row {
        what,
        figure: format!("{} ({ratio})", figures(&turns.figure)),
        reference: format!("without the agent {}", figures(&turns.reference)),
        ratio: Some(ratio.median),
        goal,
    }
}

/// Connections a second that work and that fail, and seconds of one that works alone.
fn ask_in_turns(gateway: &Gateway, agent: &Agent<'_>) -> anyhow::Result<[Turns; 3]> {
    let rate = |clients| in_turns(gateway, agent, || Ok(ask(gateway, AT_ONCE, clients)?.0));
    Ok([
        rate(Clients::Accept)?,
        rate(Clients::Refuse)?,
        in_turns(gateway, agent, || Ok(ask(gateway, 1, Clients::Accept)?.1))?,
    ])
}

/// Runs `work` while a server answers.
fn while_served<T>(
    gateway: &Gateway,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let stop = Arc::new(AtomicBool::new(false));
    let server = {
        let stop = Arc::clone(&stop);
        inside(gateway.server.name(), move || serve(&stop))
    };
    gateway.server.wait_until_listening(PORT)?;
    let worked = work();
    stop.store(true, Ordering::Relaxed);
    // Each thread's one connection that makes it look; one that is no longer there needs none.
    let woken = inside(gateway.server.name(), || {
        for _ in 0..SERVERS {
            let _ = TcpStream::connect(("127.0.0.1", PORT));
        }
        Ok(())
    });
    joined(woken)?;
    joined(server)?;
    worked
}

/// The messages, in turns: hello, flight, the client's answer to it, the server's.
struct Words {
    hello: Vec<u8>,
    flight: Vec<u8>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Words {
    fn new() -> Self {
        let finished = [tls::record(20, &[1]), tls::record(22, &[9; 40])].concat();
        let flight = [
            tls::server_hello(0xc02f, false),
            tls::record(22, &tls::message(11, &[7; 2800])),
            tls::record(22, &tls::message(14, &[])),
        ];
        Self {
            hello: tls::client_hello("bench.test", 500),
            flight: flight.concat(),
            request: [finished.clone(), tls::record(23, &[1; 180])].concat(),
            answer: [finished, tls::record(23, &[2; 4000])].concat(),
        }
    }
}

/// Answers connections until told to stop and each thread is connected to once more.
fn serve(stop: &AtomicBool) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", PORT))?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..SERVERS)
            .map(|_| scope.spawn(|| serve_one_by_one(&listener, stop)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread of the server panicked"))?
        })
    })
}

fn serve_one_by_one(listener: &TcpListener, stop: &AtomicBool) -> anyhow::Result<()> {
    let words = Words::new();
    loop {
        let (stream, _) = listener.accept()?;
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        // A client that goes away is no reason to stop.
        let _ = answer(stream, &words);
    }
}

fn answer(mut stream: TcpStream, words: &Words) -> std::io::Result<()> {
    let mut asked = words.hello.clone();
    stream.read_exact(&mut asked)?;
    stream.write_all(&words.flight)?;
    let mut asked = words.request.clone();
    stream.read_exact(&mut asked)?;
    stream.write_all(&words.answer)
}

/// Measures connections a second of so many clients at once, and the median seconds of one.
fn ask(gateway: &Gateway, at_once: usize, clients: Clients) -> anyhow::Result<(f64, f64)> {
    let threads: Vec<_> = (0..at_once)
        .map(|_| inside(gateway.client.name(), move || connections(clients)))
        .collect();
    // All of them, before one that failed ends the measurement.
    let clients: Vec<_> = threads.into_iter().map(joined).collect();
    let mut times = Vec::new();
    for of_client in clients {
        times.extend(of_client?);
    }
    let rate = times.len() as f64 / seconds(ROUND);
    Ok((rate, median(&times)))
}

/// Connects again and again; seconds of each connection behind the first moment.
fn connections(clients: Clients) -> anyhow::Result<Vec<f64>> {
    let words = Words::new();
    let alert = tls::record(21, &[2, 46]);
    let mut flight = words.flight.clone();
    let mut rest = Vec::new();
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < WARM_UP + ROUND {
        let began = Instant::now();
        let mut stream = TcpStream::connect((SERVER, PORT))?;
        stream.write_all(&words.hello)?;
        stream.read_exact(&mut flight)?;
        if clients == Clients::Refuse {
            stream.write_all(&alert)?;
        } else {
            stream.write_all(&words.request)?;
            rest.clear();
            stream.read_to_end(&mut rest)?;
        }
        if began - start >= WARM_UP {
            times.push(seconds(began.elapsed()));
        }
    }
    Ok(times)
}
