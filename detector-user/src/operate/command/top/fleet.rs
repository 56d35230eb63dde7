//! Failing groups of a fleet, as its database has them.

use std::collections::HashMap;
use std::path::Path;

use jiff::Timestamp;

use crate::outlet::database::{DatabaseError, Group, Past, Query};
use crate::outlet::recent_groups::{RecentGroup, WINDOW};
use crate::outlet::status::{LastVerdict, Report};
use crate::verdict::{Verdict, written_confidence};

/// Maximum verdicts that rates are made of; the latest.
const VERDICTS_MAX: usize = 20_000;
/// Verdicts that are shown one by one.
const LATEST: usize = 20;

/// Returns a report on all gateways, and their number.
///
/// # Errors
/// The database cannot be read.
pub(super) fn report(
    database: &Path,
    now: Timestamp,
    groups_max: usize,
) -> Result<(Report, usize), DatabaseError> {
    let past = Past::open(database)?;
    let recent = past.verdicts(&Query {
        since: now.checked_sub(WINDOW).ok(),
        limit: VERDICTS_MAX,
        ..Query::default()
    })?;
    let mut failures: HashMap<_, u32> = HashMap::new();
    for stored in &recent {
        *failures.entry(key(&stored.verdict)).or_default() += 1;
    }
    let groups = past.groups(&Query {
        limit: groups_max,
        ..Query::default()
    })?;
    let minutes = WINDOW.as_secs_f64() / 60.0;
    let groups = groups.into_iter().map(|group| {
        let key = (group.client, group.app.clone(), group.name.clone());
        let failed = failures.get(&key).copied().unwrap_or_default();
        shown(group, f64::from(failed) / minutes)
    });
    let mut groups: Vec<_> = groups.collect();
    groups.sort_by(|a, b| b.per_minute.total_cmp(&a.per_minute));
    let latest = recent.iter().rev().take(LATEST);
    let report = Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: now,
        groups,
        last_verdicts: latest.map(|it| LastVerdict::from(&it.verdict)).collect(),
        ..Report::default()
    };
    Ok((report, past.gateways()?.len()))
}

fn key(verdict: &Verdict) -> (std::net::IpAddr, Option<String>, String) {
    let name = verdict.server_name().map(str::to_ascii_lowercase);
    let name = name.unwrap_or_else(|| verdict.server.ip.to_string());
    (verdict.client.ip, verdict.ja4.clone(), name)
}

/// Returns a group with its gateways in place of a tap.
fn shown(group: Group, per_minute: f64) -> RecentGroup {
    let cause = group.causes.first();
    RecentGroup {
        client: group.client,
        tap: group.gateways.join(" "),
        cause: cause.map_or_else(String::new, |it| it.cause.name().to_owned()),
        confidence: cause.map_or(0.0, |it| written_confidence(it.confidence)),
        intercepted: group.intercepted.name().to_owned(),
        issuer: group.issuer,
        advice: group.advice,
        failed: group.failed,
        worked: group.worked,
        per_minute,
        first: group.first,
        last: group.last,
        broken_since: None,
        app: group.app,
        name: group.name,
    }
}

#[cfg(test)]
mod tests {
    use crate::outlet::database::{FLEET_FILE, FleetWriter};
    use crate::verdict::tests::pinning;

    #[test]
    fn groups_of_all_gateways_have_their_rates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FLEET_FILE);
        let (mut writer, _) = FleetWriter::open(&path).unwrap();
        let mut verdict = pinning();
        for (port, gateway) in [(1, "gw1"), (2, "gw1"), (3, "gw2")] {
            verdict.client.port = port;
            verdict.community_id = format!("1:{port}");
            verdict.set_revision(0);
            writer.insert(gateway, &verdict).unwrap();
        }
        writer.commit().unwrap();
        let now = verdict.time + jiff::SignedDuration::from_secs(60);
        let (report, gateways) = super::report(&path, now, 10).unwrap();
        assert_eq!(gateways, 2);
        let [group] = report.groups.as_slice() else {
            panic!("{:?}", report.groups);
        };
        assert_eq!((group.failed, group.tap.as_str()), (3, "gw1 gw2"));
        assert!((group.per_minute - 0.3).abs() < 1e-9);
        assert_eq!(report.last_verdicts.len(), 3);
    }
}
