-- Holds, and the runs that wait for their end. From this file on, PostgreSQL is brought forward by the same files.

CREATE TABLE holds (
  id TEXT PRIMARY KEY,
  repository TEXT,
  environment TEXT,
  services TEXT,
  reason TEXT NOT NULL,
  set_by TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  ends_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX holds_by_end ON holds (ends_at) WHERE ends_at IS NOT NULL;

CREATE TABLE held_runs (
  hold TEXT NOT NULL REFERENCES holds (id) ON DELETE CASCADE,
  run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  services TEXT NOT NULL,
  PRIMARY KEY (hold, run)
) STRICT, WITHOUT ROWID;

CREATE INDEX held_runs_by_run ON held_runs (run);
