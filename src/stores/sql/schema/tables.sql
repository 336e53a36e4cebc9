-- The tables of the store, written for SQLite; stores/postgres/dialect.ts puts the few words that differ into those of
-- PostgreSQL. A new store begins with this file, and an older SQLite file comes to the same by sqlite/migrations/.

-- Runs with their lease. `needs` lists what a machine must have to work on the run, sorted: its labels, and the tool of
-- a deployment as `tool:NAME`. `home` is the machine that has the files of a run that waited for an approval; once the
-- run is approved, the other machines leave it to its home for `home_ms`, until `home_until`.
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
  hand_backs INTEGER NOT NULL DEFAULT 0,
  chosen INTEGER NOT NULL,
  cancel_requested_by TEXT,
  covered_by TEXT,
  created_at INTEGER NOT NULL,
  started_at INTEGER,
  finished_at INTEGER,
  not_before INTEGER NOT NULL DEFAULT 0,
  priority INTEGER NOT NULL DEFAULT 0,
  labels TEXT NOT NULL DEFAULT '[]',
  needs TEXT NOT NULL DEFAULT '[]',
  approval_expires_at INTEGER,
  home TEXT,
  home_ms INTEGER,
  home_until INTEGER,
  next_seq INTEGER NOT NULL,
  lease_owner TEXT,
  lease_token INTEGER,
  lease_expires_at INTEGER
) STRICT;

CREATE INDEX runs_queued ON runs (concurrency_group, needs, priority DESC, number) WHERE state = 'queued';
CREATE INDEX runs_put_off ON runs (not_before) WHERE state = 'queued' AND not_before > 0;
CREATE INDEX runs_with_home ON runs (concurrency_group) WHERE state = 'queued' AND home IS NOT NULL;
CREATE INDEX runs_held ON runs (concurrency_group) WHERE state IN ('running', 'awaiting_approval') AND attempt > 0;
CREATE INDEX runs_unapproved ON runs (concurrency_group) WHERE state = 'awaiting_approval' AND attempt = 0;
CREATE INDEX runs_by_group ON runs (concurrency_group, number);
CREATE INDEX runs_by_state ON runs (state, number);
CREATE INDEX runs_by_dedupe_key ON runs (dedupe_key, number) WHERE dedupe_key IS NOT NULL;
CREATE INDEX runs_by_cover ON runs (covered_by) WHERE covered_by IS NOT NULL;
CREATE INDEX runs_by_end ON runs (finished_at) WHERE finished_at IS NOT NULL;

-- The runs that a worker may take next, so that a claim costs the same however many groups wait: for each group that
-- nobody works on, its first queued run of each list of needs. A run with a home is the only one of its group.
CREATE TABLE claimable (
  number INTEGER PRIMARY KEY REFERENCES runs (number) ON DELETE CASCADE,
  concurrency_group TEXT NOT NULL,
  kind TEXT NOT NULL,
  needs TEXT NOT NULL,
  priority INTEGER NOT NULL,
  home TEXT,
  home_until INTEGER,
  UNIQUE (concurrency_group, needs)
) STRICT;

CREATE INDEX claimable_by_kind ON claimable (kind, needs, priority DESC, number);

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

-- Where each chunk of a log begins: `seq` names its event, and lines count from 1 within the step. With it, a part of a
-- long log is found without the part before it.
CREATE TABLE log_chunks (
  run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  step TEXT NOT NULL,
  first_line INTEGER NOT NULL,
  lines INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (run, step, first_line)
) STRICT, WITHOUT ROWID;

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

-- `attempts` counts the starts since the last success with the same inputs: each automatic retry waits longer.
CREATE TABLE ledger (
  scope TEXT NOT NULL,
  service TEXT NOT NULL,
  folder TEXT NOT NULL,
  attempted_commit TEXT NOT NULL,
  attempted_run TEXT NOT NULL,
  attempted_at INTEGER NOT NULL DEFAULT 0,
  attempted_inputs TEXT NOT NULL DEFAULT '',
  attempts INTEGER NOT NULL DEFAULT 0,
  outcome TEXT NOT NULL,
  synced TEXT,
  synced_run TEXT,
  PRIMARY KEY (scope, service)
) STRICT, WITHOUT ROWID;

