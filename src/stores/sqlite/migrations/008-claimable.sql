-- The runs that a worker may take next, so that a claim costs the same however many groups wait.

-- For each group that nobody works on, its first queued run of each set of labels; none that is put off.
CREATE TABLE claimable (
  number INTEGER PRIMARY KEY REFERENCES runs (number) ON DELETE CASCADE,
  concurrency_group TEXT NOT NULL,
  kind TEXT NOT NULL,
  labels TEXT NOT NULL,
  priority INTEGER NOT NULL,
  UNIQUE (concurrency_group, labels)
) STRICT;

CREATE INDEX claimable_by_kind ON claimable (kind, labels, priority DESC, number);

DROP INDEX runs_queued;
CREATE INDEX runs_queued ON runs (concurrency_group, labels, priority DESC, number) WHERE state = 'queued';
CREATE INDEX runs_put_off ON runs (not_before) WHERE state = 'queued' AND not_before > 0;

INSERT INTO claimable (number, concurrency_group, kind, labels, priority)
SELECT number, concurrency_group, kind, labels, priority FROM (
  SELECT *, row_number() OVER (PARTITION BY concurrency_group, labels ORDER BY priority DESC, number) AS place
  FROM runs WHERE state = 'queued' AND not_before = 0
) AS queued
WHERE place = 1 AND NOT EXISTS (
  SELECT 1 FROM runs
  WHERE state IN ('running', 'awaiting_approval') AND concurrency_group = queued.concurrency_group);
