//! The summary of a run: packets and flows seen, judged and lost.

use std::fmt;

use detector_common::counter::Counter;

use crate::flow::fair_share::Shed;
use crate::outlet::tally::Tally;
use crate::verdict::counted;

/// The numbers of a run.
pub struct Summary {
    /// Counts of the pipeline.
    pub tally: Tally,
    /// The engine's counters.
    pub counters: Vec<(Counter, u64)>,
    /// Established flows that were evicted to make room for others: their end is not judged.
    pub forgotten: u64,
    /// Items dropped because their clients had more than their share.
    pub shed: Shed,
    /// Frames in which no TCP was looked for: names of their kinds, the most frequent first. Empty
    /// where kinds are not told apart.
    pub unread: Vec<(String, u64)>,
    /// Frames that the filter expression rejected.
    pub rejected: u64,
    /// Captures that could not be read to their end.
    pub cut_captures: usize,
    /// Frames of which captures have only the beginning.
    pub cut_frames: CutFrames,
}

/// Frames longer than the snap length that their capture was written with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutFrames {
    /// Their number.
    pub frames: u64,
    /// Most bytes that are there of one.
    pub longest: usize,
}

impl CutFrames {
    /// Counts a frame if less is there than it had.
    pub fn record(&mut self, captured: usize, original: usize) {
        if captured < original {
            self.frames += 1;
            self.longest = self.longest.max(captured);
        }
    }
}

/// Kinds of frames that are named.
const KINDS_MAX: usize = 5;

impl Summary {
    fn of(&self, wanted: Counter) -> u64 {
        self.counters
            .iter()
            .filter(|(counter, _)| *counter == wanted)
            .map(|(_, n)| n)
            .sum()
    }

    fn packets(&self) -> u64 {
        self.counters
            .iter()
            .filter(|(counter, _)| counter.is_outcome())
            .map(|(_, n)| n)
            .sum()
    }

    fn fmt_refused(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = self.tally.refused;
        if refused.all() == 0 {
            return Ok(());
        }
        let (reset, unanswered) = (refused.reset, refused.unanswered);
        write!(
            f,
            "\nbefore the first byte: {reset} refused by reset, {unanswered} unanswered"
        )?;
        if refused.unreachable > 0 {
            write!(f, ", {} by ICMP", refused.unreachable)?;
        }
        for (index, (server, counts)) in self.tally.refused_by.iter().enumerate() {
            let before = if index == 0 { " (" } else { ", " };
            write!(f, "{before}{} to {server}", counts.all())?;
        }
        let named: u64 = self.tally.refused_by.iter().map(|(_, it)| it.all()).sum();
        match refused.all() - named.min(refused.all()) {
            0 => f.write_str(")"),
            others => write!(f, ", {others} to others)"),
        }
    }

    fn fmt_cut_frames(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CutFrames { frames, longest } = self.cut_frames;
        if frames == 0 {
            return Ok(());
        }
        write!(
            f,
            "\nframes cut at {longest} bytes: {frames} of {}; a hello, certificate or alert in the rest of them \
             is not seen (tcpdump -s 0)",
            self.packets()
        )
    }

    fn fmt_unread(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, frames)) in self.unread.iter().take(KINDS_MAX).enumerate() {
            let before = if index == 0 {
                "\nnot looked into: "
            } else {
                ", "
            };
            write!(f, "{before}{frames} {kind}")?;
        }
        let others = self.unread.get(KINDS_MAX..).unwrap_or_default();
        let frames: u64 = others.iter().map(|(_, frames)| frames).sum();
        if frames > 0 {
            let kinds = counted(others.len(), "other kind", "other kinds");
            write!(f, ", {frames} of {kinds}")?;
        }
        Ok(())
    }
}

/// Returns the clients that lost most, in parentheses; empty if none did.
fn mostly(shed: &Shed) -> String {
    shed.heaviest()
        .map_or_else(String::new, |network| format!(" (most of {network})"))
}

