-- How many runs ended, how, and how long they took, so that metrics never count backwards when old runs are deleted.

-- `up_to_s`: seconds that none of these took longer than; 0 when there is no such bound.
CREATE TABLE run_endings (
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  up_to_s INTEGER NOT NULL,
  runs INTEGER NOT NULL,
  duration_ms INTEGER NOT NULL,
  PRIMARY KEY (kind, state, up_to_s)
) STRICT, WITHOUT ROWID;

CREATE TABLE duration_bounds (up_to_s INTEGER PRIMARY KEY) STRICT;
INSERT INTO duration_bounds (up_to_s)
VALUES (5), (15), (30), (60), (120), (300), (600), (1800), (3600), (10800), (43200), (86400);

CREATE VIEW run_durations AS
SELECT number, kind, state, duration_ms,
  coalesce((SELECT min(up_to_s) FROM duration_bounds WHERE up_to_s * 1000 >= duration_ms), 0) AS up_to_s
FROM (
  SELECT number, kind, state, max(0, finished_at - coalesce(started_at, created_at)) AS duration_ms
  FROM runs WHERE finished_at IS NOT NULL
);

INSERT INTO run_endings (kind, state, up_to_s, runs, duration_ms)
SELECT kind, state, up_to_s, count(*), sum(duration_ms) FROM run_durations GROUP BY kind, state, up_to_s;

CREATE TRIGGER run_ended AFTER UPDATE OF finished_at ON runs
WHEN old.finished_at IS NULL AND new.finished_at IS NOT NULL
BEGIN
  INSERT INTO run_endings (kind, state, up_to_s, runs, duration_ms)
  SELECT kind, state, up_to_s, 1, duration_ms FROM run_durations WHERE number = new.number
  ON CONFLICT (kind, state, up_to_s) DO UPDATE SET
    runs = runs + 1, duration_ms = duration_ms + excluded.duration_ms;
END;
