-- An account's own file (docs/store.md).  Every row carries its account, so that the same statements serve a database
-- that holds many.  Times are seconds since the epoch, sizes octets.  Internal ids come from account_state.next_id.

CREATE TABLE account_state (
    account_id        INTEGER PRIMARY KEY,
    generation        INTEGER NOT NULL,           -- a write under an older one is refused
    incarnation       TEXT    NOT NULL,           -- differs from the directory's after a restore
    modseq            INTEGER NOT NULL,
    next_id           INTEGER NOT NULL,
    next_uidvalidity  INTEGER NOT NULL,
    changes_floor     INTEGER NOT NULL DEFAULT 0, -- what was marked at or below this may be gone for good
    messages          INTEGER NOT NULL DEFAULT 0, -- living entries of living mailboxes
    bytes             INTEGER NOT NULL DEFAULT 0,
    undelete_messages INTEGER NOT NULL DEFAULT 0, -- marked entries, and all of marked mailboxes
    undelete_bytes    INTEGER NOT NULL DEFAULT 0,
    quota_messages    INTEGER NOT NULL DEFAULT 0, -- 0: without bound
    quota_bytes       INTEGER NOT NULL DEFAULT 0,
    secure_delete     INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE mailbox (
    id             INTEGER PRIMARY KEY,
    account_id     INTEGER NOT NULL,
    public_id      TEXT    NOT NULL,
    parent_id      INTEGER NOT NULL,              -- 0: at the root
    name           TEXT    NOT NULL,              -- the leaf, NFC
    role           TEXT    NOT NULL DEFAULT '',
    selectable     INTEGER NOT NULL DEFAULT 1,    -- 0: a name that only holds children
    uidvalidity    INTEGER NOT NULL,
    uidnext        INTEGER NOT NULL DEFAULT 1,
    recent_from    INTEGER NOT NULL DEFAULT 1,
    created_modseq INTEGER NOT NULL,
    changed_modseq INTEGER NOT NULL,              -- of name, place, role
    counts_modseq  INTEGER NOT NULL,              -- of the counters below
    highest_modseq INTEGER NOT NULL,              -- of any entry
    deleted_modseq INTEGER,
    deleted_at     INTEGER,
    expunged_floor INTEGER NOT NULL DEFAULT 0,    -- entries expunged at or below this may be gone for good
    messages       INTEGER NOT NULL DEFAULT 0,
    unseen         INTEGER NOT NULL DEFAULT 0,
    deleted        INTEGER NOT NULL DEFAULT 0,    -- with \Deleted (RFC 9208 5.1.1 DELETED, DELETED-STORAGE)
    bytes          INTEGER NOT NULL DEFAULT 0,
    deleted_bytes  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX mailbox_name ON mailbox (account_id, parent_id, name) WHERE deleted_modseq IS NULL;
CREATE UNIQUE INDEX mailbox_role ON mailbox (account_id, role) WHERE deleted_modseq IS NULL AND role <> '';
CREATE INDEX mailbox_deleted ON mailbox (account_id, deleted_at) WHERE deleted_modseq IS NOT NULL;

CREATE TABLE subscription (
    account_id INTEGER NOT NULL,
    name       TEXT    NOT NULL,                  -- the full path: it outlives its mailbox
    PRIMARY KEY (account_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE blob (
    id         INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    size       INTEGER NOT NULL,                  -- of the message, before any encoding
    sha256     BLOB    NOT NULL,
    place      TEXT    NOT NULL,                  -- a file name in blobs/; '' where `bytes` has it
    encoding   TEXT    NOT NULL DEFAULT 'raw',    -- raw, zstd, sealed
    key        BLOB,                              -- wrapped, where sealed
    expires    INTEGER,                           -- an upload that no message took
    uses       INTEGER NOT NULL DEFAULT 1,        -- messages that have it; at 0 it goes
    bytes      BLOB                               -- of a small one; last, so that the others are read without it
) STRICT;
CREATE INDEX blob_place ON blob (account_id, place) WHERE place <> '';

CREATE TABLE thread (
    id         INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    public_id  TEXT    NOT NULL
) STRICT;

CREATE TABLE message (
    id               INTEGER PRIMARY KEY,
    account_id       INTEGER NOT NULL,
    blob_id          INTEGER NOT NULL,
    thread_id        INTEGER NOT NULL REFERENCES thread (id),
    email_id         TEXT    NOT NULL,
    size             INTEGER NOT NULL,            -- prefix and blob
    internal_date    INTEGER NOT NULL,
    sent_date        INTEGER NOT NULL,
    created_modseq   INTEGER NOT NULL,
    changed_modseq   INTEGER NOT NULL,
    parsed_by        INTEGER NOT NULL,
    needs_utf8       INTEGER NOT NULL,
    prefix           BLOB    NOT NULL,            -- what receipt added
    envelope         BLOB    NOT NULL,
    bodystructure    BLOB    NOT NULL,
    parts            BLOB    NOT NULL,
    message_id_hash  INTEGER,
    reference_hashes BLOB    NOT NULL,            -- 8 octets each
    base_subject     TEXT    NOT NULL,
    from_folded      TEXT    NOT NULL,
    to_folded        TEXT    NOT NULL,
    cc_folded        TEXT    NOT NULL,
    preview          TEXT    NOT NULL
) STRICT;
CREATE INDEX message_thread ON message (thread_id, account_id);

CREATE TABLE header (
    message_id INTEGER PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    account_id INTEGER NOT NULL,
    bytes      BLOB    NOT NULL                   -- prefix and the message's own, with the empty line
) STRICT;

-- When a message is destroyed is not kept: it is when its last entry was expunged or that one's mailbox deleted.
CREATE TABLE entry (
    account_id      INTEGER NOT NULL,
    mailbox_id      INTEGER NOT NULL,
    uid             INTEGER NOT NULL,
    message_id      INTEGER NOT NULL REFERENCES message (id),
    flags           INTEGER NOT NULL,
    keywords        TEXT    NOT NULL,             -- names joined by single spaces, sorted
    size            INTEGER NOT NULL,             -- as the message's, so that a listing reads no more than this row
    changed_modseq  INTEGER NOT NULL,
    created_modseq  INTEGER NOT NULL,
    savedate        INTEGER NOT NULL,
    uidl            TEXT    NOT NULL,
    expunged_modseq INTEGER,
    expunged_at     INTEGER,
    PRIMARY KEY (account_id, mailbox_id, uid)
) STRICT, WITHOUT ROWID;
-- No index of the living alone: measured, it is read at half the speed of the table itself.
CREATE INDEX entry_changed ON entry (account_id, mailbox_id, changed_modseq) WHERE expunged_modseq IS NULL;
CREATE INDEX entry_expunged ON entry (account_id, mailbox_id, expunged_modseq) WHERE expunged_modseq IS NOT NULL;
CREATE INDEX entry_marked ON entry (account_id, expunged_at) WHERE expunged_modseq IS NOT NULL;
CREATE INDEX entry_message ON entry (message_id, account_id);

CREATE TABLE keyword (
    account_id INTEGER NOT NULL,
    folded     TEXT    NOT NULL,
    id         INTEGER NOT NULL,
    name       TEXT    NOT NULL,                  -- in the spelling first used
    PRIMARY KEY (account_id, folded)
) STRICT, WITHOUT ROWID;

-- Which thread a Message-ID belongs to, under each base subject it was seen with (RFC 8621 3).  Hashes of 64 bits.
CREATE TABLE reference (
    account_id INTEGER NOT NULL,
    hash       INTEGER NOT NULL,
    subject    INTEGER NOT NULL,
    thread_id  INTEGER NOT NULL,
    PRIMARY KEY (account_id, hash, subject)
) STRICT, WITHOUT ROWID;

-- A hand-over that has happened, with its answer, so that repeating it is harmless.
CREATE TABLE delivered (
    account_id  INTEGER NOT NULL,
    id          TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    mailbox_id  INTEGER NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uid         INTEGER NOT NULL,
    email_id    TEXT    NOT NULL,
    modseq      INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivered_at ON delivered (account_id, at);

-- Which credential has fetched which UIDL by POP3.
CREATE TABLE fetched (
    account_id INTEGER NOT NULL,
    uidl       TEXT    NOT NULL,
    credential INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (account_id, uidl, credential)
) STRICT, WITHOUT ROWID;

CREATE TABLE searchtext (
    message_id INTEGER PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    account_id INTEGER NOT NULL,
    chunk_id   INTEGER,                           -- the sealed chunk that has it; then bytes is NULL
    bytes      BLOB
) STRICT;

CREATE TABLE searchchunk (
    id         INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    bytes      BLOB    NOT NULL
) STRICT;

CREATE TABLE acl (
    account_id INTEGER NOT NULL,
    mailbox_id INTEGER NOT NULL REFERENCES mailbox (id) ON DELETE CASCADE,
    identifier TEXT    NOT NULL,
    rights     TEXT    NOT NULL,
    PRIMARY KEY (mailbox_id, account_id, identifier)
) STRICT, WITHOUT ROWID;

-- \Seen of a reader other than the owner (RFC 4314 4).
CREATE TABLE seen (
    account_id INTEGER NOT NULL,
    mailbox_id INTEGER NOT NULL REFERENCES mailbox (id) ON DELETE CASCADE,
    uid        INTEGER NOT NULL,
    reader     TEXT    NOT NULL,
    modseq     INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, account_id, uid, reader)
) STRICT, WITHOUT ROWID;

CREATE TABLE annotation (
    account_id INTEGER NOT NULL,
    mailbox_id INTEGER NOT NULL,                  -- 0: of the account (RFC 5464)
    uid        INTEGER NOT NULL,                  -- 0: of the mailbox
    name       TEXT    NOT NULL,
    reader     TEXT    NOT NULL,                  -- '' where shared
    value      BLOB    NOT NULL,
    modseq     INTEGER NOT NULL,
    PRIMARY KEY (account_id, mailbox_id, uid, name, reader)
) STRICT, WITHOUT ROWID;
