//! Programs of somebody else: two instructions, loaded and attached by the bare system call.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// From linux/bpf.h.
const BPF_PROG_LOAD: i64 = 5;
const BPF_LINK_CREATE: i64 = 28;
const XDP_FLAGS_SKB_MODE: u32 = 2;
const BPF_F_BEFORE: u32 = 1 << 3;

/// The place of a foreign program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// XDP in the driver.
    XdpNative,
    /// XDP in the stack.
    XdpGeneric,
    /// TCX at egress.
    TcxEgress,
    /// TCX at egress, before all others.
    TcxEgressFirst,
}

impl Place {
    /// Returns program type, attach type and flags.
    const fn numbers(self) -> (u32, u32, u32) {
        match self {
            Self::XdpNative => (6, 37, 0),
            Self::XdpGeneric => (6, 37, XDP_FLAGS_SKB_MODE),
            Self::TcxEgress => (3, 47, 0),
            Self::TcxEgressFirst => (3, 47, BPF_F_BEFORE),
        }
    }
}

/// A program on an interface; dropped, it goes.
#[derive(Debug)]
pub struct Foreign {
    _program: OwnedFd,
    _link: OwnedFd,
}

impl Foreign {
    /// Attaches a program that returns `verdict` for every packet.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn attach(place: Place, interface: u32, verdict: i32) -> io::Result<Self> {
        let (program_type, attach_type, flags) = place.numbers();
        let [a, b, c, d] = verdict.to_ne_bytes();
        let instructions: [[u8; 8]; 2] = [
            // r0 = verdict; exit
            [0xb7, 0, 0, 0, a, b, c, d],
            [0x95, 0, 0, 0, 0, 0, 0, 0],
        ];
        let mut load = Attributes::default();
        load.u32(0, program_type);
        load.u32(4, instructions.len() as u32);
        load.u64(8, instructions.as_ptr() as u64);
        load.u64(16, c"GPL".as_ptr() as u64);
        load.0[48..55].copy_from_slice(b"foreign");
        load.u32(68, attach_type);
        let program = load.call(BPF_PROG_LOAD)?;
        let mut create = Attributes::default();
        create.u32(0, program.as_raw_fd().cast_unsigned());
        create.u32(4, interface);
        create.u32(8, attach_type);
        create.u32(12, flags);
        let link = create.call(BPF_LINK_CREATE)?;
        Ok(Self {
            _program: program,
            _link: link,
        })
    }
}

/// `union bpf_attr`, which ends in zeros that mean defaults.
#[repr(align(8))]
struct Attributes([u8; 128]);

impl Default for Attributes {
    fn default() -> Self {
        Self([0; 128])
    }
}

impl Attributes {
    fn u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn u64(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }

    fn call(&mut self, command: i64) -> io::Result<OwnedFd> {
        // SAFETY: the attributes live through the call, as do the objects they point to, and their
        // length is given.
        let descriptor = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                self.0.as_mut_ptr(),
                self.0.len() as u64,
            )
        };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel returned a descriptor that nobody else has.
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
    }
}
