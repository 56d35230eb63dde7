//! The page as HTML.

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::class;
use super::{Exclusion, Report};
use crate::outlet::database::{Group, Rate, Rated, Totals};
use crate::outlet::sink::{escaped, strength};
use crate::outlet::story::Story;
use crate::verdict::{Cause, Party, Verdict, counted, written_confidence, written_weight};

const STYLE: &str = include_str!("style.css");
/// Forbids scripts, and requests to anywhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Returns the page as a file: without a script, and without a request to anywhere.
pub(super) fn page(report: &Report) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (document_head(Some(POLICY)))
            body {
                (content(report))
                footer { p.dim { "Made by tlswhy " (env!("CARGO_PKG_VERSION")) " at " (time(report.made)) } }
            }
        }
    }
}

/// Returns the page that a script keeps up to date: HTML of a report's content, and of the agent's status. The server's
/// headers have its policy.
#[must_use]
pub fn live_page(content: &str, version: &str, moment: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (document_head(None))
            body {
                section aria-labelledby="now" {
                    h2 id="now" { "Now" }
                    p {
                        span #state role="status" { "As of the time below." } " "
                        button #pause type="button" aria-pressed="false" hidden { "Pause" }
                    }
                    div #moment { (moment) }
                }
                div #content data-version=(version) { (PreEscaped(content)) }
                footer { p.dim { "Served by tlswhy " (env!("CARGO_PKG_VERSION")) } }
                script src="live.js" {}
            }
        }
    };
    page.into_string()
}

fn document_head(policy: Option<&str>) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            @match policy {
                Some(policy) => { meta http-equiv="Content-Security-Policy" content=(policy); }
                // Browsers ask servers for an icon.
                None => { link rel="icon" href="data:,"; }
            }
            meta name="viewport" content="width=device-width, initial-scale=1";
            title { "Broken TLS connections" }
            style { (PreEscaped(STYLE)) }
        }
    }
}

/// Returns the header and sections of a report.
pub(super) fn content(report: &Report) -> Markup {
    html! {
        (head(report))
        main {
            (section("over-time", "Failures over time", &report.chart.markup()))
            (section("changes", "What changed since yesterday", &changes(report)))
            (section("rates", "Failure rates", &rates(report)))
            (section("groups", "Who fails where", &groups(report)))
            (section("stories", "Why", &stories(report)))
            (section("exclusions", "Destinations to exclude from decryption", &exclusions(&report.exclusions)))
        }
    }
}

fn section(id: &str, title: &str, content: &Markup) -> Markup {
    html! { section aria-labelledby=(id) { h2 id=(id) { (title) } (content) } }
}

fn head(report: &Report) -> Markup {
    let totals = &report.totals;
    let all = totals.failed + totals.worked;
    html! {
        header {
            h1 { "Broken TLS connections" }
            p.dim {
                (safe(&report.source))
                @if let Some((first, last)) = report.span { ", from " (time(first)) " to " (time(last)) }
            }
            ul.numbers {
                li { strong { (totals.failed) } " of " (counted(all, "connection", "connections")) " failed" @if all > 0 { " (" (share(totals.failed, all)) ")" } }
                li { strong { (totals.intercepted_failed) } " of " (totals.intercepted) " intercepted ones failed" @if totals.intercepted > 0 { " (" (share(totals.intercepted_failed, totals.intercepted)) ")" } }
                @for (cause, number) in report.causes() {
                    li { strong { (number) } " " (named(*cause)) }
                }
            }
            nav aria-label="Sections" {
                a href="#over-time" { "Over time" } " · " a href="#changes" { "What changed" } " · "
                a href="#rates" { "Failure rates" } " · " a href="#groups" { "Who fails where" } " · "
                a href="#stories" { "Why" } " · " a href="#exclusions" { "Destinations to exclude" }
            }
        }
    }
}

fn changes(report: &Report) -> Markup {
    let changes = &report.changes;
    html! {
        @match changes.counted_from {
            None => { p.dim { "Connections have not been counted by the hour yet." } }
            Some(from) if from > changes.before => {
                p.dim { "Connections are counted by the hour since " (time(from)) ": less is known of the day before." }
            }
            Some(_) => {}
        }
        @if changes.changes.is_empty() { p { "Nothing." } } @else {
            div.wide { table {
                caption { "Names and apps of which another share fails since " (time(changes.since)) " than as long a time before" }
                thead { tr {
                    th scope="col" { "Change" } th scope="col" { "Server name" } th.number scope="col" { "Failed before" }
                    th.number scope="col" { "Failed since" } th.number scope="col" { "Clients" }
                    th scope="col" { "Cause" } th scope="col" { "App (JA4)" }
                } }
                tbody { @for change in &changes.changes { tr {
                    td { (change.change.name().replace('-', " ")) }
                    td { (safe(&change.name)) }
                    td.number { (of(change.before)) }
                    td.number { (of(change.after)) }
                    td.number { (change.clients) }
                    td { (change.cause.as_deref().unwrap_or_default()) }
                    td { code { (change.app.as_deref().map_or_else(String::new, safe)) } }
                } } }
            } }
        }
    }
}

