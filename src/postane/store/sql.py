"""Every statement of the mail store, once.

Values are `?` in order.  A list is one value: a JSON array of integers or
strings, turned into rows by `json_each`; a driver for another database
translates that and `?`, nothing else.  Each statement names its account.
"""

from __future__ import annotations

# ---------------------------------------------------------------- the account

BEGIN_WRITE = """
UPDATE account_state
SET modseq = modseq + 1, next_id = next_id + ?, messages = messages + ?, bytes = bytes + ?, generation = ?
WHERE account_id = ? AND generation <= ?
RETURNING modseq, next_id, messages, bytes, quota_messages, quota_bytes
"""
TAKE_IDS = "UPDATE account_state SET next_id = next_id + ? WHERE account_id = ? RETURNING next_id"
TAKE_UIDVALIDITY = """
UPDATE account_state SET next_uidvalidity = next_uidvalidity + 1 WHERE account_id = ? RETURNING next_uidvalidity
"""
CHARGE = """
UPDATE account_state SET messages = messages + ?, bytes = bytes + ? WHERE account_id = ?
RETURNING messages, bytes, quota_messages, quota_bytes
"""
MARK_BYTES = """
UPDATE account_state
SET messages = messages - ?, bytes = bytes - ?, undelete_messages = undelete_messages + ?,
    undelete_bytes = undelete_bytes + ?
WHERE account_id = ?
"""
FORGET_BYTES = """
UPDATE account_state
SET undelete_messages = undelete_messages - ?, undelete_bytes = undelete_bytes - ?,
    changes_floor = max(changes_floor, ?)
WHERE account_id = ?
"""
SET_QUOTA = "UPDATE account_state SET quota_messages = ?, quota_bytes = ? WHERE account_id = ?"
FENCE = "UPDATE account_state SET generation = ? WHERE account_id = ?"
INSERT_ACCOUNT = """
INSERT INTO account_state (account_id, generation, incarnation, modseq, next_id, next_uidvalidity)
VALUES (?, ?, ?, 1, 1, ?)
"""
MODSEQ = "SELECT modseq FROM account_state WHERE account_id = ?"
USAGE = """
SELECT bytes, messages, quota_bytes, quota_messages,
    (SELECT count(*) FROM mailbox b WHERE b.account_id = a.account_id AND b.deleted_modseq IS NULL AND b.selectable = 1)
FROM account_state a WHERE account_id = ?
"""

# ---------------------------------------------------------------- mailboxes

_MAILBOX = """
SELECT id, parent_id, name, public_id, role, selectable, uidvalidity, uidnext, messages, unseen, deleted, bytes,
    highest_modseq, recent_from
FROM mailbox
"""
MAILBOXES = _MAILBOX + "WHERE account_id = ? AND deleted_modseq IS NULL"
MAILBOX_BY_NAME = _MAILBOX + "WHERE account_id = ? AND parent_id = ? AND name = ? AND deleted_modseq IS NULL"
MAILBOX_BY_ID = _MAILBOX + "WHERE account_id = ? AND id = ? AND deleted_modseq IS NULL"
MAILBOX_BY_ROLE = """
SELECT id FROM mailbox WHERE account_id = ? AND role = ? AND role <> '' AND deleted_modseq IS NULL
"""
MAILBOX_FLOOR = """
SELECT expunged_floor FROM mailbox WHERE account_id = ? AND id = ? AND deleted_modseq IS NULL AND selectable = 1
"""
MAILBOX_COUNT = "SELECT count(*) FROM mailbox WHERE account_id = ? AND deleted_modseq IS NULL"
HAS_CHILDREN = "SELECT 1 FROM mailbox WHERE account_id = ? AND parent_id = ? AND deleted_modseq IS NULL LIMIT 1"
INSERT_MAILBOX = """
INSERT INTO mailbox (account_id, id, public_id, parent_id, name, role, selectable, uidvalidity,
    created_modseq, changed_modseq, counts_modseq, highest_modseq)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
MAKE_SELECTABLE = """
UPDATE mailbox SET selectable = 1, public_id = ?, role = ?, uidvalidity = ?, created_modseq = ?, changed_modseq = ?
WHERE account_id = ? AND id = ?
"""
MARK_MAILBOX = """
UPDATE mailbox SET deleted_modseq = ?, deleted_at = ? WHERE account_id = ? AND id = ? RETURNING messages, bytes
"""
MOVE_CHILDREN = """
UPDATE mailbox SET parent_id = ?, changed_modseq = ? WHERE account_id = ? AND parent_id = ? AND deleted_modseq IS NULL
"""
MOVE_MAILBOX = "UPDATE mailbox SET parent_id = ?, name = ?, changed_modseq = ? WHERE account_id = ? AND id = ?"
_TAKE_UIDS = """
UPDATE mailbox
SET uidnext = uidnext + ?, messages = messages + ?, unseen = unseen + ?, deleted = deleted + ?, bytes = bytes + ?,
    deleted_bytes = deleted_bytes + ?, counts_modseq = ?, highest_modseq = ?
