//! Frames onto interfaces and off them, in namespaces.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use detector_user::host::interfaces::Interface;
use detector_user::source::capture::CaptureFile;
use detector_user::source::tap::selection::{self, Wanted};
use lab::host::{Namespace, Process, connect};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;

/// The longest that anything may take that must happen, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The frame that ends a recording. Its source is that of the conversations' client, so that it is recorded.
const LAST: [u8; 60] = {
    let mut frame = [0x5a; 60];
    let head = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5];
    let mut at = 0;
    while at < head.len() {
        frame[at] = head[at];
        at += 1;
    }
    frame
};

/// Returns a namespace whose name no other test has.
///
/// # Panics
/// If this process is not root.
pub fn namespace(label: &str) -> Namespace {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("tw-{}-{number}-{label}", std::process::id());
    let namespace = Namespace::new(&name).expect("making namespaces needs root");
    // Only a test's own frames: no neighbour discovery, no router solicitations.
    namespace
        .run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
        .unwrap();
    namespace
}

/// Returns a client and a gateway joined by a veth pair: `c0` on the one side, `g0` on the other.
pub fn pair() -> (Namespace, Namespace) {
    let (client, gateway) = (namespace("client"), namespace("gateway"));
    connect((&client, "c0", &[]), (&gateway, "g0", &[])).unwrap();
    await_link(&client, "c0");
    await_link(&gateway, "g0");
    (client, gateway)
}

/// Waits until an interface has its link: the kernel takes its time to notice.
pub fn await_link(namespace: &Namespace, name: &str) {
    inside(namespace, || {
        until(&format!("{name} has a link"), || interface(name).has_link());
    });
}

/// Runs `act` in a thread within the namespace.
///
/// # Panics
/// If `act` does.
pub fn inside<T: Send>(namespace: &Namespace, act: impl FnOnce() -> T + Send) -> T {
    let path = format!("/run/netns/{}", namespace.name());
    let result = std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let file = File::open(&path).expect("the namespace is there");
            setns(file, CloneFlags::CLONE_NEWNET).expect("entering it needs root");
            act()
        });
        thread.join()
    });
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Returns the interface of this name in the namespace this thread is in.
pub fn interface(name: &str) -> Interface {
    let wanted = [Wanted::Named(name.to_owned())];
    let mut found = selection::choose(&wanted).unwrap().whole().unwrap();
    found.remove(0)
}

/// Waits until `what` holds.
///
/// # Panics
/// If it does not in [`PATIENCE`].
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "did not come to pass: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends frames out by an interface of a namespace, slowly enough for the queues of a veth pair.
pub fn send(namespace: &Namespace, interface: &str, frames: &[Vec<u8>]) {
    let name = interface.to_owned();
    inside(namespace, move || {
        let socket = packet_socket(&name).unwrap();
        for (index, frame) in frames.iter().enumerate() {
            write(&socket, frame).unwrap_or_else(|error| panic!("{} bytes: {error}", frame.len()));
            if index % 16 == 15 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
}

/// Sends the frames of connections, each at once, one connection after each `gap`.
pub fn send_paced(
    namespace: &Namespace,
    interface: &str,
    connections: &[Vec<Vec<u8>>],
    gap: Duration,
) {
    let name = interface.to_owned();
    inside(namespace, move || {
        let socket = packet_socket(&name).unwrap();
        let begin = Instant::now();
        for (connection, number) in connections.iter().zip(0..) {
            let due = begin + gap * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            for frame in connection {
                write(&socket, frame).unwrap();
            }
        }
    });
}

fn packet_socket(interface: &str) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let descriptor =
        unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel returned a descriptor that nobody else has.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // SAFETY: all zeros are a value of this structure of numbers.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = self::interface(interface).index as i32;
    // SAFETY: the address lives through the call and its length is given.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    };
    if bound < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

fn write(socket: &OwnedFd, frame: &[u8]) -> io::Result<()> {
    Ok(nix::unistd::write(socket, frame).map(drop)?)
}

/// Records frames that come to an interface from the conversations' client, as tcpdump does: with
/// VLAN tags where they were.
pub struct Recording {
    tcpdump: Process,
    folder: tempfile::TempDir,
}

impl Recording {
    /// Begins to record.
    pub fn start(namespace: &Namespace, interface: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = namespace.command("tcpdump");
        command.args([
            "-i", interface, "-Q", "in", "-U", "-Z", "root", "-B", "16384",
        ]);
        command.arg("-w").arg(folder.path().join("frames.pcap"));
        command.args(["ether", "src", "02:00:00:00:00:01"]);
        let tcpdump = Process::start(&mut command).unwrap();
        tcpdump
            .wait_for(PATIENCE, |line| line.contains("listening on"))
            .unwrap();
        Self { tcpdump, folder }
    }

    /// Sends a last frame by `interface` and, when it has come, ends. Returns all before it, sorted
    /// by their bytes: frames may overtake one another between CPUs.
    pub fn finish(mut self, sender: &Namespace, interface: &str) -> Vec<Vec<u8>> {
        send(sender, interface, &[LAST.to_vec()]);
        until("the last frame is recorded", || {
            self.read().iter().any(|it| it == &LAST)
        });
        self.tcpdump.stop(Signal::SIGINT).unwrap();
        let mut frames = self.read();
        frames.retain(|frame| frame != &LAST);
        frames.sort();
        frames
    }

    fn read(&self) -> Vec<Vec<u8>> {
        let path: PathBuf = self.folder.path().join("frames.pcap");
        let mut frames = Vec::new();
        let Ok(mut capture) = CaptureFile::open(&path) else {
            return frames;
        };
        // Still being written, it may end within a frame.
        while let Ok(Some(frame)) = capture.next_frame() {
            assert_eq!(frame.captured.len(), frame.original_len as usize);
            frames.push(frame.captured.to_vec());
        }
        frames
    }
}

/// The other end of a tun device.
pub struct Tunnel(File);

impl Tunnel {
    /// Opens a device of the namespace this thread is in.
    ///
    /// # Panics
    /// If there is no such device.
    pub fn open(name: &str) -> Self {
        let file = File::options()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .expect("the kernel has tun");
        // SAFETY: all zeros are a value of this structure of numbers.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
        // SAFETY: the request lives through the call.
        let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
        Self(file)
    }

    /// Lets a packet come in by the device.
    pub fn write(&self, packet: &[u8]) {
        nix::unistd::write(&self.0, packet).unwrap();
    }
}
