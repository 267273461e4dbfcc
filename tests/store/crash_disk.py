"""A disk that forgets: everything the store does to files is recorded, and replayed up to any moment of a crash.

`Recorder` is a file port and an SQLite file layer that write down each step.
`Disk` plays the steps on a model: a file's bytes last from its last `sync`, a
name lasts from the last `sync_folder` of where it stands.  What lasts is then
laid out in a folder, as a machine would find it after the power came back.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import apsw

from postane.store.files import SystemFiles

DURABLE, KEPT, TORN = "forgotten", "kept", "torn"
"""What becomes of steps that no sync has confirmed: none lasts, all last, any may."""


@dataclass(frozen=True)
class Step:
    """`what` names a method of `Disk`; or it is "said": the label in `path` was acknowledged."""

    what: str
    path: str
    target: str = ""
    offset: int = 0
    data: bytes = b""

    def __str__(self) -> str:
        return f"{self.what} {PurePath(self.path).name}"


class Recorder(SystemFiles):
    """Paths below `root` are written down relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.steps: list[Step] = []
        self._paths: dict[int, Path] = {}
        self._sizes: dict[int, int] = {}
        self.layer = _Layer(self)

    def note(self, what: str, path: Path | str, target: Path | str = "", offset: int = 0, data: bytes = b"") -> None:
        self.steps.append(Step(what, self._relative(path), self._relative(target) if target else "", offset, data))

    def say(self, label: str) -> None:
        """Marks the moment at which something was acknowledged."""
        self.steps.append(Step("said", label))

    def _relative(self, path: Path | str) -> str:
        return str(Path(path).relative_to(self.root))

    def create(self, path: Path) -> int:
        file = super().create(path)
        self._paths[file], self._sizes[file] = path, 0
        self.note("create", path)
        return file

    def write(self, file: int, data: bytes | memoryview) -> None:
        super().write(file, data)
        self.note("write", self._paths[file], offset=self._sizes[file], data=bytes(data))
        self._sizes[file] += len(data)

    def sync(self, file: int) -> None:
        super().sync(file)
        self.note("sync", self._paths[file])

    def link(self, source: Path, target: Path) -> None:
        super().link(source, target)
        self.note("link", source, target)

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self.note("rename", source, target)

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.note("unlink", path)

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self.note("make_folder", path)

    def sync_folder(self, path: Path) -> None:
        super().sync_folder(path)
        self.note("sync_folder", path)


class _Layer(apsw.VFS):
    """Over SQLite's own file layer; the shared memory beside a WAL is no file that lasts, and passes by."""

    def __init__(self, recorder: Recorder) -> None:
        self.name = f"recording-{id(recorder)}"
        self._recorder = recorder
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _File(self._recorder, name, flags)

    def xDelete(self, name: str, sync_folder: bool) -> None:
        super().xDelete(name, sync_folder)
        self._recorder.note("unlink", name)
        if sync_folder:
            self._recorder.note("sync_folder", Path(name).parent)


class _File(apsw.VFSFile):
    def __init__(self, recorder: Recorder, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._recorder = recorder
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else name
        is_new = self._path is not None and not Path(self._path).exists()
        super().__init__("", name, flags)
        # SQLite's own layer syncs the folder with the first sync of a journal or WAL that it has made.
        is_log = flags[0] & (apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL)
        self._owes_folder = is_new and bool(is_log)
        if is_new:
            self._note("create")

    def _note(self, what: str, offset: int = 0, data: bytes = b"") -> None:
        if self._path is not None:
            self._recorder.note(what, self._path, offset=offset, data=data)

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._note("write", offset, bytes(data))

    def xTruncate(self, size: int) -> None:
        super().xTruncate(size)
        self._note("truncate", size)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._note("sync")
        if self._owes_folder and self._path is not None:
            self._recorder.note("sync_folder", Path(self._path).parent)
            self._owes_folder = False


@dataclass
class _Node:
    """A file or a folder: as it is now, and as it lasts."""

    content: bytearray = field(default_factory=bytearray)
    lasting: bytes = b""
    pending: list[Step] = field(default_factory=list)
    names: dict[str, _Node] | None = None
    lasting_names: dict[str, _Node] = field(default_factory=dict)


class Disk:
    """Begins as the folder `root` is, all of it lasting."""

    def __init__(self, root: Path) -> None:
        self._root = _read(root)

    def play(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if step.what != "said":
                getattr(self, f"_{step.what}")(step)

    def lay_out(self, folder: Path, unsynced: str = DURABLE, seed: int = 0) -> None:
        """What a crash now would leave."""
        _write(self._root, folder, unsynced, random.Random(seed))

    def _node(self, path: str) -> _Node:
        node = self._root
        for part in PurePath(path).parts:
            assert node.names is not None
            node = node.names[part]
        return node

    def _names(self, path: str) -> dict[str, _Node]:
        names = self._node(str(PurePath(path).parent)).names
        assert names is not None
        return names

    def _create(self, step: Step) -> None:
        self._names(step.path)[PurePath(step.path).name] = _Node()

    def _make_folder(self, step: Step) -> None:
        self._names(step.path)[PurePath(step.path).name] = _Node(names={})

    def _write(self, step: Step) -> None:
        node = self._node(step.path)
        _apply(node.content, step)
        node.pending.append(step)

    _truncate = _write

    def _sync(self, step: Step) -> None:
        node = self._node(step.path)
        node.lasting = bytes(node.content)
        node.pending.clear()

    def _sync_folder(self, step: Step) -> None:
        node = self._node(step.path)
        assert node.names is not None
        node.lasting_names = dict(node.names)

    def _link(self, step: Step) -> None:
        self._names(step.target)[PurePath(step.target).name] = self._node(step.path)

    def _rename(self, step: Step) -> None:
        self._link(step)
        self._unlink(step)

    def _unlink(self, step: Step) -> None:
        self._names(step.path).pop(PurePath(step.path).name, None)


def _apply(content: bytearray, step: Step) -> None:
    if step.what == "truncate":
        del content[step.offset :]
        return
    content.extend(bytes(max(0, step.offset - len(content))))
    content[step.offset : step.offset + len(step.data)] = step.data


def _read(path: Path) -> _Node:
    if path.is_dir():
        names = {entry.name: _read(entry) for entry in path.iterdir() if not entry.name.endswith("-shm")}
        return _Node(names=names, lasting_names=dict(names))
    content = path.read_bytes()
    return _Node(content=bytearray(content), lasting=content)


def _write(node: _Node, path: Path, unsynced: str, chance: random.Random) -> None:
    if node.names is None:
        content = bytearray(node.content if unsynced == KEPT else node.lasting)
        if unsynced == TORN:
            for step in node.pending:
                if chance.random() < 0.5:
                    _apply(content, step)
        path.write_bytes(content)
        return
    path.mkdir()
    names = node.names if unsynced == KEPT else dict(node.lasting_names)
    if unsynced == TORN:
        for name in sorted(node.names.keys() | node.lasting_names.keys()):
            if node.names.get(name) is not node.lasting_names.get(name) and chance.random() < 0.5:
                names.pop(name, None)
                if name in node.names:
                    names[name] = node.names[name]
    for name, child in names.items():
        _write(child, path / name, unsynced, chance)
