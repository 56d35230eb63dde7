//! A frame of the view. Names are strangers' words: all text is escaped.

use std::fmt::Write as _;

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Paragraph, Row, Table, Wrap};

use super::view::{Page, View};
use crate::operate::cli::TopBy;
use crate::outlet::database::{Rate, Rated};
use crate::outlet::recent_groups::RecentGroup;
use crate::outlet::sink::escaped;
use crate::outlet::status::Report;
use crate::verdict::{Cause, counted};

/// Lines around the groups.
pub(super) const AROUND: u16 = HEAD + FOOT + 1;
const HEAD: u16 = 5;
const FOOT: u16 = 3;
/// Width from which there is room for times and long names.
const WIDE: u16 = 100;
const KEYS: &str = "q ends  Enter opens  Tab rates  s sorts  r reverses  / filters  n new  ? help";
const HELP: &str = "\
↑ ↓ j k         select a group
PgUp PgDn g G   further up and down
Enter           open the group, and close it
s               sort by the next column: rate, failures, latest, confidence, name, client
r               reverse the order
/               filter: name, client, cause, tap or app that has these letters; Esc clears
Tab             failure rates by app, by server name, by tap, and groups again; s sorts by share
n               show only groups that broke within the last half hour
q, Ctrl-C       end

RATE is failures per minute of the last ten minutes. A group is one client, one app and one server name;
it is newly broken (!) if it failed for the first time, or for the first time since it worked, within
the last half hour.";

/// The report that is shown, and where it is from.
pub(super) struct Source<'a> {
    pub(super) report: &'a Report,
    pub(super) title: String,
    /// Why there is no newer report.
    pub(super) trouble: Option<&'a str>,
}

/// Draws a frame.
pub(super) fn draw(frame: &mut Frame<'_>, source: &Source<'_>, view: &mut View) {
    let parts = [
        Constraint::Length(HEAD),
        Constraint::Min(1),
        Constraint::Length(FOOT),
    ];
    let [head, body, foot] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(self::head(source), head);
    match view.page {
        Page::Groups if view.by != TopBy::Group => rates(frame, body, view),
        Page::Groups => groups(frame, body, view),
        Page::Group => frame.render_widget(group(view), body),
        Page::Help => frame.render_widget(Paragraph::new(HELP).wrap(Wrap { trim: false }), body),
    }
    frame.render_widget(self::foot(view), foot);
}

fn head(source: &Source<'_>) -> Paragraph<'static> {
    let Source {
        report,
        title,
        trouble,
    } = source;
    let failed: u64 = report.failed.values().sum();
    let all = failed + report.established;
    let share = if all == 0 {
        0.0
    } else {
        failed as f64 * 100.0 / all as f64
    };
    let taps: Vec<_> = report
        .taps
        .iter()
        .map(|tap| {
            let name = escaped(&tap.name);
            tap.failure_rate().map_or_else(
                || name.to_string(),
                |rate| format!("{name} ({rate:.1} % failed)"),
            )
        })
        .collect();
    let taps = if taps.is_empty() {
        "no tap".to_owned()
    } else {
        taps.join(", ")
    };
    let mut numbers = format!(
        "{failed} of {} failed ({share:.1} %), {} in progress",
        counted(all, "connection", "connections"),
        report.under_way
    );
    if report.rates.seconds > 0.0 {
        let _ = write!(
            numbers,
            ", {:.1} flows/s, {:.1} failures/min",
            report.rates.flows_per_second, report.rates.verdicts_per_minute
        );
    }
    Paragraph::new(vec![
        Line::from(vec![
            Span::raw("tlswhy top").bold(),
            Span::raw(format!("  {}  {}", escaped(title), clock(report.time))),
        ]),
        Line::raw(format!("taps    {taps}")),
        Line::raw(format!("now     {numbers}")),
        lost(report, *trouble),
        broken(report),
    ])
}

fn lost(report: &Report, trouble: Option<&str>) -> Line<'static> {
    if let Some(trouble) = trouble {
        return Line::raw(format!("!       {}", escaped(trouble)))
            .red()
            .bold();
    }
    if report.losses.is_empty() {
        return Line::raw("lost    nothing");
    }
    let losses = report.losses.iter();
    let losses: Vec<_> = losses
        .map(|it| format!("{} {}", it.count, escaped(&it.reason)))
        .collect();
    Line::raw(format!("lost    {}", losses.join(", "))).red()
}

