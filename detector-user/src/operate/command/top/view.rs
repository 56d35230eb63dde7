//! The part of a report that is shown: sorted, filtered, selected; changed by keys.

use std::cmp::Ordering;
use std::net::IpAddr;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::operate::cli::TopBy;
use crate::outlet::database::{Rate, Rated};
use crate::outlet::failure_rates::{FailureRates, Rates};
use crate::outlet::recent_groups::RecentGroup;
use crate::outlet::status::Report;

/// Maximum length of a filter, characters.
const FILTER_MAX: usize = 100;
/// Rows that Page Up and Page Down move.
const PAGE: usize = 10;

/// The column that groups are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// Failures per minute.
    #[default]
    Rate,
    /// Failures.
    Failed,
    /// Latest failure.
    Last,
    /// Confidence of the cause.
    Confidence,
    /// Server name.
    Name,
    /// Client.
    Client,
}

impl Sort {
    const ALL: [Self; 6] = [
        Self::Rate,
        Self::Failed,
        Self::Last,
        Self::Confidence,
        Self::Name,
        Self::Client,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Failed => "failures",
            Self::Last => "latest",
            Self::Confidence => "confidence",
            Self::Name => "name",
            Self::Client => "client",
        }
    }

    fn next(self) -> Self {
        let place = Self::ALL.iter().position(|it| *it == self).unwrap_or(0);
        Self::ALL.get(place + 1).copied().unwrap_or_default()
    }

    /// Compares two groups, the first to be shown first.
    fn order(self, a: &RecentGroup, b: &RecentGroup) -> Ordering {
        match self {
            Self::Rate => b.per_minute.total_cmp(&a.per_minute),
            Self::Failed => b.failed.cmp(&a.failed),
            Self::Last => b.last.cmp(&a.last),
            Self::Confidence => b.confidence.total_cmp(&a.confidence),
            Self::Name => a.name.cmp(&b.name),
            Self::Client => a.client.cmp(&b.client),
        }
    }
}

/// The part of the screen below the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Page {
    /// The groups, or failure rates.
    #[default]
    Groups,
    /// One of them.
    Group,
    /// The keys.
    Help,
}

/// A group, wherever it stands.
type Identity = (IpAddr, Option<String>, String);

/// The part of a report that is shown.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) sort: Sort,
    pub(super) is_reversed: bool,
    pub(super) only_new: bool,
    pub(super) filter: String,
    /// Whether keys are letters of the filter.
    pub(super) is_typing: bool,
    pub(super) page: Page,
    /// Rows of that page.
    pub(super) by: TopBy,
    /// Failure rates that are shown instead of groups.
    pub(super) rates: Rates,
    /// First of them that is on the screen.
    pub(super) rates_offset: usize,
    /// The groups that are shown, in order.
    pub(super) groups: Vec<RecentGroup>,
    /// Place of the selected one among them.
    pub(super) selected: usize,
    identity: Option<Identity>,
    /// First row that is on the screen.
    pub(super) offset: usize,
    /// Whether the frame is printed as text, without keys and selection.
    pub(super) is_printed: bool,
    all: Vec<RecentGroup>,
    all_rates: FailureRates,
    /// Whether rates are sorted by the share that failed, and not by failures.
    pub(super) by_share: bool,
}

impl View {
    /// Returns a view with these rows.
    pub(super) fn of(by: TopBy) -> Self {
        Self {
            by,
            ..Self::default()
        }
    }

    /// Takes the groups and rates of a report; the selected group stays selected.
    pub(super) fn update(&mut self, report: &Report) {
        self.all.clone_from(&report.groups);
        self.all_rates.clone_from(&report.failure_rates);
        self.arrange();
    }

    /// Returns the number of rows.
    pub(super) fn rows(&self) -> usize {
        if self.by == TopBy::Group {
            return self.groups.len();
        }
        self.rates.most.len() + usize::from(self.rates.others.rate.all > 0)
    }

    fn arrange_rates(&mut self) {
        let rates = &self.all_rates;
        let rates = match self.by {
            TopBy::Group => &Rates::default(),
            TopBy::App => &rates.apps,
            TopBy::Name => &rates.names,
            TopBy::Tap => &rates.taps,
        };
        self.rates.clone_from(rates);
        if !self.filter.is_empty() {
            let wanted = self.filter.to_lowercase();
            let has = |it: &Rated| it.of.to_lowercase().contains(&wanted);
            self.rates.most.retain(has);
            self.rates.others = Rated::default();
        }
        if self.by_share {
            let share = |rate: Rate| rate.share().unwrap_or_default();
            let rows = &mut self.rates.most;
            rows.sort_by(|a, b| share(b.rate).total_cmp(&share(a.rate)));
        }
        if self.is_reversed {
            self.rates.most.reverse();
        }
        self.scroll_to(self.rates_offset);
    }

    fn scroll_to(&mut self, row: usize) {
        self.rates_offset = row.min(self.rows().saturating_sub(1));
    }

