"""A warmed process whose forks run the real command: thousands of starts are cheap.

The parent side is `WarmedProcess`; run as a module, this file is the process itself. It reads
one JSON line of tasks, forks a child for each, kills those it is told to kill, and
answers how each ended.
"""

import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.command import environment


@dataclass(frozen=True, slots=True)
class Task:
    """Commands that one child runs, one after the other.

    A command whose first word has a colon is a function `module:name` of the tests,
    called with the other words. `kill_after`: SIGKILL so many seconds later.
    """

    argvs: Sequence[Sequence[str]]
    env: Mapping[str, str]
    out: Path | str = os.devnull
    kill_after: float | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its worst exit code, or minus the signal that killed it."""

    code: int
    seconds: float


@dataclass(slots=True)
class WarmedProcess:
    """The warmed process, as a context manager."""

    _process: "subprocess.Popen[str]" = field(init=False)

    def __enter__(self) -> Self:
        """Start it and wait until everything is imported."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.proof.warmed"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment({}),
        )
        assert self._line() == "ready"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let it end."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def run(self, *tasks: Task) -> list[Ended]:
        """Run tasks at the same time; return how each ended, in their order."""
        assert self._process.stdin
        asked = json.dumps([asdict(task) for task in tasks], default=str)
        self._process.stdin.write(asked + "\n")
        self._process.stdin.flush()
        return [Ended(**ended) for ended in self._line()]

    def warm(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Run a command in the process itself, so that forks find all imported."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"argv": argv, "env": dict(env)}) + "\n")
        self._process.stdin.flush()
        assert 0 == self._line()

    def _line(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


def _main() -> None:
    import bgresp.cli.app

    # Reading every verb's signature takes longer than a submit: once is enough.
    built = bgresp.cli.app.build().whole()
    vars(bgresp.cli.app)["build"] = lambda *_: built
    _answer("ready")
    for line in sys.stdin:
        asked = json.loads(line)
        answer = _warm(asked) if isinstance(asked, dict) else _serve(asked)
        _answer(answer)


def _answer(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _warm(asked: dict[str, Any]) -> int:
    os.environ.update(asked["env"])
    shown, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    code = _call(asked["argv"])
    os.dup2(shown, 1)
    os.close(shown)
    os.close(null)
    gc.collect()
    gc.freeze()
    return code


def _serve(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    started = time.monotonic()
    pids = [_fork(task) for task in tasks]
    ends: dict[int, dict[str, Any]] = {}
    kills = sorted(
        (started + task["kill_after"], pid)
        for task, pid in zip(tasks, pids, strict=True)
        if task["kill_after"] is not None
    )
    for moment, pid in kills:
        select.select([], [], [], max(0.0, moment - time.monotonic()))
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        seconds = time.monotonic() - started
        code = os.waitstatus_to_exitcode(status)
        ends[pid] = {"code": code, "seconds": seconds}
    return [ends[pid] for pid in pids]


def _fork(task: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        _redirect(task["out"])
        os.environ.update(task["env"])
        code = max(_call(argv) for argv in task["argvs"])
        sys.stdout.flush()
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode())
        raise
    finally:
        os._exit(code)


def _redirect(out: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for fd, name in ((0, os.devnull), (1, out), (2, _err_of(out))):
        opened = os.open(name, os.O_RDONLY if fd == 0 else flags, 0o600)
        os.dup2(opened, fd)
        os.close(opened)


def _err_of(out: str) -> str:
    return out if out == os.devnull else f"{out}.err"


def _call(argv: list[str]) -> int:
    module, mark, name = argv[0].partition(":")
    if mark:
        function: Callable[..., int] = getattr(importlib.import_module(module), name)
        return function(*argv[1:])
    from bgresp.cli.main import run

    return run(argv)


if __name__ == "__main__":
    _main()