/// Returns the groups that broke last.
fn broken(report: &Report) -> Line<'static> {
    let mut broken: Vec<_> = report
        .groups
        .iter()
        .filter_map(|group| Some((group.broken_since?, group)))
        .collect();
    if broken.is_empty() {
        return Line::raw("broke   nothing within the last half hour");
    }
    broken.sort_by_key(|(since, _)| std::cmp::Reverse(*since));
    let number = broken.len();
    let named = broken.iter().take(3).map(|(since, group)| {
        format!(
            "{} at {} ({})",
            escaped(&group.name),
            group.client,
            clock(*since)
        )
    });
    let named: Vec<_> = named.collect();
    Line::raw(format!("broke   {number}: {}", named.join(", "))).bold()
}

fn groups(frame: &mut Frame<'_>, area: Rect, view: &mut View) {
    if view.groups.is_empty() {
        let why = if view.filter.is_empty() && !view.only_new {
            "No group fails."
        } else {
            "No group fails that the filter selects."
        };
        frame.render_widget(Paragraph::new(why), area);
        return;
    }
    let room = usize::from(area.height.saturating_sub(1)).max(1);
    if view.selected < view.offset {
        view.offset = view.selected;
    }
    view.offset = view.offset.max((view.selected + 1).saturating_sub(room));
    let is_wide = area.width >= WIDE;
    let heads = [
        "RATE",
        " FAIL",
        "   OK",
        "CONF",
        "CAUSE",
        "CLIENT",
        " SERVER NAME",
        "LAST",
    ];
    let heads = heads.into_iter().take(if is_wide { 8 } else { 7 });
    let rows = view.groups.iter().enumerate().skip(view.offset).take(room);
    let rows = rows.map(|(place, group)| {
        let style = if place == view.selected && !view.is_printed {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new()
        };
        row(group, is_wide).style(style)
    });
    let client = view.groups.iter().map(|it| it.client.to_string().len());
    let client = client.max().unwrap_or(0).clamp(7, 39) as u16;
    let mut widths = vec![
        Constraint::Length(6),
        Constraint::Length(5),
        Constraint::Length(5),
        Constraint::Length(4),
        Constraint::Length(if is_wide { 22 } else { 17 }),
        Constraint::Length(if is_wide { client } else { client.min(15) }),
        Constraint::Fill(1),
    ];
    if is_wide {
        widths.push(Constraint::Length(8));
    }
    let table = Table::new(rows, widths)
        .header(Row::new(heads).bold())
        .column_spacing(1);
    frame.render_widget(table, area);
}

fn row(group: &RecentGroup, is_wide: bool) -> Row<'static> {
    let mark = if group.broken_since.is_some() {
        "!"
    } else {
        " "
    };
    let cells = [
        format!("{:6.2}", group.per_minute),
        format!("{:5}", group.failed),
        format!("{:5}", group.worked),
        format!("{:3.0}%", group.confidence * 100.0),
        escaped(&group.cause).to_string(),
        group.client.to_string(),
        format!("{mark}{}", escaped(&group.name)),
        clock(group.last),
    ];
    Row::new(cells.into_iter().take(if is_wide { 8 } else { 7 }))
}

fn rates(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let rates = &view.rates;
    if view.rows() == 0 {
        let why = if view.filter.is_empty() {
            "No connection has worked or failed."
        } else {
            "None that the filter selects."
        };
        frame.render_widget(Paragraph::new(why), area);
        return;
    }
    let rows = rates.most.iter().map(|it| {
        let of = if it.of.is_empty() {
            "unknown".to_owned()
        } else {
            escaped(&it.of).to_string()
        };
        rate_row(it, of)
    });
    let others = Some(&rates.others).filter(|it| it.rate.all > 0);
    let rows = rows.chain(others.map(|it| rate_row(it, "all others".to_owned())));
    let heads = [
        "  FAILED",
        "     ALL",
        " SHARE",
        "INTERCEPTED",
        match view.by {
            TopBy::App => "APP (JA4)",
            TopBy::Tap => "TAP",
            TopBy::Name | TopBy::Group => "SERVER NAME",
        },
    ];
    let widths = [
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Length(18),
        Constraint::Fill(1),
    ];
    let table = Table::new(rows.skip(view.rates_offset), widths)
        .header(Row::new(heads).bold())
        .column_spacing(1);
    frame.render_widget(table, area);
}

