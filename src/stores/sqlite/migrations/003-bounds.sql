-- What retention, the limit of the queue and the search for missed deliveries need.

CREATE INDEX runs_by_end ON runs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX deliveries_by_time ON deliveries (received_at);
CREATE INDEX deliveries_by_id ON deliveries (delivery_id) WHERE delivery_id IS NOT NULL;

-- A run takes these rows with it.
CREATE INDEX unreported_by_run ON unreported (run);
CREATE INDEX reports_by_run ON reports (run);

-- How many runs are queued, so that the limit of the queue costs each request the same, however long it is.
INSERT INTO counters (name, value) SELECT 'queued_runs', count(*) FROM runs WHERE state = 'queued';

CREATE TRIGGER run_was_queued AFTER INSERT ON runs WHEN new.state = 'queued'
BEGIN
  UPDATE counters SET value = value + 1 WHERE name = 'queued_runs';
END;

CREATE TRIGGER run_left_or_joined_queue AFTER UPDATE OF state ON runs
WHEN (old.state = 'queued') <> (new.state = 'queued')
BEGIN
  UPDATE counters SET value = value + iif(new.state = 'queued', 1, -1) WHERE name = 'queued_runs';
END;