/// Returns a counter of the summary with its words.
fn words(counter: Counter, number: u64) -> String {
    let (one, many) = match counter {
        Counter::LaterFragment => (
            "IP fragment behind the first",
            "IP fragments behind the first",
        ),
        Counter::TruncatedHeaders => ("cut within its headers", "cut within their headers"),
        Counter::MalformedHeaders => (
            "with contradictory lengths in its headers",
            "with contradictory lengths in their headers",
        ),
        Counter::TooManyHeaders => (
            "with too many VLAN tags or extension headers",
            "with too many VLAN tags or extension headers",
        ),
        Counter::ObservationLost => (
            "observation (the agent was slower than the traffic)",
            "observations (the agent was slower than the traffic)",
        ),
        Counter::HandshakeLost => (
            "piece of a handshake (not captured, or the ring was full)",
            "pieces of handshakes (not captured, or their ring was full)",
        ),
        Counter::TableFull => (
            "connection (the flow table was full)",
            "connections (the flow table was full)",
        ),
        Counter::EvictedBusy => (
            "connection under way (evicted for a new one)",
            "connections under way (evicted for new ones)",
        ),
        Counter::ObservationsCapped => (
            "observation beyond the limit of a flow",
            "observations beyond the limit of a flow",
        ),
        _ => (counter.name(), counter.name()),
    };
    counted(number, one, many)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        let verdicts: u64 = tally.causes.values().sum();
        write!(
            f,
            "seen: {}, {}",
            counted(self.packets(), "packet", "packets"),
            counted(tally.tracker.flows, "TLS flow", "TLS flows")
        )?;
        let odd = [
            Counter::LaterFragment,
            Counter::TruncatedHeaders,
            Counter::MalformedHeaders,
            Counter::TooManyHeaders,
        ];
        for counter in odd {
            if self.of(counter) > 0 {
                write!(f, ", {}", words(counter, self.of(counter)))?;
            }
        }
        write!(
            f,
            "\njudged: {} established, {verdicts} failed",
            tally.outcomes.established
        )?;
        for (index, (cause, count)) in tally.causes.iter().enumerate() {
            write!(f, "{}{count} {cause}", if index == 0 { " (" } else { ", " })?;
        }
        write!(
            f,
            "{}, {} unused, {} unfinished",
            if verdicts > 0 { ")" } else { "" },
            tally.outcomes.unused,
            tally.outcomes.unfinished
        )?;
        if tally.resets_without_effect > 0 {
            let resets = counted(tally.resets_without_effect, "reset", "resets");
            write!(f, "; {resets} without effect")?;
        }
        if tally.revised > 0 {
            let verdicts = counted(tally.revised, "verdict", "verdicts");
            write!(f, "; {verdicts} revised")?;
        }
        // The difference between the flows and these connections.
        let others = [
            (
                tally.joined,
                ["connection", "connections"],
                "seen as two flows",
            ),
            (
                tally.further,
                ["further flow", "further flows"],
                "of the same connections",
            ),
            (tally.ignored, ["connection", "connections"], "ignored"),
            (
                tally.filtered,
                ["verdict", "verdicts"],
                "not wanted by the filter",
            ),
            (
                tally.settled_late,
                ["revision", "revisions"],
                "of final verdicts",
            ),
        ];
        for (count, [one, many], state) in others {
            if count > 0 {
                write!(f, "; {} {state}", counted(count, one, many))?;
            }
        }
        self.fmt_refused(f)?;
        self.fmt_unread(f)?;
        self.fmt_cut_frames(f)?;
        if self.rejected > 0 {
            write!(
                f,
                "\nleft out: {} by the filter expression",
                counted(self.rejected, "frame", "frames")
            )?;
        }
        let mut lost: Vec<String> = self
            .counters
            .iter()
            .filter(|(counter, count)| counter.is_loss() && *count > 0)
            .map(|(counter, count)| words(*counter, *count))
            .collect();
        if self.shed.observations > 0 {
            let observations = counted(self.shed.observations, "observation", "observations");
            lost.push(format!(
                "{observations} beyond a client's share{}",
                mostly(&self.shed)
            ));
        }
        if self.shed.chunks > 0 {
            let pieces = counted(self.shed.chunks, "piece", "pieces");
            lost.push(format!("{pieces} of handshakes beyond a client's share"));
        }
        if tally.tracker.evicted > 0 {
            let flows = counted(tally.tracker.evicted, "flow", "flows");
            lost.push(format!("{flows} evicted"));
        }
        if self.forgotten > 0 {
            let flows = counted(self.forgotten, "established flow", "established flows");
            lost.push(format!("the end of {flows}"));
        }
        for (sink, kind, count) in &tally.lost_verdicts {
            let verdicts = counted(*count, "verdict", "verdicts");
            lost.push(format!("{verdicts} to {sink} ({kind})"));
        }
        if self.cut_captures > 0 {
            let captures = counted(self.cut_captures, "capture", "captures");
            lost.push(format!("the unread rest of {captures}"));
        }
        let nothing = if lost.is_empty() { "nothing" } else { "" };
        write!(f, "\nlost: {nothing}{}", lost.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_words() {
        let counters = Counter::ALL.iter().map(|counter| (*counter, 7)).collect();
        let summary = Summary {
            tally: Tally::default(),
            counters,
            forgotten: 0,
            shed: Shed::default(),
            unread: Vec::new(),
            rejected: 3,
            cut_captures: 0,
            cut_frames: CutFrames::default(),
        }
        .to_string();
        for counter in Counter::ALL {
            let token = counter.name().contains('_').then_some(counter.name());
            assert!(token.is_none_or(|it| !summary.contains(it)), "{summary}");
        }
        let rejected = "left out: 3 frames by the filter expression";
        assert!(summary.contains(rejected), "{summary}");
    }
}