WHERE account_id = ? AND {} AND deleted_modseq IS NULL AND selectable = 1
RETURNING id, uidnext, uidvalidity
"""
TAKE_UIDS = _TAKE_UIDS.format("id = ?")
TAKE_UIDS_OF_ROLE = _TAKE_UIDS.format("role = ? AND role <> ''")
CLAIM_RECENT = "UPDATE mailbox SET recent_from = uidnext, counts_modseq = ? WHERE account_id = ? AND id = ?"
SUBSCRIPTIONS = "SELECT name FROM subscription WHERE account_id = ? ORDER BY name"
SUBSCRIBE = "INSERT INTO subscription (account_id, name) VALUES (?, ?) ON CONFLICT DO NOTHING"
UNSUBSCRIBE = "DELETE FROM subscription WHERE account_id = ? AND name = ?"

# ---------------------------------------------------------------- messages and bytes

INSERT_BLOB = "INSERT INTO blob (account_id, id, size, sha256, place, bytes) VALUES (?, ?, ?, ?, ?, ?)"
PLACES = "SELECT place FROM blob WHERE account_id = ? AND place <> ''"
READ_BLOB = """
SELECT place, encoding, size, substr(bytes, ?, ?) FROM blob WHERE account_id = ? AND id = ?
"""
INSERT_MESSAGE = """
INSERT INTO message (account_id, id, blob_id, thread_id, email_id, size, internal_date, sent_date, created_modseq,
    changed_modseq, parsed_by, needs_utf8, prefix, envelope, bodystructure, parts, message_id_hash, reference_hashes,
    base_subject, from_folded, to_folded, cc_folded, preview)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
COPY_MESSAGE = """
INSERT INTO message (account_id, id, blob_id, thread_id, email_id, size, internal_date, sent_date, created_modseq,
    changed_modseq, parsed_by, needs_utf8, prefix, envelope, bodystructure, parts, message_id_hash, reference_hashes,
    base_subject, from_folded, to_folded, cc_folded, preview)
SELECT account_id, ?, blob_id, thread_id, ?, size, internal_date, sent_date, ?,
    ?, parsed_by, needs_utf8, prefix, envelope, bodystructure, parts, message_id_hash, reference_hashes,
    base_subject, from_folded, to_folded, cc_folded, preview
FROM message WHERE account_id = ? AND id = ?
"""
USE_BLOB_OF = """
UPDATE blob SET uses = uses + 1
WHERE account_id = ? AND id = (SELECT m.blob_id FROM message m WHERE m.account_id = ? AND m.id = ?)
"""
INSERT_HEADER = "INSERT INTO header (account_id, message_id, bytes) VALUES (?, ?, ?)"
COPY_HEADER = """
INSERT INTO header (account_id, message_id, bytes)
SELECT account_id, ?, bytes FROM header WHERE account_id = ? AND message_id = ?
"""
DELIVERED = "SELECT mailbox_id, uidvalidity, uid, email_id, modseq FROM delivered WHERE account_id = ? AND id = ?"
INSERT_DELIVERED = """
INSERT INTO delivered (account_id, id, at, mailbox_id, uidvalidity, uid, email_id, modseq)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
FORGET_DELIVERED = "DELETE FROM delivered WHERE account_id = ? AND at < ?"
FIND_THREAD = """
SELECT thread_id FROM reference WHERE account_id = ? AND hash = ? AND subject = ?
"""
INSERT_THREAD = "INSERT INTO thread (account_id, id, public_id) VALUES (?, ?, ?)"
INSERT_REFERENCE = """
INSERT INTO reference (account_id, hash, subject, thread_id) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING
"""

# ---------------------------------------------------------------- entries

INSERT_ENTRY = """
INSERT INTO entry (account_id, mailbox_id, uid, message_id, flags, keywords, size, changed_modseq, created_modseq,
    savedate, uidl)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
