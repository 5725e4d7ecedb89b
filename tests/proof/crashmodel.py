"""A file system's memory: what was written, what was synced, and what a crash leaves.

The model is ext4's, at its meanest: names change in order, and are durable when their
folder was synced; bytes that were not synced may be missing, torn anywhere, zero, or
have a block of zeros among them. RELIABILITY.md 2.2 has the sources.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.proof.osface import Call

BLOCK = 128  # files here are small, so are blocks: 4096 in the world


@dataclass(slots=True)
class File:
    """One inode: bytes as the program sees them, and as they were last synced."""

    now: bytes = b""
    synced: bytes = b""

    def after(self, kind: str, at: int) -> bytes:
        """Return what a crash leaves of it; `at` counts the unsynced bytes kept."""
        kept = len(self.synced) if self.now.startswith(self.synced) else 0
        cut = min(kept + at, len(self.now))
        match kind:
            case "torn":
                return self.now[:cut]
            case "zeros":
                return self.now[:cut] + bytes(len(self.now) - cut)
            case _:  # a hole: one block of the unsynced bytes never arrived
                end = min(cut + BLOCK, len(self.now))
                return self.now[:cut] + bytes(end - cut) + self.now[end:]

    @property
    def pending(self) -> int:
        """Return how many bytes were not synced."""
        if self.now == self.synced:
            return 0
        return len(self.now) - (
            len(self.synced) if self.now.startswith(self.synced) else 0
        )


Names = dict[str, File]


@dataclass(slots=True)
class Disk:
    """What a folder's calls have done so far. A name is relative to the folder."""

    root: Path
    names: Names = field(default_factory=dict)
    history: list[Names] = field(default_factory=lambda: [{}])
    touched: list[set[str]] = field(default_factory=list)
    durable: int = 0

    def take(self, call: Call) -> Any:
        """Make a call and remember what it did."""
        name = self._name(call.path)
        fresh = name not in self.names
        result = call.make()
        match call.name:
            case "open" if fresh and call.args[1] & os.O_CREAT:
                self._renamed({**self.names, name: File()}, name)
            case "write":
                self.names[name].now += bytes(call.args[1][:result])
            case "fsync" | "fdatasync":
                self._synced(name)
            case "replace" | "rename":
                other = self._name(Path(os.fsdecode(call.args[1])))
                names = {k: v for k, v in self.names.items() if k != name}
                self._renamed({**names, other: self.names[name]}, name, other)
            case "unlink":
                left = {k: v for k, v in self.names.items() if k != name}
                self._renamed(left, name)
            case "truncate" | "ftruncate":
                self.names[name].now = self.names[name].now[: call.args[1]]
        return result

    def states(self) -> Iterator[Mapping[str, bytes]]:
        """Yield what a crash at this moment may leave: each file's bytes."""
        for names in self.history[self.durable :]:
            unsynced = [
                name
                for name, file in names.items()
                if file.pending and ".tmp-" not in name  # nobody reads it yet
            ]
            yield {name: file.now for name, file in names.items()}
            for name in unsynced:
                for kind, at in _damages(names[name]):
                    left = {n: f.now for n, f in names.items()}
                    yield {**left, name: names[name].after(kind, at)}
            yield {name: file.after("torn", 0) for name, file in names.items()}
            yield {name: file.after("zeros", 0) for name, file in names.items()}

    def _synced(self, name: str) -> None:
        file = self.names.get(name)
        if file is not None:
            file.synced = file.now
            return
        for number in range(len(self.touched), self.durable, -1):
            if name in self.touched[number - 1]:
                self.durable = number
                return

    def _renamed(self, names: Names, *changed: str) -> None:
        self.names = names
        self.history.append(names)
        self.touched.append({str(Path(name).parent) for name in changed})

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.root))


def _damages(file: File) -> Iterator[tuple[str, int]]:
    for at in range(file.pending):
        yield "torn", at
    for at in range(0, file.pending, BLOCK // 2):
        yield "zeros", at
        yield "hole", at