fn rate_row(rated: &Rated, of: String) -> Row<'static> {
    let share = |rate: Rate| {
        let share = rate.share();
        share.map_or_else(String::new, |share| format!("{:.1}%", share * 100.0))
    };
    let Rate { failed, all } = rated.intercepted;
    let intercepted = if all == 0 {
        "none".to_owned()
    } else {
        format!("{failed}/{all} {}", share(rated.intercepted))
    };
    Row::new([
        format!("{:8}", rated.rate.failed),
        format!("{:8}", rated.rate.all),
        format!("{:>6}", share(rated.rate)),
        intercepted,
        of,
    ])
}

/// Returns the selected group in full.
fn group(view: &View) -> Paragraph<'static> {
    let Some(group) = view.group() else {
        return Paragraph::new("The group is gone.");
    };
    let meaning = Cause::ALL.iter().find(|it| it.name() == group.cause);
    let meaning = meaning.map_or("", |cause| cause.meaning());
    let mut lines = vec![
        Line::raw(escaped(&group.name).to_string()).bold(),
        Line::raw(format!("client      {}", group.client)),
        Line::raw(format!(
            "app         {}",
            group
                .app
                .as_deref()
                .map_or_else(|| "unknown".to_owned(), |app| escaped(app).to_string())
        )),
        Line::raw(format!("tap         {}", escaped(&group.tap))),
        Line::raw(format!(
            "cause       {} ({:.0} %)",
            escaped(&group.cause),
            group.confidence * 100.0
        )),
        Line::raw(format!("            {meaning}")),
        Line::raw(format!("intercepted {}", escaped(&group.intercepted))),
    ];
    if let Some(issuer) = &group.issuer {
        lines.push(Line::raw(format!("issuer      {}", escaped(issuer))));
    }
    lines.push(Line::raw(format!(
        "failed      {} of {}, {:.2} per minute",
        group.failed,
        counted(group.failed + group.worked, "connection", "connections"),
        group.per_minute
    )));
    lines.push(Line::raw(format!(
        "first, last {:.0}, {:.0}",
        group.first, group.last
    )));
    if let Some(since) = group.broken_since {
        let how = if group.worked > 0 {
            "it worked before"
        } else {
            "it was not seen before"
        };
        lines.push(Line::raw(format!("broken      since {since:.0}: {how}")).bold());
    }
    if let Some(advice) = &group.advice {
        lines.push(Line::raw(format!("advice      {}", escaped(advice))));
    }
    Paragraph::new(Text::from(lines)).wrap(Wrap { trim: false })
}

fn foot(view: &View) -> Paragraph<'static> {
    let has_advice = view.page == Page::Groups && view.by == TopBy::Group && !view.is_printed;
    let advice = view.group().and_then(|group| group.advice.as_deref());
    let advice = advice.filter(|_| has_advice);
    let advice = advice.map_or_else(String::new, |advice| format!("advice  {}", escaped(advice)));
    let mut state = state(view);
    if view.is_reversed {
        state.push_str(", reversed");
    }
    if view.only_new && view.by == TopBy::Group {
        state.push_str(", newly broken");
    }
    if view.is_typing || !view.filter.is_empty() {
        let cursor = if view.is_typing { "_" } else { "" };
        let _ = write!(state, ", filter: {}{cursor}", escaped(&view.filter));
    }
    let keys = match (view.is_printed, view.is_typing) {
        (true, _) => "",
        (_, true) => "Enter keeps the filter  Esc clears it",
        _ => KEYS,
    };
    Paragraph::new(vec![
        Line::raw(advice).bold(),
        Line::raw(state),
        Line::raw(keys).dim(),
    ])
}

fn state(view: &View) -> String {
    let number = view.rates.most.len();
    let rows = match view.by {
        TopBy::Group => {
            let groups = counted(view.groups.len(), "group", "groups");
            return format!("{groups} by {}", view.sort.name());
        }
        TopBy::App => counted(number, "app", "apps"),
        TopBy::Name => counted(number, "server name", "server names"),
        TopBy::Tap => counted(number, "tap", "taps"),
    };
    let sort = if view.by_share { "share" } else { "failures" };
    format!("{rows} since the start by {sort}")
}

fn clock(time: Timestamp) -> String {
    time.strftime("%H:%M:%S").to_string()
}

/// Returns a frame as lines of text, without the empty ones at the end.
pub(super) fn text(buffer: &Buffer) -> String {
    let area = buffer.area;
    let mut text = String::new();
    for y in area.top()..area.bottom() {
        let mut line = String::new();
        for x in area.left()..area.right() {
            if let Some(cell) = buffer.cell((x, y)) {
                line.push_str(cell.symbol());
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let end = text.trim_end().len();
    text.truncate(end);
    text.push('\n');
    text
}