LIVING = """
SELECT uid, message_id, flags, keywords, size, changed_modseq FROM entry
WHERE account_id = ? AND mailbox_id = ? AND uid IN (SELECT value FROM json_each(?)) AND expunged_modseq IS NULL
ORDER BY uid
"""
LIVING_UIDS = """
SELECT uid FROM entry WHERE account_id = ? AND mailbox_id = ? AND expunged_modseq IS NULL ORDER BY uid
"""
DELETED_UIDS = """
SELECT uid FROM entry
WHERE account_id = ? AND mailbox_id = ? AND expunged_modseq IS NULL AND (flags & 8) <> 0
ORDER BY uid
"""
FIRST_UNSEEN = """
SELECT uid FROM entry WHERE account_id = ? AND mailbox_id = ? AND expunged_modseq IS NULL AND (flags & 1) = 0
ORDER BY uid LIMIT 1
"""
# The plus keeps the planner from reading the whole table instead of the few messages.
HELD = """
SELECT value FROM json_each(?)
WHERE EXISTS (
    SELECT 1 FROM entry e
    WHERE +e.account_id = ? AND +e.mailbox_id = ? AND e.message_id = value AND e.expunged_modseq IS NULL
)
"""
SET_FLAGS = """
UPDATE entry SET flags = ?, keywords = ?, changed_modseq = ?
WHERE account_id = ? AND mailbox_id = ? AND uid IN (SELECT value FROM json_each(?))
"""
COUNT_CHANGES = """
UPDATE mailbox
SET messages = messages + ?, unseen = unseen + ?, deleted = deleted + ?, bytes = bytes + ?,
    deleted_bytes = deleted_bytes + ?, counts_modseq = ?, highest_modseq = ?
WHERE account_id = ? AND id = ?
"""
MARK_ENTRIES = """
UPDATE entry SET expunged_modseq = ?, expunged_at = ?, changed_modseq = ?
WHERE account_id = ? AND mailbox_id = ? AND uid IN (SELECT value FROM json_each(?))
"""
CHANGED = """
SELECT uid, flags, keywords, changed_modseq, created_modseq > ? FROM entry
WHERE account_id = ? AND mailbox_id = ? AND changed_modseq > ? AND expunged_modseq IS NULL
ORDER BY changed_modseq LIMIT ?
"""
EXPUNGED = """
SELECT uid FROM entry
WHERE account_id = ? AND mailbox_id = ? AND expunged_modseq > ? AND created_modseq <= ?
ORDER BY expunged_modseq LIMIT ?
"""
KEYWORDS = "SELECT name FROM keyword WHERE account_id = ? ORDER BY id"
KNOWN_KEYWORDS = "SELECT folded, name FROM keyword WHERE account_id = ? AND folded IN (SELECT value FROM json_each(?))"
KEYWORD_COUNT = "SELECT count(*) FROM keyword WHERE account_id = ?"
INSERT_KEYWORD = "INSERT INTO keyword (account_id, folded, id, name) VALUES (?, ?, ?, ?)"

# ---------------------------------------------------------------- purging

MARKED_BEFORE = """
SELECT mailbox_id, uid, message_id, size, expunged_modseq FROM entry
WHERE account_id = ? AND expunged_modseq IS NOT NULL AND expunged_at < ?
ORDER BY expunged_at LIMIT ?
"""
IN_MAILBOXES_MARKED_BEFORE = """
SELECT e.mailbox_id, e.uid, e.message_id, e.size, b.deleted_modseq
FROM mailbox b JOIN entry e ON e.account_id = b.account_id AND e.mailbox_id = b.id
WHERE b.account_id = ? AND b.deleted_modseq IS NOT NULL AND b.deleted_at < ?
LIMIT ?
"""
DELETE_ENTRIES = """
DELETE FROM entry WHERE account_id = ? AND mailbox_id = ? AND uid IN (SELECT value FROM json_each(?))
"""
RAISE_FLOOR = "UPDATE mailbox SET expunged_floor = max(expunged_floor, ?) WHERE account_id = ? AND id = ?"
MESSAGES_WITHOUT_ENTRY = """
SELECT id, blob_id, thread_id FROM message m
WHERE account_id = ? AND id IN (SELECT value FROM json_each(?))
    AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.account_id = m.account_id AND e.message_id = m.id)
"""
DELETE_MESSAGES = "DELETE FROM message WHERE account_id = ? AND id IN (SELECT value FROM json_each(?))"
RELEASE_BLOB = "UPDATE blob SET uses = uses - 1 WHERE account_id = ? AND id = ?"
DELETE_BLOBS = """
DELETE FROM blob WHERE account_id = ? AND id IN (SELECT value FROM json_each(?)) AND uses = 0 RETURNING place
"""
DELETE_THREADS = """
DELETE FROM thread
WHERE account_id = ? AND id IN (SELECT value FROM json_each(?))
    AND NOT EXISTS (SELECT 1 FROM message m WHERE m.account_id = thread.account_id AND m.thread_id = thread.id)
RETURNING id
"""
DELETE_REFERENCES = "DELETE FROM reference WHERE account_id = ? AND thread_id IN (SELECT value FROM json_each(?))"
DELETE_MAILBOXES = """
DELETE FROM mailbox
WHERE account_id = ? AND deleted_modseq IS NOT NULL AND deleted_at < ?
    AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.account_id = mailbox.account_id AND e.mailbox_id = mailbox.id)
RETURNING deleted_modseq
"""
