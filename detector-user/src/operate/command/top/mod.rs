//! `tlswhy top`: failing groups live in the terminal.
//!
//! `feed` has the latest report, of the agent or of a capture; `view` is the state that keys change;
//! `draw` renders both. None of them knows the terminal, so that tests render into a buffer.

mod draw;
mod feed;
mod fleet;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::show;
use crate::operate::cli::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, TopArgs, TopBy};
use feed::Feed;
use view::View;

/// Time between two frames, unless a key comes first.
const FRAME: Duration = Duration::from_millis(500);
/// Width of a frame that is printed as text; its height grows with the groups.
const WIDTH: u16 = 120;
/// Maximum height of one.
const HEIGHT_MAX: u16 = 1_024;

/// Shows the groups until a key ends it.
///
/// # Errors
/// No agent is running, or the terminal cannot be used.
pub fn run(arguments: TopArgs) -> anyhow::Result<u8> {
    if arguments.once {
        return once(&arguments);
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        complain!(
            "tlswhy: standard input or output is not a terminal; --once prints one frame as text"
        );
        return Ok(EXIT_USAGE);
    }
    let mut feed = Feed::open(&arguments)?;
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).context("cannot catch signals")?;
    }
    // Also restores the terminal when the program panics.
    let mut terminal = ratatui::try_init().context("cannot use the terminal")?;
    let result = watch(&mut terminal, &mut feed, arguments.by, &ended);
    ratatui::restore();
    let is_whole = feed.close();
    result?;
    Ok(if is_whole { EXIT_DONE } else { EXIT_FAILED })
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    feed: &mut Feed,
    by: TopBy,
    ended: &AtomicBool,
) -> anyhow::Result<()> {
    let mut view = View::of(by);
    while !ended.load(Ordering::Relaxed) {
        feed.refresh();
        view.update(feed.report());
        terminal
            .draw(|frame| draw::draw(frame, &feed.source(), &mut view))
            .context("cannot draw")?;
        // A signal interrupts the wait.
        match event::poll(FRAME) {
            Ok(false) => continue,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled.context("cannot read keys")?,
        };
        if let Event::Key(key) = event::read().context("cannot read keys")?
            && key.kind != KeyEventKind::Release
            && view.press(key)
        {
            break;
        }
    }
    Ok(())
}

/// Prints one frame as text.
fn once(arguments: &TopArgs) -> anyhow::Result<u8> {
    let mut feed = Feed::open(arguments)?;
    feed.wait()?;
    let mut view = View::of(arguments.by);
    view.update(feed.report());
    let rows = u16::try_from(view.rows()).unwrap_or(u16::MAX);
    let backend = TestBackend::new(
        WIDTH,
        rows.max(1).saturating_add(draw::AROUND).min(HEIGHT_MAX),
    );
    let mut terminal = Terminal::new(backend)?;
    view.is_printed = true;
    let frame = terminal.draw(|frame| draw::draw(frame, &feed.source(), &mut view))?;
    show(&draw::text(frame.buffer))?;
    Ok(if feed.close() { EXIT_DONE } else { EXIT_FAILED })
}
