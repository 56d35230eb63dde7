use jiff::{SignedDuration, Timestamp};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::draw::{Source, draw, text};
use super::view::{Page, View};
use crate::operate::cli::TopBy;
use crate::outlet::database::{Rate, Rated};
use crate::outlet::failure_rates::{FailureRates, Rates};
use crate::outlet::recent_groups::RecentGroup;
use crate::outlet::status::{Loss, Report, Tap};

fn at(seconds: i64) -> Timestamp {
    "2026-11-23T08:30:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn group(name: &str, client: &str, cause: &str, per_minute: f64, failed: u64) -> RecentGroup {
    RecentGroup {
        client: client.parse().unwrap(),
        app: Some("t13d1516h2_8daaf6152771_02713d6af862".to_owned()),
        name: name.to_owned(),
        tap: "lan0".to_owned(),
        cause: cause.to_owned(),
        confidence: 0.9,
        intercepted: "yes".to_owned(),
        issuer: Some("CN=Inspection CA".to_owned()),
        advice: Some(format!("do something about {name}")),
        failed,
        worked: 3,
        per_minute,
        first: at(-60),
        last: at(failed as i64),
        broken_since: None,
    }
}

fn report() -> Report {
    let mut broken = group("api.pinned.test", "10.0.1.2", "pinning", 2.5, 25);
    broken.broken_since = Some(at(-60));
    Report {
        time: at(100),
        taps: vec![Tap {
            name: "lan0".to_owned(),
            verdicts: 30,
            established: 70,
            ..Tap::default()
        }],
        established: 70,
        failed: [("pinning".to_owned(), 30)].into(),
        groups: vec![
            broken,
            group("a.test", "10.0.1.3", "ca-not-trusted", 0.5, 40),
            group("evil\u{1b}[2J\nname", "10.0.1.9", "injected-reset", 0.1, 1),
        ],
        failure_rates: rates(),
        ..Report::default()
    }
}

fn rated(of: &str, failed: u64, all: u64) -> Rated {
    Rated {
        of: of.to_owned(),
        rate: Rate { failed, all },
        intercepted: Rate {
            failed: failed / 2,
            all: all / 2,
        },
    }
}

fn rates() -> FailureRates {
    FailureRates {
        taps: Rates {
            most: vec![rated("lan0", 30, 100)],
            others: Rated::default(),
        },
        apps: Rates {
            most: vec![
                rated("t13d1516h2_8daaf6152771_02713d6af862", 24, 80),
                rated("", 4, 8),
                rated("q\u{1b}[2J", 1, 1),
            ],
            others: rated("", 1, 11),
        },
        names: Rates {
            most: vec![rated("api.pinned.test", 30, 100)],
            others: Rated::default(),
        },
    }
}

fn frame(view: &mut View, report: &Report, trouble: Option<&str>) -> String {
    view.update(report);
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let source = Source {
        report,
        title: "agent 1.0 runs, process 7".to_owned(),
        trouble,
    };
    let drawn = terminal.draw(|frame| draw(frame, &source, view)).unwrap();
    text(drawn.buffer)
}

fn press(view: &mut View, keys: &[KeyCode]) -> bool {
    let mut ends = false;
    for key in keys {
        ends = view.press(KeyEvent::new(*key, KeyModifiers::NONE));
    }
    ends
}

fn names(view: &View) -> Vec<&str> {
    view.groups
        .iter()
        .map(|it| it.name.as_str())
        .take(2)
        .collect()
}

#[test]
fn a_frame_fits_80_by_24() {
    insta::assert_snapshot!("groups", frame(&mut View::default(), &report(), None));
}

#[test]
fn a_group_is_opened_and_closed() {
    let mut view = View::default();
    view.update(&report());
    press(&mut view, &[KeyCode::Enter]);
    insta::assert_snapshot!("group", frame(&mut view, &report(), None));
    press(&mut view, &[KeyCode::Esc]);
    assert_eq!(view.page, Page::Groups);
}

#[test]
fn hostile_names_move_no_cursor() {
    let mut view = View::default();
    let shown = frame(&mut view, &report(), None);
    assert!(shown.contains("evil\\u{1b}[2J"), "{shown}");
    assert!(!shown.contains('\u{1b}'));
}