fn rates(report: &Report) -> Markup {
    html! {
        @if report.names.is_empty() { p { "Nothing fails." } } @else {
            (rated("Server names with the most failures", "Server name", &report.names, None))
            (rated("Apps with the most failures", "App (JA4)", &report.apps, None))
        }
        @if !report.taps.is_empty() {
            (rated("Taps", "Tap", &report.taps, rest(&report.totals, &report.taps)))
        }
    }
}

/// Returns the connections that are in no row: of further taps, and those that were counted before taps were.
fn rest(totals: &Totals, taps: &[Rated]) -> Option<Rated> {
    let rest = |failed: u64, all: u64, of: fn(&Rated) -> Rate| {
        let counted = |number: fn(Rate) -> u64| taps.iter().map(|it| number(of(it))).sum();
        let failed = failed.saturating_sub(counted(|it| it.failed));
        let all = all.saturating_sub(counted(|it| it.all));
        Rate {
            failed,
            all: all.max(failed),
        }
    };
    let rate = rest(totals.failed, totals.failed + totals.worked, |it| it.rate);
    let intercepted = rest(totals.intercepted_failed, totals.intercepted, |it| {
        it.intercepted
    });
    (rate.all > 0).then(|| Rated {
        of: String::new(),
        rate,
        intercepted,
    })
}

fn rated(caption: &str, head: &str, rated: &[Rated], rest: Option<Rated>) -> Markup {
    html! { div.wide { table {
        caption { (caption) }
        thead { tr {
            th scope="col" { (head) } th.number scope="col" { "Failed" } th.number scope="col" { "Intercepted ones failed" }
        } }
        tbody { @for rated in rated { tr {
            td { @if rated.of.is_empty() { "unknown" } @else { (safe(&rated.of)) } }
            td.number { (of(rated.rate)) }
            td.number { (of(rated.intercepted)) }
        } }
        @if let Some(rest) = rest { tr {
            td { "other or unknown" }
            td.number { (of(rest.rate)) }
            td.number { (of(rest.intercepted)) }
        } } }
    } } }
}

/// Returns `80 of 85 (94.1 %)`, or `none` if there were no connections.
fn of(rate: Rate) -> String {
    if rate.all == 0 {
        return "none".to_owned();
    }
    format!(
        "{} of {} ({})",
        rate.failed,
        rate.all,
        share(rate.failed, rate.all)
    )
}

fn groups(report: &Report) -> Markup {
    let is_of_fleet = report.groups.iter().any(|it| !it.gateways.is_empty());
    html! {
        @if report.groups.is_empty() { p { "No group fails." } } @else {
            div.wide { table {
                caption { "Groups of one client, one app, one server name and one interceptor" }
                thead { tr {
                    th scope="col" { "Server name" } th scope="col" { "Client" }
                    @if is_of_fleet { th scope="col" { "Gateways" } }
                    th.number scope="col" { "Failed" }
                    th.number scope="col" { "Worked" } th scope="col" { "Cause" } th scope="col" { "Last" }
                    th scope="col" { "App (JA4)" }
                } }
                tbody { @for (number, group) in report.groups.iter().enumerate() { (row(number, group, report.stories.len(), is_of_fleet)) } }
            } }
        }
    }
}

fn row(number: usize, group: &Group, stories: usize, is_of_fleet: bool) -> Markup {
    html! { tr {
        td { @if number < stories { a href={ "#story-" (number) } { (safe(&group.name)) } } @else { (safe(&group.name)) } }
        td { (group.client.to_string()) }
        @if is_of_fleet { td { (safe(&group.gateways.join(" "))) } }
        td.number { (group.failed) }
        td.number { (group.worked) }
        td { @for cause in &group.causes { div { (named(cause.cause)) " " (cause.failed) " (" (percent(cause.confidence)) ")" } } }
        td { (time(group.last)) }
        td { code { (group.app.as_deref().map_or_else(String::new, safe)) } }
    } }
}

