-- A run that awaits an approval before its first start holds nothing.

DROP INDEX runs_held;
CREATE INDEX runs_held ON runs (concurrency_group) WHERE state IN ('running', 'awaiting_approval') AND attempt > 0;
CREATE INDEX runs_unapproved ON runs (concurrency_group) WHERE state = 'awaiting_approval' AND attempt = 0;