CREATE TABLE baselines (scope TEXT PRIMARY KEY, commit_id TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- The newest commit of a branch that a push's sync was brought to its end for.
CREATE TABLE examined (
  scope TEXT PRIMARY KEY,
  commit_id TEXT NOT NULL,
  run TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Services that somebody rolled back; pushes leave them alone.
CREATE TABLE pins (
  scope TEXT NOT NULL,
  service TEXT NOT NULL,
  commit_id TEXT NOT NULL,
  run TEXT NOT NULL,
  PRIMARY KEY (scope, service)
) STRICT, WITHOUT ROWID;

-- Holds that stand. Null stands for every repository, environment or service; `services` is a list.
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

-- The runs that the end of a hold concerns: a queued one waits for it; any other went on without `services`, which are
-- then asked for again.
CREATE TABLE held_runs (
  hold TEXT NOT NULL REFERENCES holds (id) ON DELETE CASCADE,
  run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  services TEXT NOT NULL,
  PRIMARY KEY (hold, run)
) STRICT, WITHOUT ROWID;

CREATE INDEX held_runs_by_run ON held_runs (run);

-- The text of each branch's last good rules file.
CREATE TABLE rules (scope TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- Each service's config hash in Dokploy: the one that we left there, and the one that was last seen.
CREATE TABLE outside_hashes (
  scope TEXT NOT NULL,
  service TEXT NOT NULL,
  written TEXT,
  found TEXT,
  drifted INTEGER NOT NULL,
  owed INTEGER NOT NULL,
  since INTEGER NOT NULL,
  problem TEXT,
  heals INTEGER NOT NULL,
  healed_at INTEGER NOT NULL,
  PRIMARY KEY (scope, service)
) STRICT, WITHOUT ROWID;

-- A row for each run and reporter as long as there may be something left to report.
CREATE TABLE unreported (
  reporter TEXT NOT NULL,
  run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  PRIMARY KEY (reporter, run)
) STRICT, WITHOUT ROWID;

CREATE INDEX unreported_by_run ON unreported (run);

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

CREATE INDEX reports_by_run ON reports (run);

-- Credentials of a run, sealed by a key that is not in the store.
CREATE TABLE sealed (
  run INTEGER PRIMARY KEY REFERENCES runs (number) ON DELETE CASCADE,
  text TEXT NOT NULL
) STRICT;

-- The sealed plan of a deployment that waits. It is used if the folder of the deployment no longer exists.
CREATE TABLE kept_plans (
  run INTEGER PRIMARY KEY REFERENCES runs (number) ON DELETE CASCADE,
  text TEXT NOT NULL
) STRICT;

-- Every delivery with its decision. `request` is the request for a run that it made, kept to replay it.
CREATE TABLE deliveries (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  delivery_id TEXT,
  event TEXT NOT NULL,
  received_at INTEGER NOT NULL,
  decision TEXT NOT NULL,
  detail TEXT NOT NULL,
  run TEXT,
  request TEXT
) STRICT;

CREATE INDEX deliveries_by_decision ON deliveries (decision, number);
CREATE INDEX deliveries_by_time ON deliveries (received_at);
CREATE INDEX deliveries_by_id ON deliveries (delivery_id) WHERE delivery_id IS NOT NULL;

-- What people did by a page or by the API, the refused included. `result` is null from the start of an action to its end.
CREATE TABLE audit (
  id TEXT PRIMARY KEY,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  role TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  address TEXT NOT NULL,
  result TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_by_time ON audit (at);

-- The sign-ins of people, until they end. The id is a digest of the cookie.
CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  method TEXT NOT NULL,
  bound TEXT NOT NULL,
  address TEXT NOT NULL,
  agent TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_end ON sessions (ends_at);

-- How many runs ended, how, and how long they took, so that metrics never count backwards when old runs are deleted.
-- `up_to_s` is the number of seconds that none of these took longer than, or 0 when there is no such bound.
CREATE TABLE run_endings (
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  up_to_s INTEGER NOT NULL,
  runs INTEGER NOT NULL,
  duration_ms INTEGER NOT NULL,
  PRIMARY KEY (kind, state, up_to_s)
) STRICT, WITHOUT ROWID;

-- Random keys made once, and counters such as the last fencing token.
CREATE TABLE keys (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;

INSERT INTO counters (name, value) VALUES ('queued_runs', 0);

-- Nonces of signed requests, until their time window has passed.
CREATE TABLE nonces (nonce TEXT PRIMARY KEY, expires_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- The last sign of life of each process that shares the store, and the duties that only one of them may have at a time.
CREATE TABLE workers (owner TEXT PRIMARY KEY, sign TEXT NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE roles (
  name TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