fn stories(report: &Report) -> Markup {
    html! {
        @if report.stories.is_empty() { p { "Nothing to tell." } }
        @for (number, story) in report.stories.iter().enumerate() {
            details open[number == 0] data-key=(key(story)) {
                summary id={ "story-" (number) } {
                    (safe(&story.name())) ": " (named(story.verdict.cause)) " (" (percent(story.verdict.confidence)) "), "
                    (story.verdict.client.ip.to_string())
                }
                (told(story))
            }
        }
    }
}

/// Returns the identity of a story's group, the same as long as it fails.
fn key(story: &Story) -> String {
    let verdict = &story.verdict;
    let app = verdict.ja4.as_deref().unwrap_or_default();
    safe(&format!("{} {app} {}", verdict.client.ip, story.name()))
}

fn told(story: &Story) -> Markup {
    let verdict = &story.verdict;
    html! {
        p { (verdict.cause.meaning()) }
        @for line in story.facts() { p { (line) } }
        (ladder(story))
        (evidence(verdict))
        @for earlier in &story.earlier {
            p { "Before, it was called " (named(earlier.cause)) " (" (percent(earlier.confidence)) ")." }
        }
        @if let Some(pan_os) = &verdict.pan_os {
            p {
                "PAN-OS would log " code { (safe(pan_os)) }
                @if let Some(beneath) = &verdict.pan_os_beneath { "; beneath it, by the alert: " code { (safe(beneath)) } }
                "."
            }
        }
        @if let Some(advice) = &verdict.advice { p { strong { "Advice: " } (safe(advice)) "." } }
    }
}

fn ladder(story: &Story) -> Markup {
    let verdict = &story.verdict;
    html! {
        p.dim {
            (format!("{:.3}", verdict.time)) " on " (safe(&verdict.tap)) ": " (verdict.client.to_string()) " → "
            (verdict.server.to_string()) ", " code { (safe(&verdict.community_id)) }
        }
        @if !story.ladder.0.is_empty() {
            div.wide { table.ladder {
                caption { "Records of the connection in order; the one that ended it is in bold" }
                thead { tr { th.number scope="col" { "ms" } th scope="col" { "From" } th scope="col" { "Record or segment" } } }
                tbody { @for rung in &story.ladder.0 {
                    tr.decides[rung.decides] {
                        td.number { (format!("{:.3}", rung.at_us as f64 / 1000.0)) }
                        td { @if rung.from == Party::Client { "client →" } @else { "← server" } }
                        td { (safe(&rung.what)) @if rung.decides { " (ended the connection)" } }
                    }
                } }
            } }
        }
    }
}

fn evidence(verdict: &Verdict) -> Markup {
    html! {
        @if !verdict.evidence.is_empty() {
            div.wide { table {
                caption { "Evidence for (+) and against (−) the cause" }
                thead { tr { th.number scope="col" { "Weight" } th scope="col" { "Fact" } } }
                tbody { @for evidence in &verdict.evidence {
                    tr {
                        @let weight = written_weight(evidence.weight);
                        td.number { (format!("{weight:+.2}")) }
                        td { (strength(weight, verdict.cause)) ": " (safe(&evidence.detail)) }
                    }
                } }
            } }
        }
    }
}

fn exclusions(exclusions: &[Exclusion]) -> Markup {
    html! {
        @if exclusions.is_empty() { p { "None: no pin is sure enough." } } @else {
            p.dim { "Excluded destinations are not inspected: read the list before an interceptor loads it." }
            div.wide { table {
                caption { "Pinned destinations with a confidence of at least 80 %" }
                thead { tr { th scope="col" { "Host" } th.number scope="col" { "Connections" } th.number scope="col" { "Clients" } } }
                tbody { @for entry in exclusions {
                    tr { td { code { (safe(&entry.host)) } } td.number { (entry.connections) } td.number { (entry.clients) } }
                } }
            } }
        }
    }
}

pub(in crate::outlet) fn named(cause: Cause) -> Markup {
    html! { span class={ "cause " (class(cause)) } title=(cause.meaning()) { (cause.name()) } }
}

/// Returns text from the network without what is invisible or turns the reading direction.
pub(in crate::outlet) fn safe(text: &str) -> String {
    escaped(text).to_string()
}

pub(in crate::outlet) fn time(time: Timestamp) -> String {
    format!("{time:.0}")
}

pub(in crate::outlet) fn percent(confidence: f64) -> String {
    format!("{:.0} %", written_confidence(confidence) * 100.0)
}

pub(in crate::outlet) fn share(part: u64, all: u64) -> String {
    format!("{:.1} %", part as f64 / all as f64 * 100.0)
}
