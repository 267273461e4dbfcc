"""Mail as files: what comes in by command goes out the same, with flags, dates and folders."""

from __future__ import annotations

import mailbox
import os
from pathlib import Path

import pytest
from commanding import Commands

CRLF = b"Subject: crlf\r\nFrom: a@example.org\r\n\r\nline\r\n"
BARE = b"Subject: bare\nFrom: a@example.org\n\nline\n"
MIXED = b"Subject: mixed\r\nFrom: a@example.org\n\nline\rx\n"
NUL = b"Subject: nul\r\n\r\n\x00\xff\x80\r\n"


def exported(postane: Commands, account: str, folder: Path, *arguments: str) -> dict[str, bytes]:
    postane("mailbox", "export", account, str(folder), "--format", "eml", *arguments)
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.eml")}


def test_eml_files_keep_every_byte(postane: Commands, ada: str, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    messages = [CRLF, BARE, MIXED, NUL, b"", b"\r\n", b"no header at all", CRLF + b"x" * 100_000]
    for number, message in enumerate(messages):
        (source / f"{number}.eml").write_bytes(message)

    said = postane("mailbox", "import", ada, str(source), "--json").json

    assert said["messages"] == len(messages)
    assert said["problems"] == []
    found = exported(postane, ada, tmp_path / "out")
    assert [found[f"INBOX/{number}.eml"] for number in range(1, len(messages) + 1)] == messages
    assert postane("check", "--json").json["findings"] == []


def test_an_mbox_is_split_unquoted_and_its_line_ends_mended(postane: Commands, ada: str, tmp_path: Path) -> None:
    mark = b"From someone@example.org Sat Jan  3 01:05:34 1998\n"
    quoted = b"Subject: q\nStatus: RO\nX-Status: AF\n\n>From here\n>>From there\n> From not\nIn From line\n"
    file = tmp_path / "old.mbox"
    file.write_bytes(b"\n".join((mark + BARE, mark + quoted, mark + MIXED, mark + CRLF)) + b"\n")

    postane("mailbox", "import", ada, str(file), "--mailbox", "Old/1998")

    found = exported(postane, ada, tmp_path / "out", "--mailbox", "Old")
    status = b"Subject: q\r\nStatus: RO\r\nX-Status: AF\r\n\r\n"
    assert found == {
        "Old/1998/1.eml": BARE.replace(b"\n", b"\r\n"),
        "Old/1998/2.eml": status + b"From here\r\n>From there\r\n> From not\r\nIn From line\r\n",
        "Old/1998/3.eml": MIXED,
        "Old/1998/4.eml": CRLF,
    }
    assert int((tmp_path / "out/Old/1998/1.eml").stat().st_mtime) == 883789534
    listed = {one["mailbox"]: one for one in postane("mailbox", "list", ada, "--json").json}
    assert listed["Old/1998"]["subscribed"]
    assert listed["Old/1998"]["unseen"] == 3


def test_mbox_line_ends_and_quoting_can_be_kept(postane: Commands, ada: str, tmp_path: Path) -> None:
    file = tmp_path / "old"
    file.write_bytes(b"From a Sat Jan  3 01:05:34 1998\nSubject: x\n\n>From y\n\n")

    postane("mailbox", "import", ada, str(file), "--line-ends", "keep", "--from-quoting", "none")

    assert exported(postane, ada, tmp_path / "out") == {"INBOX/1.eml": b"Subject: x\n\n>From y\n"}


def maildir_message(folder: Path, room: str, name: str, content: bytes, date: int = 900_000_000) -> None:
    for each in ("cur", "new", "tmp"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    (folder / room / name).write_bytes(content)
    os.utime(folder / room / name, (date, date))


def test_a_maildir_comes_with_flags_dates_and_folders(postane: Commands, ada: str, tmp_path: Path) -> None:
    root = tmp_path / "Maildir"
    maildir_message(root, "cur", "1.a:2,FRS", CRLF)
    maildir_message(root, "new", "2.b", BARE)
    maildir_message(root, "tmp", "3.c", b"half")
    maildir_message(root / ".Sent.2019", "cur", "1.d:2,Sa", CRLF)
    maildir_message(root / ".B&APw-cher", "cur", "1.e:2,DT", CRLF)
    maildir_message(root / "nested" / "deep", "cur", "1.f:2,", CRLF)
    (root / ".Sent.2019" / "dovecot-keywords").write_text("0 $Forwarded\n")

    said = postane("mailbox", "import", ada, str(root), "--json").json

    assert said["messages"] == 5
    listed = {one["mailbox"]: one for one in postane("mailbox", "list", ada, "--json").json}
    assert listed["INBOX"]["messages"] == 2
    assert listed["INBOX"]["unseen"] == 1
    assert {"Sent/2019", "Bücher", "nested/deep"} <= set(listed)
    assert all(listed[name]["subscribed"] for name in ("Sent/2019", "Bücher", "nested/deep"))
    out = tmp_path / "out"
    postane("mailbox", "export", ada, str(out), "--format", "maildir")
    back = mailbox.Maildir(out, create=False)
    flags = {message["subject"]: message.get_flags() for message in back}
    assert flags == {"crlf": "FRS", "bare": ""}
    assert {int(message.get_date()) for message in back} == {900_000_000}
    assert set(back.list_folders()) >= {"Sent.2019", "B&APw-cher", "nested.deep"}
    assert (out / ".Sent.2019" / "dovecot-keywords").read_text() == "0 $Forwarded\n"
    assert [message.get_flags() for message in back.get_folder("B&APw-cher")] == ["DT"]


def test_what_goes_out_as_mbox_comes_in_the_same(postane: Commands, ada: str, tmp_path: Path) -> None:
    tricky = b"Subject: t\r\n\r\nFrom a\r\n>From b\r\n>>>>From c\r\n\r\nFrom d\r\n\r\n\r\n"
    for number, content in enumerate((tricky, CRLF, NUL, tricky + b"From " + b"y" * 200_000 + b"\r\n")):
        (tmp_path / f"{number}.eml").write_bytes(content)
    postane("mailbox", "import", ada, *(str(tmp_path / f"{number}.eml") for number in range(4)))

    postane("mailbox", "export", ada, str(tmp_path / "out"), "--format", "mbox")
    postane("mailbox", "import", ada, str(tmp_path / "out" / "INBOX.mbox"), "--mailbox", "Again")

    found = exported(postane, ada, tmp_path / "eml")
    for number in range(1, 5):
        assert found[f"Again/{number}.eml"] == found[f"INBOX/{number}.eml"]


@pytest.mark.parametrize("kind", ["mbox", "eml", "maildir"])
def test_an_export_comes_in_again_folder_by_folder(postane: Commands, ada: str, tmp_path: Path, kind: str) -> None:
    for number in range(12):
        (tmp_path / f"{number}.eml").write_bytes(b"Subject: %d\r\n\r\nx\r\n" % number)
    messages = [str(tmp_path / f"{number}.eml") for number in range(12)]
    postane("mailbox", "import", ada, *messages)
    postane("mailbox", "import", ada, *messages[:2], "--mailbox", "Old/B\u00fccher.1998")
    before = exported(postane, ada, tmp_path / "before")

    postane("mailbox", "export", ada, str(tmp_path / "out"), "--format", kind)
    said = postane("mailbox", "import", ada, str(tmp_path / "out"), "--mailbox", "Again", "--json").json

    assert said["messages"] == 14
    again = exported(postane, ada, tmp_path / "after", "--mailbox", "Again")
    dotted = "B\u00fccher_1998" if kind == "maildir" else "B\u00fccher.1998"
    expected = {name.replace("INBOX/", ""): data for name, data in before.items()}
    assert {name.removeprefix("Again/").replace(dotted, "B\u00fccher.1998"): data for name, data in again.items()} == (
        expected
    )


def test_a_folder_that_holds_no_mail_or_two_kinds_is_told(postane: Commands, ada: str, tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "inbox").write_bytes(b"From a@example.org Sat Jan  3 01:05:34 1998\n\nx\n")
    for arguments in ((), ("--format", "mbox"), ("--format", "eml"), ("--format", "maildir")):
        said = postane("mailbox", "import", ada, str(tmp_path / "mail"), *arguments, status=1)
        assert "--format" in said.err

    (tmp_path / "mail" / "a.eml").write_bytes(CRLF)
    (tmp_path / "mail" / "b.mbox").write_bytes(b"From a@example.org Sat Jan  3 01:05:34 1998\n\nx\n")
    assert "both" in postane("mailbox", "import", ada, str(tmp_path / "mail"), status=1).err


def test_mailbox_names_that_are_none_are_refused(postane: Commands, ada: str, tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(CRLF)

    for name in ("../up", "a//b", "a\nb", "x" * 10_000):
        said = postane("mailbox", "import", ada, str(tmp_path / "a.eml"), "--mailbox", name, status=1)
        assert "name" in said.err

    assert sorted(one["mailbox"] for one in postane("mailbox", "list", ada, "--json").json) == [
        "Archive",
        "Drafts",
        "INBOX",
        "Junk",
        "Sent",
        "Trash",
    ]


def test_over_quota_ends_an_import(postane: Commands, ada: str, tmp_path: Path) -> None:
    postane("account", "set", ada, "--quota-messages", "1")
    for number in range(3):
        (tmp_path / f"{number}.eml").write_bytes(CRLF)

    said = postane("mailbox", "import", ada, str(tmp_path), status=1)

    assert "postane account set" in said.err
    assert postane("account", "show", ada, "--json").json["messages"] == 1


def test_what_is_no_file_or_not_empty_is_told(postane: Commands, ada: str, tmp_path: Path) -> None:
    assert "There is no file" in postane("mailbox", "import", ada, str(tmp_path / "none"), status=1).err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    assert "is not empty" in postane("mailbox", "export", ada, str(tmp_path / "full"), status=1).err
    assert (
        "There is no mailbox 'No'"
        in postane("mailbox", "export", ada, str(tmp_path / "new"), "--mailbox", "No", status=1).err
    )
