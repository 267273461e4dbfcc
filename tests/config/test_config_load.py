"""The settings file: defaults, file, environment; and that a mistake is named with its line and its mend."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from postane.config.load import ConfigProblem, flatten, load
from postane.config.locate import line_of
from postane.config.settings import Ports, Settings
from postane.config.template import template
from postane.core.limits import Limits
from postane.core.listener import Service


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "postane.toml"
    file.write_text(text, "utf-8")
    return file


def test_without_a_file_everything_is_at_its_default() -> None:
    loaded = load(None, {})

    assert loaded.settings == Settings()
    assert loaded.settings.limits == Limits()
    assert loaded.origins == {}


def test_the_file_then_the_environment_then_the_command_line(tmp_path: Path) -> None:
    file = written(tmp_path, "[server]\nworkers = 2\nundelete_days = 3\n\n[listen.imap]\nport = 1143\n")

    loaded = load(file, {"POSTANE_LISTEN__IMAP__PORT": "1144"}, {("listen", "ports"): "high"})

    assert loaded.settings.server.workers == 2
    assert loaded.settings.listen.imap.port == 1144
    assert loaded.settings.listen.ports is Ports.HIGH
    assert loaded.origins == {
        ("server", "workers"): f"{file}, line 2",
        ("server", "undelete_days"): f"{file}, line 3",
        ("listen", "imap", "port"): "environment variable POSTANE_LISTEN__IMAP__PORT",
        ("listen", "ports"): "command line",
    }


def test_variables_take_the_type_of_their_setting() -> None:
    loaded = load(
        None,
        {
            "POSTANE_LISTEN__ADDRESSES": "127.0.0.1, ::1",
            "POSTANE_LIMITS__IMAP__IDLE": "1.5",
            "POSTANE_LISTEN__POP3__ENABLED": "false",
            "POSTANE_LOGIN__PLAINTEXT": "allow",
            "POSTANE_DATA": "/elsewhere",
            "PATH": "/bin",
        },
    ).settings

    assert loaded.listen.addresses == ("127.0.0.1", "::1")
    assert loaded.limits.imap.idle == 1.5
    assert not loaded.listen.pop3.enabled
    assert loaded.plaintext_login(Service.IMAP)


def test_plaintext_by_listener_and_by_domain(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        'listen.imap.login.plaintext = "allow"\n[domains."Café.example"]\nlogin.plaintext = "allow"\n'
        '[domains."b.example".login]\nplaintext = "inherit"\n[domains."c.example"]\n',
    )

    settings = load(file, {}).settings

    assert [service for service in Service if settings.plaintext_login(service)] == [Service.IMAP]
    assert settings.plaintext_domains() == {"xn--caf-dma.example"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nworkerz = 2\n", ["line 2", "server.workerz", "Did you mean server.workers?"]),
        ("[limits.smtp]\nrecipient = 3\n", ["line 2", "limits.smtp.recipient", "limits.smtp.recipients?"]),
        ("colour = 1\n", ["line 1", "no setting colour", "server, listen"]),
        ('[server]\n\nworkers = "many"\n', ["line 3", 'server.workers = "many"', "int", "workers = 0"]),
        ("[listen.imap]\nport = 65536\n", ["line 2", "listen.imap.port = 65536", "<= 65535", "port = 0"]),
        ('[listen]\nports = "low"\n', ["line 2", 'listen.ports = "low"', 'ports = "auto"']),
        ('[listen]\naddresses = ["localhost"]\n', ["line 2", "'localhost' is no numeric address", "0.0.0.0"]),
        ("[limits.pop3]\nerrors = 0\n", ["line 2", "limits.pop3.errors = 0", "above 0", "errors = 20"]),
        ("[limits.imap]\nidle = -1.0\n", ["line 2", "limits.imap.idle = -1.0", "idle = 1800"]),
        ("[limits.imap]\nidle = nan\n", ["line 2", "limits.imap.idle = nan", "idle = 1800"]),
        ("[limits.imap]\nidle = inf\n", ["line 2", "limits.imap.idle = inf", "below 2^53"]),
        ("[limits.smtp]\nmessage_bytes = 99999999999999999999\n", ["line 2", "message_bytes = 9", "below 2^53"]),
        ('[tls]\nkey = "/k.pem"\n', ["line 1", "tls.certificate is not set", "or neither"]),
        ('[domains."a b"]\n', ['domains."a b"', "no host name"]),
        ('[domains."a.example".login]\nplaintext = "yes"\n', ["line 2", '"yes"']),
        ("[server\nworkers = 1\n", ["not valid TOML", "line 1", "[server"]),
        ("server = 3\n", ["line 1", "server = 3", "object"]),
        ("[server.workers]\nx = 1\n", ["server.workers"]),
        ("login.plaintext = true\n", ["line 1", "login.plaintext = true"]),
    ],
)
def test_a_mistake_is_named_with_line_value_and_mend(tmp_path: Path, text: str, said: list[str]) -> None:
    with pytest.raises(ConfigProblem) as caught:
        load(written(tmp_path, text), {})

    for words in said:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("POSTANE_SERVER__WORKERZ", "2", ["POSTANE_SERVER__WORKERZ", "server.workers?"]),
        ("POSTANE_SERVER__WORKERS", "two", ["POSTANE_SERVER__WORKERS", '"two"', "int"]),
        ("POSTANE_LISTEN__IMAP", "2", ["section", "POSTANE_LISTEN__IMAP__PORT"]),
        ("POSTANE_SERVER__WORKERS__X", "2", ["names no setting", "server.workers is a setting"]),
        ("POSTANE_LISTEN__PORTS", "low", ["environment variable POSTANE_LISTEN__PORTS", '"low"']),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str, said: list[str]) -> None:
    with pytest.raises(ConfigProblem) as caught:
        load(None, {variable: value})

    for words in said:
        assert words in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblem, match="cannot be read"):
        load(tmp_path / "none.toml", {})
    (tmp_path / "latin.toml").write_bytes(b"# \xfe\n")
    with pytest.raises(ConfigProblem, match="not UTF-8"):
        load(tmp_path / "latin.toml", {})


def test_the_written_file_changes_nothing_and_names_every_setting(tmp_path: Path) -> None:
    text = template()

    assert load(written(tmp_path, text), {}).settings == Settings()


def test_the_written_file_uncommented_is_the_default(tmp_path: Path) -> None:
    is_setting = re.compile(r"# (?=[a-z_.]+ = |\[)")

    loaded = load(written(tmp_path, "\n".join(is_setting.sub("", line) for line in template().splitlines())), {})

    assert loaded.settings.plaintext_domains() == {"example.org"}
    assert msgspec.structs.replace(loaded.settings, domains={}) == Settings()
    assert set(loaded.origins) >= {setting for setting, _ in flatten(Settings())}


def test_lines_are_found_by_table_key_and_dotted_key() -> None:
    text = '# c\n[a.b]\nx = 1\n"q r".y = 2\n[a]\nz.w = 3\n'
    assert tomllib.loads(text)

    assert line_of(text, ("a", "b", "x")) == 3
    assert line_of(text, ("a", "b", "q r", "y")) == 4
    assert line_of(text, ("a", "z", "w")) == 6
    assert line_of(text, ("a", "b", "other")) == 2
    assert line_of(text, ("nothing",)) == 0
