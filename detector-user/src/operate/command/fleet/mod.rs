//! `tlswhy fleet`: the gateways that share facts.

mod mute;
mod serve;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Serialize;

use super::table::table;
use super::{past, show};
use crate::fleet::message::Health;
use crate::operate::cli::{EXIT_DONE, FleetArgs, FleetCommand, FleetOutput};
use crate::operate::config::Config;
use crate::outlet::database::{Doubt, FLEET_FILE, Gateway, Past};

const HEADS: [&str; 10] = [
    "GATEWAY", "STATE", "SEEN", "VERSION", "LAG", "WAITING", "LOST", "SKIPPED", "VERDICTS", "DOUBT",
];
/// Age of a gateway's last message from which it is said to be silent, seconds: it speaks every few.
const SILENT_S: i64 = 30;

/// Runs the command.
///
/// # Errors
/// The database cannot be read, or the servers cannot be reached.
pub fn run(arguments: &FleetArgs) -> anyhow::Result<u8> {
    match &arguments.command {
        None => show_gateways(arguments),
        Some(FleetCommand::Serve(serve)) => serve::run(serve),
        Some(FleetCommand::Mute(mute)) => mute::run(mute, true),
        Some(FleetCommand::Unmute(mute)) => mute::run(mute, false),
    }
}

fn show_gateways(arguments: &FleetArgs) -> anyhow::Result<u8> {
    let database = past::database_of(
        arguments.database.as_deref(),
        arguments.config.as_deref(),
        FLEET_FILE,
    )?;
    let gateways = Past::open(&database)?.gateways()?;
    if gateways.is_empty() {
        complain!("tlswhy: no gateway has been heard yet");
        return Ok(EXIT_DONE);
    }
    let now = Timestamp::now();
    let lines: Vec<Line> = gateways.into_iter().map(|it| Line::of(it, now)).collect();
    let text = match arguments.output {
        FleetOutput::Text => {
            let rows: Vec<_> = lines.iter().map(|line| line.row(now)).collect();
            table(&HEADS, &rows)
        }
        FleetOutput::Json => {
            let mut text = String::new();
            for line in &lines {
                text.push_str(&serde_json::to_string(line)?);
                text.push('\n');
            }
            text
        }
    };
    show(&text)?;
    Ok(EXIT_DONE)
}

/// Reads a configuration with a fleet.
fn configured(given: Option<&std::path::Path>) -> anyhow::Result<Config> {
    let config = Config::of_agent(given)?.context("no configuration; name one with --config")?;
    anyhow::ensure!(
        config.settings.fleet.is_wanted(),
        "the configuration has no fleet; set fleet.url"
    );
    Ok(config)
}

/// A gateway as it is shown.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    /// `runs`, `silent`, `ended`, `muted` or `unknown`.
    state: &'static str,
    seen: Option<Timestamp>,
    version: Option<String>,
    started: Option<Timestamp>,
    taps: Vec<String>,
    lag_ms: Option<u64>,
    waiting: Option<u64>,
    lost: Option<u64>,
    skipped: Option<u64>,
    verdicts: u64,
    muted: bool,
    doubt: Option<Doubt>,
}

impl Line {
    fn of(gateway: Gateway, now: Timestamp) -> Self {
        let health: Option<Health> = serde_json::from_value(gateway.health).ok();
        let seen = gateway.seen;
        let age = health.as_ref().map(|_| now.duration_since(seen));
        let state = match (&health, age) {
            _ if gateway.muted => "muted",
            (Some(health), _) if health.ended => "ended",
            (Some(_), Some(age)) if age.as_secs() < SILENT_S => "runs",
            (Some(_), _) => "silent",
            (None, _) => "unknown",
        };
        Self {
            name: gateway.name,
            state,
            seen: health.is_some().then_some(seen),
            version: health.as_ref().map(|it| it.agent.clone()),
            started: health.as_ref().map(|it| it.started),
            lag_ms: health.as_ref().map(|it| it.lag_ms),
            waiting: health.as_ref().map(|it| it.facts_waiting),
            lost: health.as_ref().map(|it| it.losses),
            skipped: health.as_ref().map(|it| it.skipped),
            taps: health.map(|it| it.taps).unwrap_or_default(),
            verdicts: gateway.verdicts,
            muted: gateway.muted,
            doubt: gateway.doubt,
        }
    }

    fn row(&self, now: Timestamp) -> [String; 10] {
        let number = |number: Option<u64>| number.map_or_else(String::new, |it| it.to_string());
        [
            self.name.clone(),
            self.state.to_owned(),
            self.seen.map_or_else(
                || "never".to_owned(),
                |seen| format!("{} s ago", now.duration_since(seen).as_secs().max(0)),
            ),
            self.version.clone().unwrap_or_default(),
            self.lag_ms
                .map_or_else(String::new, |it| format!("{it} ms")),
            number(self.waiting),
            number(self.lost),
            number(self.skipped),
            self.verdicts.to_string(),
            self.doubt
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
        ]
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn gateway(health: Option<&Health>, muted: bool) -> Gateway {
        Gateway {
            name: "gw1".to_owned(),
            seen: Timestamp::UNIX_EPOCH,
            health: serde_json::to_value(health).unwrap(),
            verdicts: 7,
            doubt: Some(Doubt::TooMany { per_second: 60_000 }),
            muted,
        }
    }

    #[test]
    fn a_gateway_is_shown_with_its_state() {
        let health = Health {
            lag_ms: 12,
            losses: 3,
            ..Health::new(Timestamp::UNIX_EPOCH, 1, "clear".to_owned())
        };
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(5);
        let row = Line::of(gateway(Some(&health), false), now).row(now);
        assert_eq!(&row[..3], ["gw1", "runs", "5 s ago"]);
        assert_eq!(&row[4..9], ["12 ms", "0", "3", "0", "7"]);
        assert!(row[9].starts_with("60000 facts a second"), "{}", row[9]);
        // The gateway's own clock says nothing.
        let health = Health {
            time: Timestamp::MAX,
            ..health
        };
        let state = |health, muted, seconds| {
            let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
            Line::of(gateway(health, muted), now).state
        };
        assert_eq!(state(Some(&health), false, 60), "silent");
        assert_eq!(state(Some(&health), true, 5), "muted");
        assert_eq!(state(None, false, 5), "unknown");
        let ended = Health {
            ended: true,
            ..health.clone()
        };
        assert_eq!(state(Some(&ended), false, 5), "ended");
    }
}
