-- Mail to other servers: where a recipient is, how urgent, held or not, until when, and what the last server said.
-- A recipient is in the queue until it is delivered, its sender has been told, or someone drops it: none stays failed.

ALTER TABLE message ADD COLUMN expires INTEGER NOT NULL DEFAULT 0;

CREATE TABLE recipient_2 (
    id INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    domain TEXT NOT NULL,
    original TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    notify TEXT NOT NULL,
    orcpt TEXT NOT NULL,
    priority INTEGER NOT NULL DEFAULT 0 CHECK (priority BETWEEN -9 AND 9),
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'held')),
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt INTEGER NOT NULL,
    last_code INTEGER NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT '',
    last_host TEXT NOT NULL DEFAULT '',
    noticed INTEGER NOT NULL DEFAULT 0 CHECK (noticed IN (0, 1)),
    lease_token TEXT NOT NULL DEFAULT ''
) STRICT;

-- The domain is what stands behind the last @: what is left when all characters but that one are trimmed off the end.
INSERT INTO recipient_2 (
    id, message_id, address, domain, original, delivery_id, notify, orcpt, attempts, next_attempt, last_error, lease_token
)
SELECT
    id, message_id, address, substr(address, length(rtrim(address, replace(address, '@', ''))) + 1), original,
    delivery_id, notify, orcpt, attempts, next_attempt, last_error, lease_token
FROM recipient;

DROP TABLE recipient;
ALTER TABLE recipient_2 RENAME TO recipient;

CREATE INDEX recipient_by_message ON recipient (message_id);
-- All that the search for what is due looks at, so that it reads no row that it does not lease.
CREATE INDEX recipient_due ON recipient (priority, next_attempt, domain) WHERE state = 'waiting';
CREATE INDEX message_by_trace ON message (trace_id);
