//! Groups and their causes, as they follow from verdicts and counts.

use rusqlite::{Connection, params};

const STANDING: &str = "
    SELECT cause, confidence, time_ns, id FROM verdicts
    WHERE group_number = ?1 AND superseded_by IS NULL AND gateway NOT IN (SELECT name FROM muted)";
const WORKED: &str = "
    SELECT connections, last_ns FROM facts
    WHERE group_number = ?1 AND outcome = 'accepted' AND gateway NOT IN (SELECT name FROM muted)";

/// Writes a group's row and its causes again.
pub(super) fn derive(connection: &Connection, group: i64) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO groups (number, client, app, name, intercepted, issuer, failed, worked, first_ns, last_ns)
         SELECT ?1, client, app, name, intercepted, issuer,
            (SELECT count(*) FROM ({STANDING})),
            (SELECT coalesce(sum(connections), 0) FROM ({WORKED})),
            (SELECT coalesce(min(ns), 0) FROM
                (SELECT time_ns AS ns FROM ({STANDING}) UNION ALL SELECT last_ns FROM ({WORKED}))),
            (SELECT coalesce(max(ns), 0) FROM
                (SELECT time_ns AS ns FROM ({STANDING}) UNION ALL SELECT last_ns FROM ({WORKED})))
         FROM parties WHERE number = ?1
         ON CONFLICT (number) DO UPDATE SET failed = excluded.failed, worked = excluded.worked,
            first_ns = excluded.first_ns, last_ns = excluded.last_ns"
    );
    connection.prepare_cached(&sql)?.execute([group])?;
    let mut forget = connection.prepare_cached("DELETE FROM causes WHERE group_number = ?1")?;
    forget.execute([group])?;
    let sql = format!(
        "INSERT INTO causes (group_number, cause, failed, confidence, last_ns, verdict)
         SELECT ?1, cause, failed, confidence, time_ns, id FROM (
            SELECT *, count(*) OVER (PARTITION BY cause) AS failed,
                row_number() OVER (PARTITION BY cause ORDER BY time_ns DESC, id DESC) AS place
            FROM ({STANDING}))
         WHERE place = 1"
    );
    connection.prepare_cached(&sql)?.execute([group])?;
    let mut remove = connection
        .prepare_cached("DELETE FROM groups WHERE number = ?1 AND failed = 0 AND worked = 0")?;
    remove.execute(params![group])?;
    Ok(())
}
