"""Processes of the real command that a test talks with while they run."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from tests.command import DEADLINE, Changes, Ran, command, environment
from tests.fakeserver import FakeServer


def endpoint(server: FakeServer) -> dict[str, str]:
    """Return the variables that lead to a fake server."""
    return {"BGRESP_BASE_URL": server.base_url, "BGRESP_API_KEY": "k"}


def eventually(condition: Callable[[], Any], what: str = "it") -> None:
    """Wait until a condition holds; for what no event announces."""
    deadline = time.monotonic() + DEADLINE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        pause.wait(0.01)


class Each(Protocol):
    """What the fixture `each` is."""

    def __call__(
        self, *commands: Sequence[Any], env: Changes | None = None
    ) -> list[Ran]:
        """Run `bgresp ARGS` for each list of ARGS, one after the other.

        A mapping before the ARGS sets variables.
        """


class Process(Protocol):
    """What is used of a `subprocess.Popen`, and of a child that was forked."""

    pid: int

    @property
    def stdin(self) -> IO[bytes] | None:
        """Return where the process reads, if that is a pipe."""

    @property
    def stdout(self) -> IO[bytes] | None:
        """Return where the process writes, if that is a pipe."""

    @property
    def stderr(self) -> IO[bytes] | None:
        """Return where the process talks, if that is a pipe."""

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; a negative one is a signal's."""

    def send_signal(self, number: int, /) -> None:
        """Send a signal to a process that has not ended."""

    def kill(self) -> None:
        """End it at once."""


class Opening(Protocol):
    """How a process is started: `subprocess.Popen`, or forked."""

    def __call__(
        self,
        argv: Sequence[str],
        /,
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdin: int,
        stdout: int,
        stderr: int,
    ) -> Process:
        """Start an argv; a pipe is asked for as `subprocess` does."""


class Started:
    """A running process whose output is read as it comes."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Changes,
        cwd: Path,
        *,
        opening: Opening = subprocess.Popen,
    ) -> None:
        self.process = opening(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=environment(env),
        )
        self._changed = threading.Condition()
        self._read: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
        self._over = {"out": False, "err": False}
        pipes = {"out": self.process.stdout, "err": self.process.stderr}
        self._readers = [
            threading.Thread(target=self._collect, args=(name, pipe), daemon=True)
            for name, pipe in pipes.items()
            if pipe is not None
        ]
        for reader in self._readers:
            reader.start()

    def until(self, needle: bytes, stream: str = "out") -> bytes:
        """Wait until a stream holds these bytes; return what it holds then."""
        with self._changed:
            self._changed.wait_for(
                lambda: needle in self._read[stream] or self._over[stream], DEADLINE
            )
            assert needle in self._read[stream], f"not on std{stream}: {self._read}"
            return bytes(self._read[stream])

    def finish(self, signal: int | None = None) -> Ran:
        """Send a signal, if any, and wait for the end; return all of the output."""
        if signal is not None:
            self.process.send_signal(signal)
        try:
            code = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs: {self._read}") from None
        for reader in self._readers:
            reader.join(DEADLINE)
        return Ran(code, bytes(self._read["out"]), bytes(self._read["err"]))

    def close(self) -> None:
        """Leave nothing running and nothing open."""
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(DEADLINE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _collect(self, name: str, pipe: IO[bytes]) -> None:
        while piece := os.read(pipe.fileno(), 65536):
            with self._changed:
                self._read[name] += piece
                self._changed.notify_all()
        with self._changed:
            self._over[name] = True
            self._changed.notify_all()


class Start(Protocol):
    """What the fixture `start` is."""

    def __call__(
        self, *args: str, env: Changes | None = None, forked: bool = True
    ) -> Started:
        """Start `bgresp ARGS` against the fake server; not forked: from its argv."""


class Shell(Protocol):
    """What the fixture `shell` is."""

    def __call__(self, script: str, *args: str) -> Ran:
        """Run a POSIX shell script in which "$@" is `bgresp ARGS`."""


class Unread(Protocol):
    """What the fixture `unread` is."""

    def __call__(self, *args: str) -> Ran:
        """Run `bgresp ARGS` with a stdout whose reader is gone."""


def to_nobody(args: Sequence[str], env: Changes, cwd: Path) -> Ran:
    """Run `bgresp ARGS` with a stdout whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            command(*args),
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=DEADLINE,
            check=False,
            cwd=cwd,
            env=environment(env),
        )
    finally:
        os.close(writer)
    return Ran(done.returncode, b"", done.stderr)


def in_shell(script: str, args: Sequence[str], env: Changes, cwd: Path) -> Ran:
    """Run a shell script in which "$@" is `bgresp ARGS`."""
    done = subprocess.run(
        ["sh", "-c", script, "sh", *command(*args)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
        cwd=cwd,
        env=environment(env),
    )
    return Ran(done.returncode, done.stdout, done.stderr)
