"""The command line: `postane`, nouns then verbs.  Modules are read when their command is."""

from __future__ import annotations


def main() -> None:
    """The program's entry."""
    from postane.cli.program import run

    run()
