//! Verdicts on the connections of both captures.

use std::path::Path;

use anyhow::Context;

use super::super::collector::Collector;
use super::super::{past, pcap, report};
use crate::cause::knowledge::Knowledge;
use crate::flow::receiver::TimedReceiver;
use crate::operate::pipeline::Pipeline;
use crate::operate::progress::Progress;
use crate::outlet::database::Past;
use crate::outlet::sink::Sinks;
use crate::source::capture::{CaptureFile, Frame};
use crate::source::capture_set::rounds;
use crate::source::capture_tap::CaptureTap;
use crate::stages::{Layout, Traffic};

/// Frames between checks for Ctrl-C.
const BATCH: u64 = 4096;
/// Taps of a device, as they are numbered here.
const TAPS: [&str; 2] = ["clients' side", "servers' side"];

/// The captures: their files, and what was read of them.
pub(super) struct Captures<'a> {
    pub(super) paths: [&'a Path; 2],
    pub(super) traffic: [&'a Traffic; 2],
    pub(super) layout: Layout,
    /// The second capture's clock minus the first's, nanoseconds.
    pub(super) offset_ns: i64,
}

impl Captures<'_> {
    /// Judges both captures as the taps of a gateway.
    ///
    /// # Errors
    /// A capture cannot be opened again, or memory is wanting.
    pub(super) fn judge(&self, knowledge: Knowledge, progress: &Progress) -> anyhow::Result<Past> {
        if self.layout == Layout::Stages {
            return self.judge_stages(knowledge, progress);
        }
        let taps = TAPS.map(str::to_owned).into_iter();
        let mut paths = self.paths.map(Path::to_path_buf);
        if self.layout == Layout::SidesSwapped {
            paths.reverse();
        }
        let taps: Vec<_> = taps.zip(paths).collect();
        Ok(past::judge(&rounds(&taps, &[], 1), knowledge)?.0)
    }

    /// Judges stages: what a device received from clients and transmitted to them is its clients' side, the rest
    /// its servers'. A stage alone shows two halves that an interceptor need not have joined.
    fn judge_stages(&self, knowledge: Knowledge, progress: &Progress) -> anyhow::Result<Past> {
        let collector = Collector::new()?;
        let sinks = Sinks::new(vec![collector.sink()]);
        let mut pipeline = Pipeline::new(pcap::FLOWS, knowledge, sinks, report);
        pipeline.count_acceptances(collector.acceptances.clone());
        for (number, name) in (0..).zip(TAPS) {
            pipeline.name_tap(number, name);
        }
        self.replay(&mut pipeline, progress)
            .context("cannot read the captures again")?;
        pipeline.finish();
        drop(pipeline);
        collector.into_past()
    }

    /// Reads both captures in the order of time, as far as they can be read.
    fn replay(&self, pipeline: &mut Pipeline, progress: &Progress) -> anyhow::Result<()> {
        let [first, second] = self.paths;
        let mut captures = [CaptureFile::open(first)?, CaptureFile::open(second)?];
        let offsets = [0, self.offset_ns];
        let mut tap = CaptureTap::default();
        let mut frames: u64 = 0;
        loop {
            // A damaged end was reported when the capture was read the first time.
            let mut times = [None; 2];
            for ((time, capture), offset) in times.iter_mut().zip(&mut captures).zip(offsets) {
                let next = capture.next_time().ok().flatten();
                *time = next.map(|next| next.saturating_add_signed(-offset));
            }
            let number = match times {
                [None, None] => break,
                [Some(first), Some(second)] => usize::from(second < first),
                [first, _] => usize::from(first.is_none()),
            };
            let time_ns = times.get(number).copied().flatten().unwrap_or_default();
            let (Some(capture), Some(traffic)) =
                (captures.get_mut(number), self.traffic.get(number))
            else {
                break;
            };
            let Ok(Some(frame)) = capture.next_frame() else {
                continue;
            };
            frames += 1;
            if frames.is_multiple_of(BATCH) && progress.is_interrupted() {
                break;
            }
            let Some(is_from_client) = traffic.is_from_client(&frame) else {
                continue;
            };
            // Received from a client, or transmitted to one.
            let is_outside = is_from_client == (number == 0);
            let frame = Frame {
                time_ns,
                interface: u32::from(!is_outside),
                ..frame
            };
            pipeline.advance_if_due(time_ns);
            tap.capture_frame(&frame, pipeline);
            pipeline.advance_if_due(time_ns);
        }
        pipeline.advance(tap.now_ns());
        Ok(())
    }
}
