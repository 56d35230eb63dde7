//! A program of classic BPF and a frame: a byte with the number of instructions, eight bytes for each as in
//! the kernel's `sock_filter`, then the frame.
//!
//! Holds: the program ends, and where the kernel takes it, it accepts the frames that the kernel accepts.
#![no_main]

use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;

use detector_user::source::packet_filter::program::Program;
use libfuzzer_sys::fuzz_target;

const INSTRUCTIONS_MAX: usize = 64;
/// Offsets from here on are no frame's bytes: the kernel has its own values there.
const OFFSETS_OF_THE_KERNEL: u32 = 1 << 31;

fuzz_target!(|input: &[u8]| {
    let Some((count, rest)) = input.split_first() else {
        return;
    };
    let count = usize::from(*count) % INSTRUCTIONS_MAX + 1;
    let (code, frame) = rest.split_at((count * 8).min(rest.len()));
    let code: Vec<libc::sock_filter> = code
        .chunks_exact(8)
        .map(|it| libc::sock_filter {
            code: u16::from_le_bytes([it[0], it[1]]),
            jt: it[2],
            jf: it[3],
            k: u32::from_le_bytes([it[4], it[5], it[6], it[7]]),
        })
        .collect();
    let mut text = code.len().to_string();
    for it in &code {
        text.push_str(&format!("\n{} {} {} {}", it.code, it.jt, it.jf, it.k));
    }
    let program = Program::parse(&text).expect("numbers of the right size");
    let accepts = program.accepts(frame, frame.len() as u32);
    // An empty datagram cannot be told from none.
    if code.iter().any(depends_on_the_machine) || frame.is_empty() || frame.len() > 4096 {
        return;
    }
    if let Some(by_kernel) = kernel_accepts(&code, frame) {
        assert_eq!(accepts, by_kernel, "{text}");
    }
});

/// Whether an instruction may do otherwise in the kernel than in libpcap: loads at offsets that are computed or the
/// kernel's own, and shifts by a register.
fn depends_on_the_machine(it: &libc::sock_filter) -> bool {
    let (class, mode) = (it.code & 0x07, it.code & 0xe0);
    match class {
        0x00 | 0x01 => mode == 0x40 || (mode != 0 && it.k >= OFFSETS_OF_THE_KERNEL),
        0x04 => matches!(it.code & 0xf0, 0x60 | 0x70) && it.code & 0x08 != 0,
        _ => false,
    }
}

/// Runs the program in the kernel, as the filter of a socket; `None` if the kernel refuses it.
fn kernel_accepts(code: &[libc::sock_filter], frame: &[u8]) -> Option<bool> {
    let (sender, receiver) = UnixDatagram::pair().expect("a pair of sockets");
    receiver.set_nonblocking(true).expect("not blocking");
    let mut code = code.to_vec();
    let filter = libc::sock_fprog {
        len: code.len() as u16,
        filter: code.as_mut_ptr(),
    };
    // SAFETY: the program and its instructions live through the call, and their lengths are given.
    let attached = unsafe {
        libc::setsockopt(
            receiver.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size_of_val(&filter) as u32,
        )
    };
    if attached != 0 {
        return None;
    }
    match sender.send(frame) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
        // A filter that rejects a frame is an error of the sender.
        Err(_) => return Some(false),
    }
    match receiver.recv(&mut [0; 4096]) {
        Ok(_) => Some(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Some(false),
        Err(_) => None,
    }
}
