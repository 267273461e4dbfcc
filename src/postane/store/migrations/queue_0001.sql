-- The queue: what is on its way, one row a recipient.  One counter gives every id, and none is given twice.

CREATE TABLE queue_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    last_id INTEGER NOT NULL
) STRICT;

INSERT INTO queue_state (id, last_id) VALUES (1, 0);

-- Small bodies are in `bytes`; a larger one is the file `blobs/<blob>`.
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    trace_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    prefix BLOB NOT NULL,
    size INTEGER NOT NULL,
    arrived_at INTEGER NOT NULL,
    utf8 INTEGER NOT NULL CHECK (utf8 IN (0, 1)),
    body TEXT NOT NULL CHECK (body IN ('7BIT', '8BITMIME', 'BINARYMIME')),
    envid TEXT NOT NULL,
    ret TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    blob TEXT NOT NULL,
    bytes BLOB,
    CHECK ((blob = '') = (bytes IS NOT NULL))
) STRICT;

CREATE INDEX message_by_blob ON message (blob) WHERE blob <> '';

-- A recipient that is delivered has no row any more; one that failed stays until someone decides.
-- A lease is a token, and `next_attempt` moved to its end: when nobody reports by then, it is due again.
CREATE TABLE recipient (
    id INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    original TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    notify TEXT NOT NULL,
    orcpt TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt INTEGER NOT NULL,
    last_error TEXT NOT NULL DEFAULT '',
    lease_token TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX recipient_by_message ON recipient (message_id);
CREATE INDEX recipient_due ON recipient (next_attempt) WHERE state = 'waiting';
