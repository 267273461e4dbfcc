"""`postane config`: every value with its origin, warnings, and a file to begin with."""

from __future__ import annotations

from pathlib import Path

import pytest
from commanding import Commands

from postane.config.load import flatten
from postane.config.settings import Settings
from postane.net import tls


def test_show_lists_everything_and_where_it_comes_from(postane: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    postane.data.mkdir()
    (postane.data / "postane.toml").write_text("[listen.imap]\nport = 1143\n")
    monkeypatch.setenv("POSTANE_LOG__LEVEL", "debug")

    shown = postane("config", "show", "--json").json

    assert len(shown["settings"]) == len(list(flatten(Settings())))
    file = str(postane.data / "postane.toml")
    assert shown["file"] == file
    assert shown["settings"]["listen.imap.port"] == {"value": 1143, "from": f"{file}, line 2"}
    assert shown["settings"]["log.level"] == {"value": "debug", "from": "environment variable POSTANE_LOG__LEVEL"}
    assert shown["settings"]["limits.smtp.recipients"] == {"value": 1000, "from": "default"}
    text = postane("config", "show").out
    assert f"port = 1143    # {file}, line 2" in text
    assert "[limits.imap]" in text


def test_check_warns_of_plaintext(postane: Commands) -> None:
    postane.data.mkdir()
    (postane.data / "postane.toml").write_text(
        'listen.imap.login.plaintext = "allow"\n[domains."a.example"]\nlogin.plaintext = "allow"\n'
    )

    said = postane("config", "check").out

    assert 'Warning: listen.imap.login.plaintext = "allow"' in said
    assert 'Warning: domains."a.example".login.plaintext = "allow"' in said
    assert len(postane("config", "check", "--json").json["warnings"]) == 2


def test_check_of_the_defaults_warns_of_nothing(postane: Commands) -> None:
    assert postane("config", "check", "--json").json["warnings"] == []


def test_check_tells_of_a_broken_file_and_of_wrong_certificates(postane: Commands, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[server]\nworkers = 'x'\n")
    said = postane("config", "check", "--config", str(file), status=1)
    assert f"{file}, line 2: server.workers" in said.err
    one, other = (tls.make_self_signed(tmp_path / name, ["a.example"]) for name in ("one", "other"))
    file.write_text(f'[tls]\ncertificate = "{one.certificate}"\nkey = "{other.key}"\n')
    assert "does not belong to" in postane("config", "check", "--config", str(file), status=1).err
    file.write_text(f'[tls]\ncertificate = "{one.certificate}"\nkey = "/none.pem"\n')
    assert "/none.pem: there is no such file" in postane("config", "check", "--config", str(file), status=1).err
    assert "/none.toml" in postane("config", "check", "--config", "/none.toml", status=1).err


def test_init_writes_once(postane: Commands, tmp_path: Path) -> None:
    file = tmp_path / "postane.toml"

    postane("config", "init", str(file), place=False)

    assert "exists already" in postane("config", "init", str(file), status=1, place=False).err
    assert postane("config", "check", "--config", str(file), "--json").json["warnings"] == []
    assert "[listen.imap]" in file.read_text()
