//! Captures and tables of the scenarios played.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;

use super::play::Played;
use super::scenarios::{Scenario, version_name};
use crate::capture::{Capture, pcapng};
use crate::labels::{COLUMNS, INTERCEPTOR_LOGS, LABELS, Label};
use crate::network::Interceptor;

/// Writes each scenario's capture, and the tables of labels and logs.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn write(folder: &Path, played: &[Played]) -> anyhow::Result<()> {
    let mut table = COLUMNS.join("\t") + "\n";
    let mut logs = "file\tinterceptor\tlog\n".to_owned();
    for it in played {
        let file = if it.scenario.both {
            let file = format!("{}.pcapng", it.scenario.name);
            pcapng::write(&folder.join(&file), &["lan0", "wan0"], &it.frames)?;
            file
        } else {
            let file = format!("{}.pcap", it.scenario.name);
            let frames = it.frames.iter().map(|(_, frame)| frame.clone()).collect();
            std::fs::write(folder.join(&file), Capture::ethernet(frames).to_bytes())
                .with_context(|| format!("cannot write {file}"))?;
            file
        };
        table.push_str(&label(&it.scenario, &it.version).line(&file));
        table.push('\n');
        for line in &it.log {
            let line = line.replace('\t', " ");
            let _ = writeln!(logs, "{file}\t{}\t{line}", it.scenario.interceptor.name());
        }
    }
    for (name, text) in [(LABELS, table), (INTERCEPTOR_LOGS, logs)] {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn label(scenario: &Scenario, version: &str) -> Label {
    Label {
        cause: scenario.cause.to_owned(),
        intercepted: match scenario.interceptor {
            Interceptor::None => "no",
            _ => "yes",
        }
        .to_owned(),
        ended_by: scenario.ended_by.to_owned(),
        client: scenario.client.to_owned(),
        client_version: version.to_owned(),
        interceptor: scenario.interceptor.name().to_owned(),
        tls_version: version_name(scenario.version).to_owned(),
        stage: if scenario.both { "both" } else { "client" }.to_owned(),
        group: scenario.group.clone(),
        inspection_ca: String::new(),
        note: scenario.note.to_owned(),
    }
}
