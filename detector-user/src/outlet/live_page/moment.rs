//! The agent's status as a part of the page: what fails now, the latest verdicts, taps and losses.

use maud::{Markup, html};

use crate::outlet::recent_groups::RecentGroup;
use crate::outlet::report::{named, percent, safe, share, time};
use crate::outlet::status::{LastVerdict, Report};
use crate::verdict::{Cause, counted};

/// Maximum groups and verdicts.
const GROUPS: usize = 20;
const VERDICTS: usize = 10;

/// Returns the status as HTML, without anything that takes the focus.
pub(super) fn moment(report: &Report) -> Markup {
    html! {
        (head(report))
        (groups(&report.groups))
        (verdicts(&report.last_verdicts))
        @if !report.losses.is_empty() {
            h3 { "Lost since the start" }
            ul { @for loss in &report.losses { li { (loss.count) " " (safe(&loss.meaning)) } } }
        }
    }
}

fn head(report: &Report) -> Markup {
    let failed: u64 = report.failed.values().sum();
    let all = failed + report.established;
    let taps: Vec<_> = report.taps.iter().map(|tap| safe(&tap.name)).collect();
    html! {
        p {
            (time(report.time)) ": "
            @if report.is_ending { "the agent is ending" }
            @else if taps.is_empty() { "waiting for an interface" }
            @else { "watching " (taps.join(", ")) }
            ", " (format!("{:.0}", report.rates.packets_per_second)) " packets and "
            (format!("{:.1}", report.rates.flows_per_second)) " TLS flows a second. Since "
            (time(report.started)) ": " (counted(failed, "connection", "connections")) " failed, " (report.established)
            " established"
            @if all > 0 { " (" (share(failed, all)) " failed)" }
            "."
        }
    }
}

fn groups(groups: &[RecentGroup]) -> Markup {
    let failing = || groups.iter().filter(|it| it.per_minute > 0.0).take(GROUPS);
    html! {
        @if failing().next().is_none() { p { "Nothing failed in the last ten minutes." } } @else {
            div.wide { table {
                caption { "Failing now: failures a minute, of the last ten minutes" }
                thead { tr {
                    th.number scope="col" { "A minute" } th scope="col" { "Server name" } th scope="col" { "Client" }
                    th scope="col" { "Cause" } th.number scope="col" { "Failed" } th.number scope="col" { "Worked" }
                    th scope="col" { "Broken since" }
                } }
                tbody { @for group in failing() { (group_row(group)) } }
            } }
        }
    }
}

fn group_row(group: &RecentGroup) -> Markup {
    html! { tr {
        td.number { (format!("{:.1}", group.per_minute)) }
        td { (safe(&group.name)) }
        td { (group.client.to_string()) }
        td { (cause(&group.cause)) " (" (percent(group.confidence)) ")" }
        td.number { (group.failed) }
        td.number { (group.worked) }
        td { @if let Some(since) = group.broken_since { (time(since)) " (new)" } }
    } }
}

fn verdicts(verdicts: &[LastVerdict]) -> Markup {
    html! {
        @if !verdicts.is_empty() {
            div.wide { table {
                caption { "The latest verdicts" }
                thead { tr {
                    th scope="col" { "Time" } th scope="col" { "Server name" } th scope="col" { "Client" }
                    th scope="col" { "Cause" } th scope="col" { "Advice" }
                } }
                tbody { @for verdict in verdicts.iter().take(VERDICTS) { tr {
                    td { (time(verdict.time)) }
                    td { (safe(&verdict.server)) }
                    td { (verdict.client.to_string()) }
                    td {
                        (cause(&verdict.cause)) " (" (percent(verdict.confidence)) ")"
                        @if verdict.is_revision { ", revised" }
                    }
                    td { @if let Some(advice) = &verdict.advice { (safe(advice)) } }
                } } }
            } }
        }
    }
}

/// Returns a cause by its name; a later agent may have others.
fn cause(name: &str) -> Markup {
    match Cause::ALL.into_iter().find(|it| it.name() == name) {
        Some(cause) => named(cause),
        None => html! { (safe(name)) },
    }
}
