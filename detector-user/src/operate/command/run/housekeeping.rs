//! Work of every two seconds: the clock, metrics, and reports of losses.

use detector_common::counter::Counter;
use tokio::time::Instant;
use tracing::warn;

use super::calendar::follow_calendar;
use super::watch::Watch;
use crate::operate::unseen_ca::CERTIFICATES_MIN;
use crate::outlet::message_kind;
use crate::source::tap::counters::{forgotten, meaning};
use crate::verdict::counted;

impl Watch {
    /// Returns the status line of `systemctl status`.
    fn status(&self) -> String {
        let tapped = &self.taps.tap.tapped;
        let names: Vec<_> = tapped.iter().map(|it| it.name.as_str()).collect();
        let taps = match names.as_slice() {
            [] => "waiting for an interface".to_owned(),
            names => format!("watching {}", names.join(", ")),
        };
        let tally = self.pipeline.tally();
        let failed: u64 = tally.causes.values().sum();
        format!(
            "{taps}; {} failed, {} established",
            counted(failed, "connection", "connections"),
            tally.outcomes.established
        )
    }

    /// Logs how many verdicts a kind of failure cost; the sink reports the kind itself once.
    fn report_lost_verdicts(&mut self, now: std::time::Instant) {
        for (sink, kind, total) in self.pipeline.tally().lost_verdicts {
            let reason = format!("{sink} {kind}");
            if let Some(more) = self.losses.grown(&reason, total, now) {
                warn!(target: message_kind::LOST, "lost {} for {sink} ({total} in total): {kind}", counted(more, "verdict", "verdicts"));
            }
        }
    }

    /// Logs how many observations clients lost that had more than their share.
    fn report_shed(&mut self, now: std::time::Instant) {
        let shed = self.rings.shed();
        let total = shed.observations;
        if let Some(more) = self.losses.grown("shed", total, now) {
            let most = shed
                .heaviest()
                .map_or_else(String::new, |network| format!(", most of {network}"));
            warn!(
                target: message_kind::LOST,
                "lost {} beyond a client's share{most} ({total} in total): the agent is slower than the traffic",
                counted(more, "observation", "observations")
            );
        }
    }

    /// Sets the part of the gateway's health that the fleet's thread does not know.
    fn report_to_fleet(&self, counters: &[(Counter, u64)]) {
        let Some(fleet) = self.pipeline.fleet() else {
            return;
        };
        let taps = self.taps.tap.tapped.iter();
        let kernel = counters.iter().filter(|(counter, _)| counter.is_loss());
        let verdicts = self.pipeline.tally().lost_verdicts;
        let losses = kernel.map(|(_, number)| number).sum::<u64>()
            + self.rings.shed().observations
            + verdicts.iter().map(|(.., number)| number).sum::<u64>();
        fleet.set_health(taps.map(|it| it.name.clone()).collect(), losses);
    }

    /// Reports losses, and updates status, metrics and clock.
    pub(super) fn keep_house(&mut self) {
        let status = self.status();
        self.service_manager.alive(&status);
        self.pipeline.flush();
        follow_calendar(&mut self.pipeline, &mut self.rings);
        let now = Instant::now().into_std();
        self.report_lost_verdicts(now);
        if let Some(message) = self.pipeline.take_unseen_ca(CERTIFICATES_MIN) {
            warn!("{message}");
        }
        self.endpoint.turn();
        self.lists.try_to_serve();
        self.page.try_to_serve();
        let Ok(counters) = self.counters.read() else {
            warn!("cannot read the kernel's counters");
            return;
        };
        self.publish(&counters);
        self.report_to_fleet(&counters);
        let forgotten = forgotten(&counters, self.settled_max);
        if let Some(more) = self.losses.grown("forgotten", forgotten, now) {
            warn!(
                target: message_kind::LOST,
                "evicted {} ({forgotten} in total), whose end is not judged; raise tables.flows",
                counted(more, "established connection", "established connections")
            );
        }
        for (loss, total) in counters {
            if loss.is_loss()
                && let Some(more) = self.losses.grown(loss.name(), total, now)
            {
                warn!(target: message_kind::LOST, "lost {more} {} ({total} in total)", meaning(loss, more));
            }
        }
        self.report_shed(now);
        let unkept = self.pipeline.unkept();
        if let Some(more) = self.losses.grown("unkept", unkept, now) {
            warn!(
                target: message_kind::STATE_UNUSABLE,
                "cannot save {} to the state directory ({unkept} in total); check its free space",
                counted(more, "learned fact", "learned facts")
            );
        }
        let malformed = self.rings.malformed();
        if let Some(more) = self.losses.grown("malformed", malformed, now) {
            warn!(target: message_kind::LOST, "lost {} of unexpected size: agent and eBPF object do not match", counted(more, "ring item", "ring items"));
        }
    }
}
