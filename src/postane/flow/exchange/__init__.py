"""Mail as files: mbox, Maildir and .eml, in and out, streaming."""
