//! The object beside the references, run on packets.

use anyhow::Context;
use aya::programs::{SchedClassifier, TestRun, TestRunOptions, TestRunResult, Xdp};
use aya::{Ebpf, EbpfLoader};
use detector_common::observation::{ChunkHead, Observation};
use detector_user::flow::receiver::Receiver;
use detector_user::source::tap::object::{ObjectOptions, load};
use detector_user::source::tap::rings::Rings;

use super::cases::Case;

pub(crate) static REFERENCE: &[u8] = aya::include_bytes_aligned!(env!("REFERENCE_EBPF_OBJECT"));

const EGRESS: &str = "tlswhy_egress";

/// The observations made here are not used.
pub(super) struct Nobody;

impl Receiver for Nobody {
    fn observation(&mut self, _: &Observation) {}
    fn chunk(&mut self, _: &ChunkHead, _: &[u8]) {}
}

/// A program of the object.
#[derive(Clone, Copy)]
pub(super) enum Hook {
    Xdp,
    Egress,
}

impl Hook {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Xdp => "XDP",
            Self::Egress => "TCX egress",
        }
    }
}

/// Loads the references, with room for so many flows.
pub(super) fn references(flows: u32) -> anyhow::Result<Ebpf> {
    let mut references = EbpfLoader::new()
        .map_max_entries("FLOWS", flows)
        .load(REFERENCE)
        .context("the bench needs root")?;
    for name in ["reference_empty", "reference_lru", "at_random", "in_turn"] {
        xdp(&mut references, name)?.load()?;
    }
    classifier(&mut references, "reference_empty_tc")?.load()?;
    Ok(references)
}

pub(super) fn xdp<'e>(ebpf: &'e mut Ebpf, name: &str) -> anyhow::Result<&'e mut Xdp> {
    Ok(ebpf
        .program_mut(name)
        .context("no such program")?
        .try_into()?)
}

/// Runs a program on a packet so many times; returns nanoseconds a packet.
pub(crate) fn run<P>(program: &P, packet: &[u8], repeat: u32) -> anyhow::Result<f64>
where
    P: for<'o> TestRun<Opts<'o> = TestRunOptions<'o>, Result = TestRunResult>,
{
    let options = TestRunOptions {
        data_in: Some(packet),
        repeat,
        ..Default::default()
    };
    Ok(program.test_run(options)?.duration.as_nanos() as f64)
}

/// The object as it is shipped, and the references.
pub(super) struct Programs {
    references: Ebpf,
    object: Ebpf,
    rings: Rings,
    client_port: u16,
}

impl Programs {
    pub(super) fn load() -> anyhow::Result<Self> {
        let mut object = load(&ObjectOptions::default())?;
        xdp(&mut object, "tlswhy_xdp")?.load()?;
        classifier(&mut object, EGRESS)?.load()?;
        let rings = Rings::take(&mut object)?;
        Ok(Self {
            references: references(65_536)?,
            object,
            rings,
            client_port: 1024,
        })
    }

    /// Brings a new connection to where the case's packet comes, and returns that.
    pub(super) fn prepare(&mut self, case: &Case) -> anyhow::Result<Vec<u8>> {
        self.client_port += 1;
        let (before, packet) = case.packets(self.client_port);
        for frame in before {
            self.run(Hook::Xdp, &frame, 1)?;
        }
        self.rings.drain(&mut Nobody);
        Ok(packet)
    }

    pub(super) fn empty(&mut self, hook: Hook, packet: &[u8], repeat: u32) -> anyhow::Result<f64> {
        let references = &mut self.references;
        match hook {
            Hook::Xdp => run(xdp(references, "reference_empty")?, packet, repeat),
            Hook::Egress => run(
                classifier(references, "reference_empty_tc")?,
                packet,
                repeat,
            ),
        }
    }

    pub(super) fn lru(&mut self, packet: &[u8], repeat: u32) -> anyhow::Result<f64> {
        run(xdp(&mut self.references, "reference_lru")?, packet, repeat)
    }

    pub(super) fn run(&mut self, hook: Hook, packet: &[u8], repeat: u32) -> anyhow::Result<f64> {
        match hook {
            Hook::Xdp => run(xdp(&mut self.object, "tlswhy_xdp")?, packet, repeat),
            Hook::Egress => run(classifier(&mut self.object, EGRESS)?, packet, repeat),
        }
    }
}

fn classifier<'e>(ebpf: &'e mut Ebpf, name: &str) -> anyhow::Result<&'e mut SchedClassifier> {
    Ok(ebpf
        .program_mut(name)
        .context("no such program")?
        .try_into()?)
}
