"""The statements of `check`: what is counted against what is there, and how counters are mended."""

from __future__ import annotations

# Each row: where, what is kept, what is there.
_LIVING = "FROM entry e WHERE e.account_id = b.account_id AND e.mailbox_id = b.id AND e.expunged_modseq IS NULL"
MAILBOX_COUNTERS = f"""
SELECT b.id, b.name, b.messages, b.unseen, b.deleted, b.bytes, b.deleted_bytes, b.uidnext, b.highest_modseq,
    (SELECT count(*) {_LIVING}),
    (SELECT count(*) {_LIVING} AND (e.flags & 1) = 0),
    (SELECT count(*) {_LIVING} AND (e.flags & 8) <> 0),
    (SELECT coalesce(sum(e.size), 0) {_LIVING}),
    (SELECT coalesce(sum(e.size), 0) {_LIVING} AND (e.flags & 8) <> 0),
    (SELECT coalesce(max(e.uid), 0) + 1 FROM entry e WHERE e.account_id = b.account_id AND e.mailbox_id = b.id),
    (SELECT coalesce(max(e.changed_modseq), 0) FROM entry e WHERE e.account_id = b.account_id AND e.mailbox_id = b.id)
FROM mailbox b WHERE b.account_id = ? ORDER BY b.id
"""  # noqa: S608  # constants of this module
SET_MAILBOX_COUNTERS = """
UPDATE mailbox SET messages = ?, unseen = ?, deleted = ?, bytes = ?, deleted_bytes = ?, uidnext = ?, highest_modseq = ?
WHERE account_id = ? AND id = ?
"""
ACCOUNT_COUNTERS = """
SELECT a.messages, a.bytes, a.undelete_messages, a.undelete_bytes, a.modseq, a.next_id, a.next_uidvalidity,
    (SELECT coalesce(sum(b.messages), 0) FROM mailbox b
        WHERE b.account_id = a.account_id AND b.deleted_modseq IS NULL),
    (SELECT coalesce(sum(b.bytes), 0) FROM mailbox b
        WHERE b.account_id = a.account_id AND b.deleted_modseq IS NULL),
    (SELECT count(*) FROM entry e JOIN mailbox b ON b.account_id = e.account_id AND b.id = e.mailbox_id
        WHERE e.account_id = a.account_id AND (e.expunged_modseq IS NOT NULL OR b.deleted_modseq IS NOT NULL)),
    (SELECT coalesce(sum(e.size), 0) FROM entry e JOIN mailbox b ON b.account_id = e.account_id AND b.id = e.mailbox_id
        WHERE e.account_id = a.account_id AND (e.expunged_modseq IS NOT NULL OR b.deleted_modseq IS NOT NULL)),
    (SELECT coalesce(max(max(b.highest_modseq, b.changed_modseq, b.counts_modseq, coalesce(b.deleted_modseq, 0))), 0)
        FROM mailbox b WHERE b.account_id = a.account_id),
    max((SELECT coalesce(max(id), 0) FROM message WHERE account_id = a.account_id),
        (SELECT coalesce(max(id), 0) FROM blob WHERE account_id = a.account_id),
        (SELECT coalesce(max(id), 0) FROM thread WHERE account_id = a.account_id),
        (SELECT coalesce(max(id), 0) FROM mailbox WHERE account_id = a.account_id)) + 1,
    (SELECT coalesce(max(b.uidvalidity), 0) + 1 FROM mailbox b WHERE b.account_id = a.account_id)
FROM account_state a WHERE a.account_id = ?
"""
SET_ACCOUNT_COUNTERS = """
UPDATE account_state SET messages = ?, bytes = ?, undelete_messages = ?, undelete_bytes = ?, modseq = ?, next_id = ?,
    next_uidvalidity = ?
WHERE account_id = ?
"""
BROKEN_ENTRIES = """
SELECT e.mailbox_id, e.uid, m.id, e.size, m.size, length(m.prefix) + b.size, h.message_id
FROM entry e
LEFT JOIN message m ON m.account_id = e.account_id AND m.id = e.message_id
LEFT JOIN blob b ON b.account_id = m.account_id AND b.id = m.blob_id
LEFT JOIN header h ON h.account_id = m.account_id AND h.message_id = m.id
WHERE e.account_id = ?
    AND (m.id IS NULL OR b.id IS NULL OR h.message_id IS NULL OR e.size <> m.size
        OR m.size <> length(m.prefix) + b.size)
ORDER BY e.mailbox_id, e.uid
"""
BLOB_USES = """
SELECT b.id, b.uses, u.uses FROM blob b
LEFT JOIN (SELECT blob_id, count(*) AS uses FROM message WHERE account_id = ? GROUP BY blob_id) u ON u.blob_id = b.id
WHERE b.account_id = ? AND b.uses <> coalesce(u.uses, 0)
"""
SET_BLOB_USES = "UPDATE blob SET uses = ? WHERE account_id = ? AND id = ?"
BLOBS = """
SELECT id, size, sha256, place, encoding FROM blob WHERE account_id = ? AND id > ? ORDER BY id LIMIT ?
"""
BODY = "SELECT bytes FROM blob WHERE account_id = ? AND id = ? AND bytes IS NOT NULL"
