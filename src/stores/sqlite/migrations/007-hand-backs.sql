-- How many times a server that was stopped cut off a run's work: a run that stops its server would go round for ever.

ALTER TABLE runs ADD COLUMN hand_backs INTEGER NOT NULL DEFAULT 0;
