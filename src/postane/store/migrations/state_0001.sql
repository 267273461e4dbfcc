-- What may be forgotten: nothing here is backed up, and a server that loses it only learns it anew.

CREATE TABLE tls_memory (
    domain TEXT PRIMARY KEY,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
