//! Tables of a fleet beside those of one agent.

use rusqlite::Connection;

/// Groups, causes and the superseding of verdicts are derived from these and from the verdicts.
const TABLES: &str = "
CREATE TABLE parties (
    number INTEGER PRIMARY KEY,
    client BLOB NOT NULL,
    app TEXT NOT NULL,
    name TEXT NOT NULL,
    intercepted TEXT NOT NULL,
    issuer TEXT NOT NULL,
    UNIQUE (client, app, name, intercepted, issuer)
);
CREATE TABLE facts (
    group_number INTEGER NOT NULL,
    gateway TEXT NOT NULL,
    app TEXT NOT NULL,
    outcome TEXT NOT NULL,
    connections INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    UNIQUE (group_number, gateway, app, outcome)
);
CREATE INDEX facts_by_last ON facts (last_ns);
CREATE INDEX facts_by_gateway ON facts (gateway);
ALTER TABLE verdicts ADD COLUMN gateway TEXT NOT NULL DEFAULT '';
ALTER TABLE verdicts ADD COLUMN supersedes TEXT;
CREATE INDEX verdicts_by_supersedes ON verdicts (supersedes) WHERE supersedes IS NOT NULL;
CREATE INDEX verdicts_by_gateway ON verdicts (gateway);
CREATE TABLE gateways (
    name TEXT PRIMARY KEY,
    seen_ns INTEGER NOT NULL,
    health TEXT NOT NULL,
    doubt TEXT
);
CREATE TABLE muted (name TEXT PRIMARY KEY);
CREATE TABLE places (stream TEXT PRIMARY KEY, created TEXT NOT NULL, sequence INTEGER NOT NULL);
";

/// Adds the tables to a database, unless they are there.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    if !is_of_fleet(connection)? {
        connection.execute_batch(&format!("BEGIN; {TABLES} COMMIT;"))?;
    }
    Ok(())
}

/// Whether a database has the verdicts of a fleet.
pub(in crate::outlet::database) fn is_of_fleet(connection: &Connection) -> rusqlite::Result<bool> {
    let mut found =
        connection.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'gateways'")?;
    found.exists([])
}
