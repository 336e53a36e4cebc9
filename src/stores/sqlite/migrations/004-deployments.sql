-- What deployments need: priorities, labels, approvals, and credentials sealed until their run ends.

ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN labels TEXT NOT NULL DEFAULT '[]';
ALTER TABLE runs ADD COLUMN approval_expires_at INTEGER;

DROP INDEX runs_queued;
CREATE INDEX runs_queued ON runs (concurrency_group, priority DESC, number) WHERE state = 'queued';
CREATE INDEX runs_by_group ON runs (concurrency_group, number);

-- Sealed by a key that is not in this file.
CREATE TABLE sealed (
  run INTEGER PRIMARY KEY REFERENCES runs (number) ON DELETE CASCADE,
  text TEXT NOT NULL
) STRICT;
