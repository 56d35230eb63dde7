//! A flood's sender, on a thread in the attacker's namespace.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};

use super::flood::{Flood, Packets, client_hello, sink};
use crate::host::Namespace;

/// Port on which the attacker's real connections are taken: no other's traffic.
const PORT: u16 = 4443;
/// Time between two batches of packets.
const BATCH: Duration = Duration::from_millis(2);

/// Runs `work` on a thread in a namespace.
pub(super) fn inside<T: Send + 'static>(
    namespace: &Namespace,
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> JoinHandle<anyhow::Result<T>> {
    let path = format!("/run/netns/{}", namespace.name());
    std::thread::spawn(move || {
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {path}"))?;
        work()
    })
}

/// Returns a thread's result.
pub(super) fn joined<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow!("a thread panicked"))?
}

/// A flood under way.
pub(super) struct Sender {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<u64>>,
    began: Instant,
    listener: Option<JoinHandle<anyhow::Result<u64>>>,
}

impl Sender {
    /// Begins to send from the attacker's namespace to the origins'.
    pub(super) fn start(
        attacker: &Namespace,
        origins: &Namespace,
        flood: Flood,
        rate: u32,
    ) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut listener = None;
        let thread = if flood == Flood::Connections {
            let stopped_too = Arc::clone(&stop);
            let (ready, is_ready) = std::sync::mpsc::channel();
            listener = Some(inside(origins, move || accept(&stopped_too, &ready)));
            is_ready.recv().context("nobody accepts connections")?;
            inside(attacker, move || open(rate, &stopped))
        } else {
            inside(attacker, move || send(flood, rate, &stopped))
        };
        Ok(Self {
            stop,
            thread,
            began: Instant::now(),
            listener,
        })
    }

    /// Ends it; returns the packets or connections a second that were sent.
    pub(super) fn finish(self) -> anyhow::Result<u32> {
        self.stop.store(true, Ordering::Relaxed);
        let seconds = self.began.elapsed().as_secs_f64();
        let sent = joined(self.thread)?;
        if let Some(listener) = self.listener {
            joined(listener)?;
        }
        Ok((sent as f64 / seconds) as u32)
    }
}

fn send(flood: Flood, rate: u32, stop: &AtomicBool) -> anyhow::Result<u64> {
    // This protocol means that we write the IP header (raw(7)).
    let raw = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Raw,
    )
    .context("cannot send raw packets")?;
    let to = SockaddrIn::from(SocketAddrV4::new(sink(), 0));
    let mut packets = Packets::new(flood);
    paced(rate, stop, || {
        let packet = packets.next();
        // A full queue loses packets, as on a wire.
        let _ = sendto(raw.as_raw_fd(), &packet, &to, MsgFlags::empty());
        Ok(())
    })
}

/// Calls `act` so many times a second, or as often as it can.
fn paced(
    rate: u32,
    stop: &AtomicBool,
    mut act: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let began = Instant::now();
    let (mut credited, mut done) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        // Packets that could not be sent in time are not sent later: the rate is never exceeded by much.
        let batch = (due - credited).min(u64::from(rate) / 50 + 1);
        credited = due;
        for _ in 0..batch {
            act()?;
            done += 1;
        }
        std::thread::sleep(BATCH);
    }
    Ok(done)
}

fn open(rate: u32, stop: &AtomicBool) -> anyhow::Result<u64> {
    let to = SocketAddr::from((sink(), PORT));
    let hello = client_hello("connections.test");
    paced(rate, stop, || {
        // Ports run out now and then: that is its limit.
        if let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_secs(5)) {
            let _ = stream.write_all(&hello);
        }
        Ok(())
    })
}

fn accept(stop: &AtomicBool, ready: &std::sync::mpsc::Sender<()>) -> anyhow::Result<u64> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    listener.set_nonblocking(true)?;
    let _ = ready.send(());
    let mut accepted = 0;
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok(_) => accepted += 1,
            Err(_) => std::thread::sleep(BATCH),
        }
    }
    Ok(accepted)
}
