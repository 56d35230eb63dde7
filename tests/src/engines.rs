//! The engine on both its hosts, with comparable observations.

use anyhow::Context;
use aya::Ebpf;
use aya::programs::{SchedClassifier, TestRun, TestRunOptions, Xdp};
use detector_common::counter::Counter;
use detector_common::flow::Record;
use detector_common::headers::LinkType;
use detector_common::observation::{ChunkHead, NEVER, Observation};
use detector_user::flow::receiver::Receiver;
use detector_user::source::capture::{Frame, LinkType as CaptureLinkType};
use detector_user::source::capture_tap::CaptureTap;
use detector_user::source::tap::counters::Counters;
use detector_user::source::tap::object::{ObjectOptions, load};
use detector_user::source::tap::rings::Rings;

/// An engine's records of some frames.
#[derive(Debug, Default, PartialEq)]
pub struct Told {
    /// Observations, in order, without times.
    pub observations: Vec<Observation>,
    /// Handshake bytes, in order, without times.
    pub chunks: Vec<(ChunkHead, Vec<u8>)>,
}

impl Receiver for Told {
    fn observation(&mut self, observation: &Observation) {
        self.observations.push(comparable(observation));
    }

    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        let mut head = *head;
        head.time_ns = 0;
        head.started_ns = 0;
        head.key.interface = 0;
        self.chunks.push((head, bytes.to_vec()));
    }
}

/// Returns an observation without the parts that differ between two hosts: their clocks, the
/// interface's number, and the memory behind the last record.
fn comparable(observation: &Observation) -> Observation {
    // The engine's own state stays in the kernel.
    let item = observation.to_item();
    let mut observation = Observation::read(item.as_bytes()).expect("an item of its length");
    observation.time_ns = 0;
    observation.key.interface = 0;
    observation.egress = 0;
    for since in [
        &mut observation.measured.since_same_ns,
        &mut observation.measured.since_other_ns,
    ] {
        *since = if *since == NEVER { NEVER } else { 0 };
    }
    let watched = &mut observation.watched;
    watched.flow.started_ns = 0;
    for syn in &mut watched.flow.syns {
        syn.time_ns = 0;
    }
    // A refusal has no records, and those of the flow that used the memory before are not cleared.
    for (side, records) in watched.flow.sides.iter_mut().zip(&mut watched.records) {
        side.last_ns = 0;
        for (index, record) in records.iter_mut().enumerate() {
            record.at_us = 0;
            if index >= usize::from(side.record_count) {
                *record = Record::default();
            }
        }
    }
    observation
}

/// A program of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// XDP at ingress.
    Xdp,
    /// The classifier at egress.
    Egress,
}

/// The engine in the kernel, run by BPF_PROG_TEST_RUN.
pub struct Kernel {
    ebpf: Ebpf,
    rings: Rings,
    counters: Counters,
    program: Program,
}

impl Kernel {
    /// Loads the object with empty tables.
    ///
    /// # Errors
    /// If this process is not root, or the kernel refuses the object.
    pub fn new(program: Program, options: &ObjectOptions) -> anyhow::Result<Self> {
        let mut ebpf = load(options).context("loading the eBPF object needs root")?;
        match program {
            Program::Xdp => xdp(&mut ebpf)?.load()?,
            Program::Egress => egress(&mut ebpf)?.load()?,
        }
        let rings = Rings::take(&mut ebpf)?;
        let counters = Counters::take(&mut ebpf)?;
        Ok(Self {
            ebpf,
            rings,
            counters,
            program,
        })
    }

    /// Runs one frame through the program; returns the program's verdict and the frame after it.
    ///
    /// # Errors
    /// If the kernel does not run it.
    pub fn frame(&mut self, frame: &[u8]) -> anyhow::Result<(u32, Vec<u8>)> {
        let mut out = vec![0; frame.len() + 64];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..Default::default()
        };
        let result = match self.program {
            Program::Xdp => xdp(&mut self.ebpf)?.test_run(options)?,
            Program::Egress => egress(&mut self.ebpf)?.test_run(options)?,
        };
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value, out))
    }

    /// Returns its records since the last call.
    pub fn told(&mut self) -> Told {
        let mut told = Told::default();
        self.rings.drain(&mut told);
        told
    }

    /// Passes on the observations since the last call.
    pub fn drain(&mut self, receiver: &mut impl Receiver) {
        self.rings.drain(receiver);
    }

    /// Returns its counters.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn counters(&self) -> anyhow::Result<Vec<(Counter, u64)>> {
        Ok(self.counters.read()?)
    }
}

fn xdp(ebpf: &mut Ebpf) -> anyhow::Result<&mut Xdp> {
    Ok(ebpf
        .program_mut("tlswhy_xdp")
        .context("no such program")?
        .try_into()?)
}

fn egress(ebpf: &mut Ebpf) -> anyhow::Result<&mut SchedClassifier> {
    Ok(ebpf
        .program_mut("tlswhy_egress")
        .context("no such program")?
        .try_into()?)
}

/// The engine as captures use it.
#[derive(Default)]
pub struct Host {
    tap: CaptureTap,
    told: Told,
    frames: u64,
}

impl Host {
    /// Creates it with so many sets of tags of watched flows.
    pub fn with_tag_sets(tag_sets: usize) -> Self {
        Self {
            tap: CaptureTap::with_tag_sets(tag_sets),
            ..Self::default()
        }
    }

    /// Creates it as the kernel is loaded with these options.
    pub fn with_options(options: &ObjectOptions) -> Self {
        let mut host = Self::default();
        if options.halves {
            host.tap = host.tap.with_halves();
        }
        host
    }

    /// Looks at one frame, a millisecond after the one before.
    pub fn frame(&mut self, frame: &[u8]) {
        self.frames += 1;
        self.frame_at(frame, self.frames * 1_000_000);
    }

    /// Looks at one frame, so many nanoseconds after a beginning.
    pub fn frame_at(&mut self, frame: &[u8], elapsed_ns: u64) {
        let frame = Frame {
            time_ns: 1_700_000_000_000_000_000 + elapsed_ns,
            interface: 0,
            link_type: CaptureLinkType::ETHERNET,
            captured: frame,
            original_len: frame.len() as u32,
        };
        self.tap
            .frame(&frame, LinkType::Ethernet, 0, &mut self.told);
    }

    /// Returns its records since the last call.
    pub fn told(&mut self) -> Told {
        std::mem::take(&mut self.told)
    }

    /// Returns its counters.
    pub fn counters(&self) -> Vec<(Counter, u64)> {
        self.tap.counters().collect()
    }
}
