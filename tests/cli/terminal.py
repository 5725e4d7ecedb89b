"""The command on a pseudo-terminal of its own, and what its screen shows."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyte

from tests.cli.processes import Opening, Process
from tests.command import DEADLINE, Changes, environment
from tests.render.screens import Screen

COLUMNS, ROWS = 140, 24
# What a live view writes beside text: its lines, between a save and a restore of the
# cursor; room for them, their removal, the cursor's hiding.
_PINNED = re.compile(
    rb"\x1b7.*?\x1b8|\r?\x1b\[J|\x1b(D|\[\d*[AB]|\[\?25[hl])", re.DOTALL
)
# A shell's part: a session of its own, whose terminal stdin is.
_SESSION = (
    "import fcntl, os, sys, termios; os.setsid();"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


def in_session(argv: Sequence[str], /, **more: Any) -> Process:
    """Start an argv in a session of its own, whose terminal its stdin is."""
    return subprocess.Popen([sys.executable, "-c", _SESSION, *argv], **more)


class Terminal:
    """A command whose terminal is ours; `piped`: its stdout is a pipe all the same."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Changes,
        cwd: Path,
        *,
        piped: bool = False,
        size: tuple[int, int] = (COLUMNS, ROWS),
        opening: Opening = in_session,
    ) -> None:
        columns, rows = size
        self.screen = Screen(columns, rows)
        self.raw = bytearray()
        self.out = bytearray()
        self._parser = pyte.ByteStream(self.screen)
        self._changed = threading.Condition()
        self._master, slave = pty.openpty()
        self._wake = os.pipe()
        packed = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, packed)
        self.process = opening(
            argv,
            stdin=slave,
            stdout=subprocess.PIPE if piped else slave,
            stderr=slave,
            cwd=cwd,
            env=environment(env),
        )
        os.close(slave)
        self._readers = [threading.Thread(target=self._show, daemon=True)]
        if piped:
            self._readers.append(threading.Thread(target=self._collect, daemon=True))
        for reader in self._readers:
            reader.start()

    @property
    def lines(self) -> list[str]:
        """Return what the screen shows, without empty lines."""
        with self._changed:
            return [line.rstrip() for line in self.screen.display if line.strip()]

    @property
    def spoken(self) -> bytes:
        """Return what was written, without what a live view draws below it."""
        with self._changed:
            return _PINNED.sub(b"", bytes(self.raw))

    @property
    def echoes(self) -> bool:
        """Say whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    def until(self, condition: Callable[["Terminal"], bool]) -> None:
        """Wait until something holds of the screen or of the output."""
        deadline = time.monotonic() + DEADLINE
        with self._changed:
            while not condition(self):  # it may be of more than the output
                seen = f"{self.screen.display} {bytes(self.raw)!r}"
                assert time.monotonic() < deadline, f"never seen: {seen}"
                self._changed.wait(0.05)

    def shows(self, text: str) -> bool:
        """Say whether the screen shows a text."""
        return any(text in line for line in self.screen.display)

    def type(self, keys: bytes) -> None:
        """Type on the terminal's keyboard."""
        os.write(self._master, keys)

    def hang_up(self) -> None:
        """Close the terminal, as its window or its line is closed."""
        os.write(self._wake[1], b"x")  # the reader must let go of it first
        self._readers[0].join(DEADLINE)
        os.close(self._master)
        self._master = -1

    def finish(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        return code

    def close(self) -> None:
        """Leave nothing running and nothing open."""
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(DEADLINE)
        for fd in {self._master, *self._wake} - {-1}:
            os.close(fd)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _show(self) -> None:
        while (
            self._wake[0] not in select.select([self._master, self._wake[0]], [], [])[0]
        ):
            try:
                piece = os.read(self._master, 65536)
            except OSError:  # Linux's way to say that nobody has it open any more
                return
            with self._changed:
                self.raw += piece
                self._parser.feed(piece)
                self._changed.notify_all()

    def _collect(self) -> None:
        assert self.process.stdout is not None
        while piece := os.read(self.process.stdout.fileno(), 65536):
            with self._changed:
                self.out += piece
                self._changed.notify_all()


class Terminals(Protocol):
    """What the fixture `terminal` is."""

    def __call__(
        self,
        *args: str,
        env: Changes | None = None,
        piped: bool = False,
        size: tuple[int, int] = (COLUMNS, ROWS),
        before: str = "",
        forked: bool = True,
    ) -> Terminal:
        """Start `bgresp ARGS` on a terminal of its own, after a shell's command.

        Not forked: from its argv, by the shell that ran the command before.
        """
