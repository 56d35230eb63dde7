//! Writes the man pages and completions that packages bring, made from the command line's definition
//! and the table of configuration keys: `cargo run --example documents -- FOLDER`.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use detector_user::operate::cli::Cli;
use detector_user::operate::config::defaults::{DEFAULT_FILE, DEFAULT_PINS};
use detector_user::operate::config::{Key, keys};
use roff::{Inline, Roff, bold, roman};

const SECTION: &str = "8";
const FILES: &[(&str, &str)] = &[
    (DEFAULT_FILE, "The configuration."),
    (
        DEFAULT_PINS,
        "Pinned programs and maps of the service; they keep running while it restarts.",
    ),
    (
        "/var/lib/tlswhy",
        "Learned facts of the service, and verdicts that journald has not accepted yet.",
    ),
    (
        "/run/tlswhy",
        "Connections that the service has not judged yet.",
    ),
];

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .context("missing argument; run: cargo run --example documents -- FOLDER")?;
    let folder = Path::new(&folder);
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    command_pages(&man)?;
    configuration_page().to_writer(&mut File::create(man.join("tlswhy.toml.5"))?)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Cli::command(), "tlswhy", &completions)?;
    }
    Ok(())
}

/// Writes tlswhy(8), and a page for each command.
fn command_pages(folder: &Path) -> anyhow::Result<()> {
    let mut whole = Cli::command().disable_help_subcommand(true);
    whole.build();
    let mut commands = vec![whole.clone()];
    for command in whole.get_subcommands() {
        let name = format!("tlswhy-{}", command.get_name());
        let shown = format!("tlswhy {}", command.get_name());
        // Both live as long as this program.
        let name: &'static str = name.leak();
        commands.push(command.clone().name(name).bin_name(shown));
    }
    for command in commands {
        let path = folder.join(format!("{}.{SECTION}", command.get_name()));
        command_page(command, &mut File::create(path)?)?;
    }
    Ok(())
}

fn command_page(command: Command, file: &mut File) -> io::Result<()> {
    let after = command.get_after_help().map(ToString::to_string);
    let has_commands = command.has_subcommands();
    let page = Man::new(command).section(SECTION);
    page.render_title(file)?;
    page.render_name_section(file)?;
    page.render_synopsis_section(file)?;
    page.render_description_section(file)?;
    page.render_options_section(file)?;
    if has_commands {
        page.render_subcommands_section(file)?;
    }
    after_help(&after.unwrap_or_default()).to_writer(file)?;
    see_also(has_commands).to_writer(file)
}

/// Returns the text below the options of the help: its paragraphs as sections, lines as they are.
fn after_help(text: &str) -> Roff {
    let mut page = Roff::new();
    for paragraph in text.split("\n\n") {
        let (title, rest) = match paragraph.split_once(":\n") {
            Some(("Examples", rest)) => ("EXAMPLES", rest),
            Some(("Exit codes", rest)) => ("EXIT STATUS", rest),
            _ => ("NOTES", paragraph),
        };
        page.control("SH", [title]);
        let keeps_lines = title != "NOTES";
        if keeps_lines {
            page.control("nf", []);
        }
        for line in rest.lines() {
            page.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        if keeps_lines {
            page.control("fi", []);
        }
    }
    page
}

fn see_also(is_whole: bool) -> Roff {
    let mut page = Roff::new();
    if is_whole {
        page.control("SH", ["FILES"]);
        for (path, about) in FILES {
            page.control("TP", []);
            page.text([bold(*path)]);
            page.text([roman(*about)]);
        }
    }
    page.control("SH", ["SEE ALSO"]);
    let first = if is_whole { "tlswhy-run" } else { "tlswhy" };
    page.text([
        bold(first),
        roman("(8), "),
        bold("tlswhy.toml"),
        roman("(5), "),
        bold("journalctl"),
        roman("(1)"),
    ]);
    page
}

/// Returns tlswhy.toml(5).
fn configuration_page() -> Roff {
    let mut page = Roff::new();
    let version = concat!("tlswhy ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["tlswhy.toml", "5", "", version])
        .control("SH", ["NAME"])
        .text([roman("tlswhy.toml - configuration of tlswhy run")])
        .control("SH", ["SYNOPSIS"])
        .text([roman(DEFAULT_FILE)])
        .control("SH", ["DESCRIPTION"])
        .text([roman(
            "A TOML file. A missing key has the default shown here; the command line takes \
             precedence. `tlswhy check-config` lists all mistakes, `tlswhy run --print-config` \
             prints the effective configuration with the origin of each value. `systemctl reload \
             tlswhy` applies a changed file as a whole or not at all, without a pause in watching.",
        )]);
    let mut section = "";
    for key in keys() {
        if key.section() != section {
            section = key.section();
            page.control("SH", [format!("[{section}]").as_str()]);
        }
        page.control("TP", []);
        page.text([bold(key.name())]);
        page.text(about(key));
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([
        bold("tlswhy-run"),
        roman("(8), "),
        bold("journalctl"),
        roman("(1)"),
    ]);
    page
}

fn about(key: &Key) -> Vec<Inline> {
    let default = key.default().map_or_else(
        || " Not set by default.".to_owned(),
        |value| format!(" Default: {value}."),
    );
    let reload = if key.live {
        " Applied on reload."
    } else {
        " Requires a restart."
    };
    vec![roman(format!(
        "{}. Value: {}.{default}{reload}",
        key.about, key.expected
    ))]
}
