-- Where each chunk of a log begins. The chunks of older runs are found by their sequence numbers, which have no gaps: an
-- event of a log takes as many of them as it has lines. The name of the step is at the start of the data.

CREATE TABLE log_chunks (
  run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  step TEXT NOT NULL,
  first_line INTEGER NOT NULL,
  lines INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (run, step, first_line)
) STRICT, WITHOUT ROWID;

INSERT INTO log_chunks (run, step, first_line, lines, seq)
SELECT run, step, 1 + sum(lines) OVER (PARTITION BY run, step ORDER BY seq) - lines, lines, seq
FROM (
  SELECT events.run, steps.id AS step, events.seq,
    coalesce(
      (SELECT min(later.seq) FROM events AS later WHERE later.run = events.run AND later.seq > events.seq),
      runs.next_seq
    ) - events.seq AS lines
  FROM events
  JOIN runs ON runs.number = events.run
  JOIN steps ON steps.run = events.run
    AND substr(events.data, 1, length(steps.id) + 11) = '{"step":"' || steps.id || '",'
  WHERE events.type = 'step.log'
) AS chunks;