    /// Takes a key on a page of rates. Returns whether it was one that moves or sorts.
    fn press_on_rates(&mut self, key: KeyCode) -> bool {
        let offset = self.rates_offset;
        match key {
            KeyCode::Up | KeyCode::Char('k') => self.scroll_to(offset.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.scroll_to(offset.saturating_add(1)),
            KeyCode::PageUp => self.scroll_to(offset.saturating_sub(PAGE)),
            KeyCode::PageDown => self.scroll_to(offset.saturating_add(PAGE)),
            KeyCode::Home | KeyCode::Char('g') => self.scroll_to(0),
            KeyCode::End | KeyCode::Char('G') => self.scroll_to(usize::MAX),
            KeyCode::Char('s') => {
                self.by_share = !self.by_share;
                self.arrange();
            }
            // Of groups alone.
            KeyCode::Enter | KeyCode::Right | KeyCode::Char('n') => {}
            _ => return false,
        }
        true
    }

    fn arrange(&mut self) {
        self.arrange_rates();
        let wanted = self.filter.to_lowercase();
        let shown = self
            .all
            .iter()
            .filter(|it| (!self.only_new || it.broken_since.is_some()) && matches(it, &wanted));
        self.groups = shown.cloned().collect();
        let sort = self.sort;
        self.groups.sort_by(|a, b| {
            sort.order(a, b)
                .then(b.last.cmp(&a.last))
                .then(a.name.cmp(&b.name))
        });
        if self.is_reversed {
            self.groups.reverse();
        }
        let place = self.identity.as_ref().and_then(|identity| {
            let place = self
                .groups
                .iter()
                .position(|it| self::identity(it) == *identity);
            place.filter(|_| self.selected > 0 || self.page == Page::Group)
        });
        self.select(place.unwrap_or(self.selected));
    }

    fn select(&mut self, place: usize) {
        self.selected = place.min(self.groups.len().saturating_sub(1));
        self.identity = self.groups.get(self.selected).map(identity);
    }

    /// Returns the selected group.
    pub(super) fn group(&self) -> Option<&RecentGroup> {
        self.groups.get(self.selected)
    }

    /// Takes a key. Returns whether it ends the view.
    pub(super) fn press(&mut self, key: KeyEvent) -> bool {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return matches!(key.code, KeyCode::Char('c' | 'd'));
        }
        if self.is_typing {
            self.type_key(key.code);
            return false;
        }
        if self.page == Page::Groups && self.by != TopBy::Group && self.press_on_rates(key.code) {
            return false;
        }
        match key.code {
            KeyCode::Char('q') => return true,
            KeyCode::Tab | KeyCode::BackTab => {
                self.page = Page::Groups;
                self.by = next(self.by, key.code == KeyCode::BackTab);
                self.rates_offset = 0;
                self.arrange();
            }
            KeyCode::Esc if self.page != Page::Groups => self.page = Page::Groups,
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                self.arrange();
            }
            KeyCode::Char('?' | 'h') => {
                self.page = if self.page == Page::Help {
                    Page::Groups
                } else {
                    Page::Help
                };
            }
            KeyCode::Up | KeyCode::Char('k') => self.select(self.selected.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(self.selected.saturating_add(1)),
            KeyCode::PageUp => self.select(self.selected.saturating_sub(PAGE)),
            KeyCode::PageDown => self.select(self.selected.saturating_add(PAGE)),
            KeyCode::Home | KeyCode::Char('g') => self.select(0),
            KeyCode::End | KeyCode::Char('G') => self.select(usize::MAX),
            KeyCode::Enter | KeyCode::Right => {
                self.page = match self.page {
                    Page::Groups if self.group().is_some() => Page::Group,
                    _ => Page::Groups,
                };
            }
            KeyCode::Left | KeyCode::Backspace => self.page = Page::Groups,
            KeyCode::Char('s') => {
                self.sort = self.sort.next();
                self.arrange();
            }
            KeyCode::Char('r') => {
                self.is_reversed = !self.is_reversed;
                self.arrange();
            }
            KeyCode::Char('n') => {
                self.only_new = !self.only_new;
                self.arrange();
            }
            KeyCode::Char('/' | 'f') => {
                self.page = Page::Groups;
                self.is_typing = true;
            }
            _ => {}
        }
        false
    }

    fn type_key(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) if self.filter.chars().count() < FILTER_MAX => {
                self.filter.push(letter);
            }
            _ => {}
        }
        self.arrange();
    }
}

fn next(by: TopBy, is_back: bool) -> TopBy {
    match (by, is_back) {
        (TopBy::Group, false) | (TopBy::Name, true) => TopBy::App,
        (TopBy::App, false) | (TopBy::Tap, true) => TopBy::Name,
        (TopBy::Name, false) | (TopBy::Group, true) => TopBy::Tap,
        (TopBy::Tap, false) | (TopBy::App, true) => TopBy::Group,
    }
}

fn identity(group: &RecentGroup) -> Identity {
    (group.client, group.app.clone(), group.name.clone())
}

/// Whether a group's name, client, cause, app or tap has these letters.
fn matches(group: &RecentGroup, wanted: &str) -> bool {
    wanted.is_empty()
        || group.name.contains(wanted)
        || group.client.to_string().contains(wanted)
        || group.cause.contains(wanted)
        || group.tap.to_lowercase().contains(wanted)
        || group.app.as_deref().is_some_and(|app| app.contains(wanted))
}
