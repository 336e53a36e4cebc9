-- Brings a file to the tables of sql/schema/tables.sql, which SQLite and PostgreSQL share.

-- Code counts since then, so that both count the same.
DROP TRIGGER run_was_queued;
DROP TRIGGER run_left_or_joined_queue;
DROP TRIGGER run_ended;
DROP VIEW run_durations;
DROP TABLE duration_bounds;

ALTER TABLE ledger ADD COLUMN synced_run TEXT;
UPDATE ledger SET synced_run = synced ->> 'runId' WHERE synced IS NOT NULL;

-- A file serves one machine, so its runs need no tool in particular, and their home is always here.
ALTER TABLE runs ADD COLUMN needs TEXT NOT NULL DEFAULT '[]';
ALTER TABLE runs ADD COLUMN home TEXT;
ALTER TABLE runs ADD COLUMN home_ms INTEGER;
ALTER TABLE runs ADD COLUMN home_until INTEGER;
UPDATE runs SET needs = labels WHERE labels <> '[]';

DROP INDEX runs_queued;
CREATE INDEX runs_queued ON runs (concurrency_group, needs, priority DESC, number) WHERE state = 'queued';
CREATE INDEX runs_with_home ON runs (concurrency_group) WHERE state = 'queued' AND home IS NOT NULL;

DROP INDEX claimable_by_kind;
ALTER TABLE claimable RENAME COLUMN labels TO needs;
ALTER TABLE claimable ADD COLUMN home TEXT;
ALTER TABLE claimable ADD COLUMN home_until INTEGER;
CREATE INDEX claimable_by_kind ON claimable (kind, needs, priority DESC, number);

CREATE TABLE workers (owner TEXT PRIMARY KEY, sign TEXT NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE roles (
  name TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