#[test]
fn keys_sort_reverse_and_filter() {
    let mut view = View::default();
    view.update(&report());
    assert_eq!(names(&view), ["api.pinned.test", "a.test"]);
    press(&mut view, &[KeyCode::Char('s')]);
    assert_eq!(names(&view), ["a.test", "api.pinned.test"]);
    press(&mut view, &[KeyCode::Char('r')]);
    assert_eq!(names(&view)[1], "api.pinned.test");
    press(&mut view, &[KeyCode::Char('n')]);
    assert_eq!(names(&view), ["api.pinned.test"]);
    let letters = ['n', '/', 'n', 'o', 't', '-', 'q'].map(KeyCode::Char);
    assert!(
        !press(&mut view, &letters),
        "a letter of the filter ends nothing"
    );
    press(&mut view, &[KeyCode::Backspace, KeyCode::Enter]);
    assert_eq!(names(&view), ["a.test"]);
    press(&mut view, &[KeyCode::Esc]);
    assert_eq!(view.groups.len(), 3);
    assert!(press(&mut view, &[KeyCode::Char('q')]));
    assert!(view.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
}

#[test]
fn rates_by_app_fit_too() {
    let mut view = View::of(TopBy::App);
    insta::assert_snapshot!("apps", frame(&mut view, &report(), None));
    press(&mut view, &['j', 'j'].map(KeyCode::Char));
    let shown = frame(&mut view, &report(), None);
    assert!(
        !shown.contains("24       80") && shown.contains("1       11"),
        "{shown}"
    );
    press(&mut view, &['g', 's'].map(KeyCode::Char));
    let shares =
        |view: &View| -> Vec<u64> { view.rates.most.iter().map(|it| it.rate.all).collect() };
    assert_eq!(shares(&view), [1, 8, 80]);
    press(&mut view, &['r'].map(KeyCode::Char));
    assert_eq!(shares(&view), [80, 8, 1]);
    press(&mut view, &['/', 'D', '1', '5'].map(KeyCode::Char));
    assert_eq!((shares(&view), view.rows()), (vec![80], 1));
}

#[test]
fn tab_shows_rates_and_the_groups_again() {
    let mut view = View::default();
    let heads = [
        (KeyCode::Tab, "APP (JA4)"),
        (KeyCode::Tab, "SERVER NAME"),
        (KeyCode::Tab, "TAP"),
        (KeyCode::Tab, "CAUSE"),
        (KeyCode::BackTab, "TAP"),
        (KeyCode::BackTab, "SERVER NAME"),
        (KeyCode::BackTab, "APP (JA4)"),
        (KeyCode::BackTab, "CAUSE"),
    ];
    view.update(&report());
    press(&mut view, &[KeyCode::Enter]);
    for (key, head) in heads {
        press(&mut view, &[key]);
        let shown = frame(&mut view, &report(), None);
        assert!(shown.contains(head), "{head}: {shown}");
        assert_eq!(view.page, Page::Groups);
    }
}

/// A group stays selected while others overtake it.
#[test]
fn the_selection_follows_its_group() {
    let mut view = View::default();
    view.update(&report());
    press(&mut view, &[KeyCode::Down]);
    assert_eq!(view.group().unwrap().name, "a.test");
    let mut later = report();
    later.groups[1].per_minute = 9.0;
    press(&mut view, &[KeyCode::Enter]);
    view.update(&later);
    assert_eq!(
        (view.selected, view.group().unwrap().name.as_str()),
        (0, "a.test")
    );
}

#[test]
fn the_selected_row_is_on_the_screen() {
    let mut many = report();
    for number in 0..100 {
        let name = format!("n{number}.test");
        many.groups
            .push(group(&name, "10.0.1.4", "truncated", 0.0, 0));
    }
    let mut view = View::default();
    view.update(&many);
    press(&mut view, &[KeyCode::End]);
    let last = view.group().unwrap().name.clone();
    assert!(frame(&mut view, &many, None).contains(&last));
    press(&mut view, &[KeyCode::Home]);
    assert!(frame(&mut view, &many, None).contains("!api.pinned.test"));
}

#[test]
fn losses_and_a_silent_agent_are_said() {
    let mut lossy = report();
    lossy.losses.push(Loss {
        reason: "lost_observations".to_owned(),
        count: 12,
        ..Loss::default()
    });
    let shown = frame(&mut View::default(), &lossy, None);
    assert!(shown.contains("12 lost_observations"), "{shown}");
    let shown = frame(&mut View::default(), &lossy, Some("no agent is running"));
    assert!(shown.contains("!       no agent is running"), "{shown}");
}
