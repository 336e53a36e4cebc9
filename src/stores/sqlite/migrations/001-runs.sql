-- Runs with their lease, the event log they are projected from, the ledger, and what reporters have told.
CREATE TABLE runs (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT,
  message TEXT NOT NULL,
  concurrency_group TEXT NOT NULL,
  coalesce INTEGER NOT NULL,
  dedupe_key TEXT,
  "trigger" TEXT NOT NULL,
  input TEXT NOT NULL,
  revision TEXT,
  subject TEXT,
  attempt INTEGER NOT NULL,
  chosen INTEGER NOT NULL,
  cancel_requested_by TEXT,
  covered_by TEXT,
  created_at INTEGER NOT NULL,
  started_at INTEGER,
  finished_at INTEGER,
  next_seq INTEGER NOT NULL,
  lease_owner TEXT,
  lease_token INTEGER,
  lease_expires_at INTEGER
) STRICT;

CREATE INDEX runs_queued ON runs (concurrency_group, number) WHERE state = 'queued';
CREATE INDEX runs_held ON runs (concurrency_group) WHERE state IN ('running', 'awaiting_approval');
CREATE INDEX runs_by_dedupe_key ON runs (dedupe_key, number) WHERE dedupe_key IS NOT NULL;
CREATE INDEX runs_by_state ON runs (state, number);

-- One row per event; a step.log row holds a chunk of lines and the sequence number of its first.
CREATE TABLE events (
  run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  type TEXT NOT NULL,
  data TEXT NOT NULL,
  PRIMARY KEY (run, seq)
) STRICT;

CREATE INDEX events_by_type ON events (run, type, seq) WHERE type <> 'step.log';

CREATE TABLE steps (
  run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  id TEXT NOT NULL,
  position INTEGER NOT NULL,
  wave INTEGER NOT NULL,
  state TEXT NOT NULL,
  message TEXT NOT NULL,
  exit_code INTEGER,
  started_at INTEGER,
  finished_at INTEGER,
  PRIMARY KEY (run, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger (
  scope TEXT NOT NULL,
  service TEXT NOT NULL,
  folder TEXT NOT NULL,
  attempted_commit TEXT NOT NULL,
  attempted_run TEXT NOT NULL,
  outcome TEXT NOT NULL,
  synced TEXT,
  PRIMARY KEY (scope, service)
) STRICT, WITHOUT ROWID;

CREATE TABLE baselines (
  scope TEXT PRIMARY KEY,
  commit_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The newest commit of a branch that a push's sync was brought to its end for.
CREATE TABLE examined (
  scope TEXT PRIMARY KEY,
  commit_id TEXT NOT NULL,
  run TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A row for each run and reporter as long as there may be something left to tell.
CREATE TABLE unreported (
  reporter TEXT NOT NULL,
  run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  PRIMARY KEY (reporter, run)
) STRICT, WITHOUT ROWID;

CREATE TABLE reports (
  reporter TEXT NOT NULL,
  run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  target TEXT NOT NULL,
  told TEXT,
  settled INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  not_before INTEGER NOT NULL,
  problem TEXT,
  PRIMARY KEY (reporter, run, target)
) STRICT, WITHOUT ROWID;

-- Random keys made once, and counters such as the last fencing token.
CREATE TABLE keys (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Nonces of signed requests, until their time window has passed.
CREATE TABLE nonces (nonce TEXT PRIMARY KEY, expires_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
