-- What people did by a page or by the API, the refused included.

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
