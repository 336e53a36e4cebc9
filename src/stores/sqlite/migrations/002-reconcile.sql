-- What reconcile, rollback and the inbox need.

-- Starts since the last success with the same inputs: the next automatic retry waits longer each time.
ALTER TABLE ledger ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN attempted_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN attempted_inputs TEXT NOT NULL DEFAULT '';

-- Services rolled back by hand; pushes leave them alone.
CREATE TABLE pins (
  scope TEXT NOT NULL,
  service TEXT NOT NULL,
  commit_id TEXT NOT NULL,
  run TEXT NOT NULL,
  PRIMARY KEY (scope, service)
) STRICT, WITHOUT ROWID;

-- A queued run is not claimed before this time.
ALTER TABLE runs ADD COLUMN not_before INTEGER NOT NULL DEFAULT 0;

-- Every delivery with its decision. `request` is what it asked for, kept to replay it.
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

-- The text of each branch's last good rules file.
CREATE TABLE rules (scope TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE INDEX runs_by_cover ON runs (covered_by) WHERE covered_by IS NOT NULL;

-- What is remembered of each service's config hash in Dokploy: what we left there, and what was last seen.
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
