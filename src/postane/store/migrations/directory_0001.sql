-- The directory: who there is.  One counter gives every id, and none is given twice (STORE.md rule 2).

CREATE TABLE directory_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    last_id INTEGER NOT NULL
) STRICT;

INSERT INTO directory_state (id, version, last_id) VALUES (1, 0, 0);

CREATE TABLE domain (
    id INTEGER PRIMARY KEY,
    tenant_id INTEGER NOT NULL DEFAULT 0,
    name TEXT NOT NULL UNIQUE,
    plaintext_login INTEGER CHECK (plaintext_login IN (0, 1)),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    tenant_id INTEGER NOT NULL DEFAULT 0,
    public_id TEXT NOT NULL UNIQUE,
    node TEXT NOT NULL DEFAULT '',
    generation INTEGER NOT NULL DEFAULT 1,
    incarnation TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL CHECK (state IN ('active', 'disabled', 'moving', 'frozen')),
    version INTEGER NOT NULL,
    display_name TEXT NOT NULL,
    quota_bytes INTEGER NOT NULL,
    quota_messages INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Every address here, once: an account's, or (account_id is NULL) an alias's; '@domain' is a catch-all.
CREATE TABLE address (
    key TEXT PRIMARY KEY,
    domain_id INTEGER NOT NULL REFERENCES domain (id),
    account_id INTEGER UNIQUE REFERENCES account (id)
) STRICT, WITHOUT ROWID;

CREATE INDEX address_by_domain ON address (domain_id, account_id);

CREATE TABLE alias_target (
    address TEXT NOT NULL REFERENCES address (key) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    target TEXT NOT NULL,
    PRIMARY KEY (address, position)
) STRICT, WITHOUT ROWID;

-- kind 'password' is the account's own; later kinds ('app') have a name and may end.
CREATE TABLE credential (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL DEFAULT '',
    verifier TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;

CREATE INDEX credential_by_account ON credential (account_id);

CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
