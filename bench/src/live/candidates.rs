//! The programs that take turns at the taps of the client's interface.

use std::time::Duration;

use anyhow::{Context, ensure};
use aya::maps::PerCpuArray;
use aya::programs::tc::TcAttachType;
use aya::programs::{ProgramInfo, SchedClassifier};
use aya::{Ebpf, EbpfLoader};
use detector_common::counter::Counter;
use detector_user::source::tap::counters::Counters;
use detector_user::source::tap::object::{ObjectOptions, load};

use crate::kernel::REFERENCE;

const INTERFACE: &str = "lan0";

/// A hook of the client's interface.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    Ingress,
    Egress,
}

impl Hook {
    pub(super) const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    fn attach_type(self) -> TcAttachType {
        match self {
            Self::Ingress => TcAttachType::Ingress,
            Self::Egress => TcAttachType::Egress,
        }
    }
}

/// Nanoseconds a frame at ingress and egress; `None` where no frame passed.
pub(super) type Times = [Option<f64>; 2];

/// Frames by the place of their bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kinds {
    pub(super) frames: u64,
    /// Frames with bytes beyond the linear part of the buffer.
    pub(super) beyond: u64,
    /// Segments on the wire.
    pub(super) wire: u64,
}

impl Kinds {
    /// Returns the segments of a frame.
    pub(super) fn segments(&self) -> f64 {
        self.wire as f64 / self.frames.max(1) as f64
    }

    /// Returns the share of frames with bytes beyond the linear part.
    pub(super) fn beyond(&self) -> f64 {
        self.beyond as f64 / self.frames.max(1) as f64
    }
}

/// A program for each hook.
struct Pair {
    /// One for both, or one for each.
    objects: Vec<Ebpf>,
    names: [&'static str; 2],
}

impl Pair {
    fn load(mut objects: Vec<Ebpf>, names: [&'static str; 2]) -> anyhow::Result<Self> {
        for object in &mut objects {
            for name in names {
                let program = classifier(object, name)?;
                if program.fd().is_err() {
                    program.load()?;
                }
            }
        }
        Ok(Self { objects, names })
    }

    /// Loads a program twice, so that each hook has times of its own.
    fn reference(name: &'static str) -> anyhow::Result<Self> {
        let load = || EbpfLoader::new().load(REFERENCE);
        let objects = vec![load().context("the bench needs root")?, load()?];
        Self::load(objects, [name; 2])
    }

    /// Returns the program of a hook.
    fn program(&mut self, hook: Hook) -> anyhow::Result<&mut SchedClassifier> {
        let (name, own) = match (hook, self.names) {
            (Hook::Ingress, [name, _]) => (name, 0),
            (Hook::Egress, [_, name]) => (name, 1),
        };
        let object = own.min(self.objects.len().saturating_sub(1));
        let object = self.objects.get_mut(object).context("no such object")?;
        classifier(object, name)
    }

    /// Attaches both during some work; returns the time in them.
    fn during<T>(
        &mut self,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(Times, T)> {
        let mut attached = Vec::new();
        let mut before = Vec::new();
        for hook in Hook::BOTH {
            let program = self.program(hook)?;
            before.push(spent(&program.info()?));
            let link = program.attach(INTERFACE, hook.attach_type())?;
            attached.push(program.take_link(link)?);
        }
        let done = work()?;
        drop(attached);
        let mut times = [None; 2];
        for ((hook, before), time) in Hook::BOTH.into_iter().zip(before).zip(&mut times) {
            let after = spent(&self.program(hook)?.info()?);
            let runs = after.1 - before.1;
            *time = (runs > 0).then(|| (after.0 - before.0) / runs as f64);
        }
        Ok((times, done))
    }

    fn slot(&mut self, time: Duration) -> anyhow::Result<Times> {
        let (times, ()) = self.during(|| {
            std::thread::sleep(time);
            Ok(())
        })?;
        Ok(times)
    }
}

/// Returns a program's nanoseconds and runs so far.
fn spent(info: &ProgramInfo) -> (f64, u64) {
    (info.run_time().as_nanos() as f64, info.run_count())
}

/// All that take turns.
pub(super) struct Candidates {
    empty: Pair,
    lru: Pair,
    tlswhy: Pair,
    kinds: Pair,
    counters: Counters,
}

impl Candidates {
    pub(super) fn load() -> anyhow::Result<Self> {
        let mut object = load(&ObjectOptions::default())?;
        let counters = Counters::take(&mut object)?;
        Ok(Self {
            empty: Pair::reference("reference_empty_tc")?,
            lru: Pair::reference("reference_lru_tc")?,
            tlswhy: Pair::load(vec![object], ["tlswhy_ingress", "tlswhy_egress"])?,
            kinds: Pair::reference("count_kinds_tc")?,
            counters,
        })
    }

    pub(super) fn empty(&mut self, time: Duration) -> anyhow::Result<Times> {
        self.empty.slot(time)
    }

    pub(super) fn lru(&mut self, time: Duration) -> anyhow::Result<Times> {
        self.lru.slot(time)
    }

    pub(super) fn tlswhy(&mut self, time: Duration) -> anyhow::Result<Times> {
        self.tlswhy.slot(time)
    }

    /// Lets tlswhy see a handshake, after which it must have settled the connection.
    pub(super) fn settle(
        &mut self,
        handshake: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let before = self.settled()?;
        self.tlswhy.during(handshake)?;
        ensure!(
            self.settled()? == before + 1,
            "the connection did not become settled"
        );
        Ok(())
    }

    fn settled(&self) -> anyhow::Result<u64> {
        let counters = self.counters.read()?;
        let settled = counters.iter().find(|(it, _)| *it == Counter::Settled);
        Ok(settled.map_or(0, |(_, count)| *count))
    }

    /// Counts frames at both hooks.
    pub(super) fn count(&mut self, time: Duration) -> anyhow::Result<[Kinds; 2]> {
        let before = self.kinds()?;
        self.kinds.slot(time)?;
        let mut kinds = self.kinds()?;
        for (kinds, before) in kinds.iter_mut().zip(before) {
            kinds.frames -= before.frames;
            kinds.beyond -= before.beyond;
            kinds.wire -= before.wire;
        }
        Ok(kinds)
    }

    fn kinds(&self) -> anyhow::Result<[Kinds; 2]> {
        let mut kinds = [Kinds::default(); 2];
        for (object, kinds) in self.kinds.objects.iter().zip(&mut kinds) {
            let map = object.map("KINDS").context("no such map")?;
            let counts = PerCpuArray::<_, [u64; 3]>::try_from(map)?;
            for [frames, beyond, wire] in counts.get(&0, 0)?.iter() {
                kinds.frames += frames;
                kinds.beyond += beyond;
                kinds.wire += wire;
            }
        }
        Ok(kinds)
    }
}

fn classifier<'e>(ebpf: &'e mut Ebpf, name: &str) -> anyhow::Result<&'e mut SchedClassifier> {
    let program = ebpf.program_mut(name).context("no such program")?;
    Ok(program.try_into()?)
}
