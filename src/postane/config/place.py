"""Where the settings and the data are, before either is open.

The data folder is the first of: `--data`, POSTANE_DATA, `server.data`, then
`data` in the checkout where the program runs from one, `/var/lib/postane` for
root, `~/.local/share/postane` for others.  The settings are `--config`,
POSTANE_CONFIG, `postane.toml` in that folder, or `/etc/postane/postane.toml`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postane.config.load import Loaded, Setting, load

SYSTEM_FILE = Path("/etc/postane/postane.toml")
FILE = "postane.toml"


@dataclass(frozen=True, slots=True)
class Place:
    """What the command line and the environment say of it; `reload` reads the same settings again."""

    data: Path | None
    config: Path | None
    environment: Mapping[str, str]
    overrides: Mapping[Setting, Any]

    def load(self) -> tuple[Loaded, Path]:
        """The settings, and the data folder as an absolute path."""
        named = self.data or _path(self.environment.get("POSTANE_DATA"))
        file = self.config or _path(self.environment.get("POSTANE_CONFIG"))
        if file is None:
            candidates = (named / FILE,) if named else (default_data() / FILE, SYSTEM_FILE)
            file = next((one for one in candidates if one.is_file()), None)
        loaded = load(file, self.environment, self.overrides)
        written = _path(loaded.settings.server.data)
        if named is None and written is not None and file is not None:
            written = file.absolute().parent / written
        return loaded, (named or written or default_data()).absolute()


def default_data() -> Path:
    checkout = Path(__file__).resolve().parents[3]
    if (checkout / "Makefile").is_file() and (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    if os.geteuid() == 0:
        return Path("/var/lib/postane")
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "postane"


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None
