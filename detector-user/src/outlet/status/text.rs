//! The status as text for people.

use std::fmt;

use bytesize::ByteSize;
use jiff::{SignedDuration, Timestamp};

use super::Report;
use crate::outlet::sink::escaped;
use crate::verdict::counted;

/// Age from which a report shows that the agent hangs.
const OLD: SignedDuration = SignedDuration::from_secs(10);

impl Report {
    /// Returns text for people, with the configuration if wanted, as of `now`.
    #[must_use]
    pub fn text(&self, now: Timestamp, with_configuration: bool) -> impl fmt::Display + '_ {
        Text {
            report: self,
            now,
            with_configuration,
        }
    }

    /// Whether the agent has not reported for so long that it hangs.
    #[must_use]
    pub fn is_old(&self, now: Timestamp) -> bool {
        now.duration_since(self.time) > OLD
    }
}

struct Text<'a> {
    report: &'a Report,
    now: Timestamp,
    with_configuration: bool,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.taps(f)?;
        self.connections(f)?;
        self.losses(f)?;
        self.outputs(f)?;
        self.verdicts(f)?;
        if self.with_configuration {
            self.configuration(f)?;
        }
        Ok(())
    }
}

impl Text<'_> {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        let age = self.now.duration_since(report.time);
        let state = match (report.is_old(self.now), report.is_ending) {
            (true, _) => format!("does not report any more, last {} ago", rounded(age)),
            (_, true) => "is ending".to_owned(),
            _ => "is running".to_owned(),
        };
        writeln!(
            f,
            "tlswhy {} {state}: process {}, for {}",
            escaped(&report.version),
            report.pid,
            rounded(self.now.duration_since(report.started)),
        )?;
        let agent = report.memory.agent_bytes.map(ByteSize);
        let agent = agent.map_or_else(|| "unknown".to_owned(), |it| it.to_string());
        let kernel = ByteSize(report.memory.kernel_bytes);
        writeln!(
            f,
            "memory       {agent} in the agent, {kernel} in the kernel"
        )
    }

    fn taps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.report.taps.is_empty() {
            writeln!(f, "taps         none; waiting for an interface")?;
        }
        for (index, tap) in self.report.taps.iter().enumerate() {
            let label = if index == 0 { "taps" } else { "" };
            let egress = tap.egress.as_deref().unwrap_or("none");
            writeln!(
                f,
                "{label:<12} {}: ingress {}, egress {}, {} of {}",
                escaped(&tap.name),
                escaped(&tap.ingress),
                escaped(egress),
                counted(tap.verdicts, "failure", "failures"),
                counted(tap.verdicts + tap.established, "connection", "connections")
            )?;
        }
        Ok(())
    }

    fn connections(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        let failed: u64 = report.failed.values().sum();
        writeln!(f, "packets      {}", report.packets)?;
        writeln!(
            f,
            "connections  {}: {} established, {failed} failed, {} unused, {} unfinished, {} in progress",
            counted(report.flows, "TLS flow", "TLS flows"),
            report.established,
            report.unused,
            report.unfinished,
            report.under_way
        )?;
        self.others(f)?;
        let mut causes: Vec<_> = report.failed.iter().collect();
        causes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (index, (cause, count)) in causes.into_iter().enumerate() {
            let label = if index == 0 { "failed" } else { "" };
            writeln!(f, "{label:<12} {count} {}", escaped(cause))?;
        }
        if let Some(log) = report.firewall_log {
            writeln!(
                f,
                "firewall log {}: {} explained, {} without a verdict; {} unreadable, {}, {} lost",
                counted(log.rows, "row", "rows"),
                log.explained,
                log.unexplained,
                log.broken,
                counted(log.other, "other message", "other messages"),
                log.lost
            )?;
        }
        if let Some(fleet) = &report.fleet {
            let state = match (&fleet.error, fleet.connected) {
                (_, true) => "connected".to_owned(),
                (Some(error), _) => escaped(error).to_string(),
                (None, _) => "no server is there".to_owned(),
            };
            writeln!(
                f,
                "fleet        as {}, {state}: {} published, {} waiting, {} of others taken in",
                escaped(&fleet.gateway),
                counted(fleet.facts_published, "fact", "facts"),
                fleet.facts_waiting + fleet.facts_unacknowledged,
                fleet.facts_taken
            )?;
            if fleet.halves_gateways > 0 {
                writeln!(
                    f,
                    "halves       {} with {}: {} joined here, {} judged alone, {} of servers without a partner, {} lost",
                    counted(fleet.halves_published, "message", "messages"),
                    counted(fleet.halves_gateways, "gateway", "gateways"),
                    fleet.halves_joined,
                    fleet.halves_alone,
                    fleet.halves_unmatched,
                    fleet.halves_lost
                )?;
            }
        }
        let rates = report.rates;
        writeln!(
            f,
            "rates        {:.1} packets/s, {:.2} flows/s, {:.1} failures/min, over {:.0} s",
            rates.packets_per_second,
            rates.flows_per_second,
            rates.verdicts_per_minute,
            rates.seconds
        )
    }

    /// Writes the difference between flows and connections, and what is none of them.
    fn others(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        let refused = report.refused;
        let others = [
            (
                report.joined,
                "connection seen as two flows",
                "connections seen as two flows",
            ),
            (
                report.further,
                "further flow of the same connections",
                "further flows of the same connections",
            ),
            (report.ignored, "connection ignored", "connections ignored"),
            (
                report.filtered,
                "verdict not wanted by the filter",
                "verdicts not wanted by the filter",
            ),
            (
                refused.reset,
                "connection refused by reset before its first byte",
                "connections refused by reset before their first byte",
            ),
            (
                refused.unanswered,
                "connection not answered",
                "connections not answered",
            ),
        ];
        for (count, one, many) in others.into_iter().filter(|(count, ..)| *count > 0) {
            writeln!(f, "{:<12} {}", "", counted(count, one, many))?;
        }
        Ok(())
    }

    fn losses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.report.losses.is_empty() {
            writeln!(f, "lost         nothing")?;
        }
        for (index, loss) in self.report.losses.iter().enumerate() {
            let label = if index == 0 { "lost" } else { "" };
            writeln!(f, "{label:<12} {} {}", loss.count, escaped(&loss.meaning))?;
        }
        Ok(())
    }

    fn outputs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, output) in self.report.outputs.iter().enumerate() {
            let label = if index == 0 { "outputs" } else { "" };
            write!(
                f,
                "{label:<12} {}: {} written",
                escaped(&output.name),
                output.written
            )?;
            if output.folded > 0 {
                let repeats = counted(output.folded, "repeat", "repeats");
                write!(f, ", {repeats} counted")?;
            }
            if output.queued > 0 {
                write!(f, ", {} waiting", output.queued)?;
            }
            if output.spilled_bytes > 0 {
                write!(f, ", {} waiting on disk", ByteSize(output.spilled_bytes))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn verdicts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, verdict) in self.report.last_verdicts.iter().enumerate() {
            let label = if index == 0 { "last told" } else { "" };
            let revised = if verdict.is_revision { ", revised" } else { "" };
            writeln!(
                f,
                "{label:<12} {} {} to {}: {} ({:.0} %{revised})",
                verdict.time.strftime("%Y-%m-%d %H:%M:%S UTC"),
                verdict.client,
                escaped(&verdict.server),
                escaped(&verdict.cause),
                verdict.confidence * 100.0
            )?;
        }
        Ok(())
    }

    fn configuration(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nConfiguration in force:")?;
        for (key, setting) in &self.report.configuration {
            let value = setting.value.as_deref().unwrap_or("not set");
            writeln!(
                f,
                "  {} = {}  # {}",
                escaped(key),
                escaped(value),
                escaped(&setting.origin)
            )?;
        }
        Ok(())
    }
}

