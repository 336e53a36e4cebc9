-- What a deployment that waits is applied from where its folder is gone: apart from its credentials, as it is large.

CREATE TABLE kept_plans (
  run INTEGER PRIMARY KEY REFERENCES runs (number) ON DELETE CASCADE,
  text TEXT NOT NULL
) STRICT;
