"""How far a job was read and shown: one small append-only file a job.

Several watchers may write at once: each writes lines of its own, and the furthest one
counts.
"""

import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bgresp.core.signals import Cursor
from bgresp.ledger import files


@dataclass(frozen=True, slots=True)
class Shown:
    """What reached stdout, and the cursor of the last event behind it.

    `ended`: the true end was written too, with its newline.
    """

    text: str = ""
    cursor: Cursor | None = None
    ended: bool = False


@dataclass(slots=True)
class Progress:
    """One watcher's notes of one job.

    `is_kept` says before the first one whether the job is in the ledger at all.
    """

    path: Path
    is_kept: Callable[[], bool] = lambda: True
    writer: str = field(default_factory=lambda: secrets.token_hex(4))
    _written: bool = False

    def note(self, added: str, cursor: Cursor | None, *, sync: bool = False) -> None:
        """Note text that was written to stdout since the last note.

        Raises LedgerError.
        """
        line = {"w": self.writer, "add": added, "cursor": cursor}
        self._append(line, sync=sync)

    def begin(self, shown: Shown) -> None:
        """Note where this watcher starts: after what an earlier one had shown."""
        if shown.text or shown.cursor is not None:
            self.note(shown.text, shown.cursor)

    def end(self, length: int) -> None:
        """Note that the true end was written."""
        self._append({"w": self.writer, "ended": length}, sync=True)

    def _append(self, line: Mapping[str, Any], *, sync: bool) -> None:
        if not (self.path.exists() if self._written else self.is_kept()):
            return  # the job was forgotten meanwhile
        data = json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"
        fd = files.open_append(self.path)
        try:
            with files.blamed(self.path, "append to"):
                size = os.fstat(fd).st_size if not self._written else 0
                torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
                files.write_all(fd, b"\n" + data if torn else data)
                self._written = True
                if sync:
                    files.sync_data(fd)
        finally:
            os.close(fd)


def load(path: Path) -> Shown:
    """Return how far the furthest watcher came; nothing where none wrote."""
    raw = files.read(path)
    if not raw:
        return Shown()
    writers: dict[str, Shown] = {}
    for line in raw.split(b"\n")[:-1]:
        _fold(writers, line)
    return max(writers.values(), key=lambda s: (s.ended, len(s.text)), default=Shown())


def _fold(writers: dict[str, Shown], line: bytes) -> None:
    try:
        note = json.loads(line)
        writer = str(note["w"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    old = writers.get(writer, Shown())
    if "ended" in note:
        writers[writer] = Shown(old.text, old.cursor, ended=True)
    elif isinstance(note.get("add"), str):
        writers[writer] = Shown(old.text + note["add"], note.get("cursor"))