/// Returns a duration in whole units, the two largest.
fn rounded(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0).unsigned_abs();
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::outlet::status::{
        Configured, LastVerdict, Loss, Memory, Output, Rates, Refused, Tap,
    };
    use crate::verdict::tests::pinning;

    fn report() -> Report {
        let started: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        Report {
            version: "0.1.0".into(),
            pid: 42,
            started,
            time: started + SignedDuration::from_secs(4000),
            taps: vec![Tap {
                name: "lan0".into(),
                ingress: "XDP".into(),
                egress: Some("TCX".into()),
                verdicts: 3,
                established: 5,
            }],
            packets: 12,
            flows: 11,
            under_way: 1,
            established: 5,
            unused: 1,
            unfinished: 1,
            joined: 1,
            ignored: 2,
            refused: Refused {
                reset: 4,
                unanswered: 3,
            },
            failed: BTreeMap::from([("pinning".into(), 2), ("abandoned".into(), 1)]),
            rates: Rates {
                seconds: 60.0,
                packets_per_second: 1.5,
                flows_per_second: 0.25,
                verdicts_per_minute: 3.0,
            },
            losses: vec![Loss {
                reason: "observation-lost".into(),
                meaning: "observations".into(),
                count: 7,
            }],
            memory: Memory {
                agent_bytes: Some(30 << 20),
                kernel_bytes: 61 << 20,
            },
            outputs: vec![Output {
                name: "journald".into(),
                written: 3,
                queued: 1,
                ..Output::default()
            }],
            last_verdicts: vec![LastVerdict {
                server: "evil\u{1b}[2J.test".into(),
                ..LastVerdict::from(&pinning())
            }],
            configuration: BTreeMap::from([(
                "watch.interfaces".into(),
                Configured {
                    value: Some("[\"lan0\"]".into()),
                    origin: "command line".into(),
                },
            )]),
            ..Report::default()
        }
    }

    #[test]
    fn for_people() {
        let report = report();
        insta::assert_snapshot!(report.text(report.time, true));
    }

    #[test]
    fn an_agent_that_hangs_is_said_to() {
        let report = report();
        let later = report.time + SignedDuration::from_secs(65);
        assert!(report.is_old(later) && !report.is_old(report.time));
        let text = report.text(later, false).to_string();
        let first = text.lines().next().unwrap();
        assert!(
            first.contains("does not report any more, last 1 min 5 s ago"),
            "{first}"
        );
    }

    #[test]
    fn what_is_served_is_read_back() {
        let report = report();
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
