//! `cargo xtask corpus`: labelled captures of real clients, servers and interceptors.
//!
//! In: [`scenarios`], the clients and the network they are played in. Out: a folder of captures with
//! their labels, and rewrites of them. With `--live` the agent watches, and its verdicts are compared
//! with those on the recording.
//!
//! Not here: how a capture is judged or scored.

mod connections;
pub mod live;
mod play;
pub mod scenarios;
mod write;

pub use play::{Played, Recorded, play};

use std::path::PathBuf;

use anyhow::{Context, ensure};
use xtask::commands::{ArgMatches, value};
use xtask::root;

use crate::build::{Profile, build_agent};
use crate::rewrite;

/// Ways, of each kind, in which each capture is rewritten.
const REWRITES: usize = 2;

/// Arguments of `cargo xtask corpus`.
pub struct Arguments {
    folder: PathBuf,
    only: String,
    live: bool,
}

impl Arguments {
    /// Reads them from the command line.
    #[must_use]
    pub fn of(matches: &ArgMatches) -> Self {
        Self {
            folder: value(matches, "folder").unwrap_or_else(|| root().join("target/corpus")),
            only: value(matches, "only").unwrap_or_default(),
            live: matches.get_flag("live"),
        }
    }
}

/// Plays all scenarios, records them, and writes captures and labels.
///
/// # Errors
/// If something needed is missing or does not work.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let agent = arguments
        .live
        .then(|| build_agent(Profile::Release))
        .transpose()?;
    let mut wanted = scenarios::all();
    wanted.retain(|scenario| scenario.name.contains(&arguments.only));
    let work = tempfile::tempdir().context("cannot make a temporary folder")?;
    let recorded = play(work.path(), wanted, agent.as_deref())?;
    write::write(folder, &recorded.played)?;
    println!("{} captures in {}", recorded.played.len(), folder.display());
    let rewritten = folder.join("rewritten");
    let count = rewrite::command::rewrite_folder(folder, &rewritten, REWRITES)?;
    println!("{count} rewrites of them in {}", rewritten.display());
    if let (Some(agent), Some(live)) = (&agent, &recorded.live) {
        let captured = live::of_recording(agent, folder, &recorded.frames)?;
        let differences = live.differences(&captured);
        for difference in &differences {
            print!("{difference}");
        }
        println!(
            "{} verdicts live, {} from the recording; differences: {}",
            live.len(),
            captured.len(),
            differences.len()
        );
        ensure!(differences.is_empty(), "live and recorded verdicts differ");
    }
    Ok(())
}
