//! Objects of two revisions, loaded as they were built, and run on the same packets.

use std::path::Path;

use anyhow::Context;
use aya::programs::{SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};
use detector_user::source::tap::object::OBJECT;

use crate::kernel::{REFERENCE, run};

/// Programs that are compared: XDP, and the classifier at egress.
pub(super) const PROGRAMS: [&str; 2] = ["tlswhy_xdp", "tlswhy_egress"];

/// An object, and the empty programs.
pub(super) struct Object {
    object: Ebpf,
    empty: Ebpf,
}

impl Object {
    /// Loads this revision's object.
    pub(super) fn own() -> anyhow::Result<Self> {
        Self::load(OBJECT)
    }

    /// Loads another revision's object.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("cannot load {}", path.display());
        let bytes = std::fs::read(path).with_context(failed)?;
        Self::load(&bytes).with_context(failed)
    }

    /// Loads an object with the sizes and constants it was built with: options differ between revisions.
    fn load(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut object = EbpfLoader::new()
            .override_global("AYA_LOG_LEVEL", &0u8, false)
            .load(bytes)?;
        let mut empty = EbpfLoader::new().load(REFERENCE)?;
        for program in PROGRAMS {
            load(&mut object, program)?;
        }
        for program in ["reference_empty", "reference_empty_tc"] {
            load(&mut empty, program)?;
        }
        Ok(Self { object, empty })
    }

    /// Runs the packets that come before a case's; nobody reads the observations.
    pub(super) fn establish(&mut self, before: &[Vec<u8>]) -> anyhow::Result<()> {
        for packet in before {
            self.run("tlswhy_xdp", packet, 1)?;
        }
        Ok(())
    }

    /// Returns nanoseconds a packet in a program.
    pub(super) fn run(&mut self, program: &str, packet: &[u8], times: u32) -> anyhow::Result<f64> {
        run_one(&mut self.object, program, packet, times)
    }

    /// Returns nanoseconds a packet in the empty program of the same kind.
    pub(super) fn empty(
        &mut self,
        program: &str,
        packet: &[u8],
        times: u32,
    ) -> anyhow::Result<f64> {
        let empty = if program == "tlswhy_xdp" {
            "reference_empty"
        } else {
            "reference_empty_tc"
        };
        run_one(&mut self.empty, empty, packet, times)
    }
}

fn load(object: &mut Ebpf, name: &str) -> anyhow::Result<()> {
    let program = object.program_mut(name).context("no such program")?;
    if let Ok(xdp) = <&mut Xdp>::try_from(&mut *program) {
        xdp.load()?;
    } else {
        <&mut SchedClassifier>::try_from(program)?.load()?;
    }
    Ok(())
}

fn run_one(object: &mut Ebpf, name: &str, packet: &[u8], times: u32) -> anyhow::Result<f64> {
    let program = object.program_mut(name).context("no such program")?;
    if let Ok(xdp) = <&mut Xdp>::try_from(&mut *program) {
        return run(xdp, packet, times);
    }
    run(<&mut SchedClassifier>::try_from(program)?, packet, times)
}
