"""The real command as a process without the cost of a start: forked, imports done.

A process that has imported everything forks a child for each command, gives it
the test's environment, folder and files as stdin, stdout and stderr, and reports its
end. A start costs a third of a second otherwise, and there are hundreds.
"""

import fcntl
import gc
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tests import command, hastyclock
from tests.command import DEADLINE, ROOT, Changes, Ran, Run, environment

_LOADED = (
    *("bgresp.cli.app", "bgresp.cli.following"),
    *("bgresp.cli.refs", "bgresp.api.client"),
    # What a command loads with its first request costs ten times the rest of it.
    *("bgresp.cli.main", "bgresp.ledger.upkeep", "httpcore"),
    *("certifi", "anyio._backends._asyncio", "encodings.idna", "h11"),
    *("bgresp.__main__", "bgresp.engine.resubmit", "bgresp.cli.commands.submit"),
    *("bgresp.cli.batch_output", "concurrent.futures.thread"),
    "typer._click.decorators",
)


# What Python reads as it starts: a child that was forked would not mind it.
_READ_AT_START = re.compile("PYTHON.*|LC_.*|LANG")


def is_read_at_start(env: Changes) -> bool:
    """Say whether a command with these variables must be started, not forked."""
    return any(map(_READ_AT_START.fullmatch, env))


class Child:
    """A command that was forked, as `subprocess.Popen` shows one that was started."""

    def __init__(
        self,
        argv: Sequence[str],
        line: socket.socket,
        *,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
    ) -> None:
        """Take the line on which the child's id comes, and later its exit code."""
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.returncode: int | None = None
        self._argv, self._line = argv, line
        self.pid = int(self._read(DEADLINE))

    def poll(self) -> int | None:
        """Return the exit code, if it has one."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; a negative one is a signal's."""
        if self.returncode is None:
            self.returncode = int(self._read(timeout))
            self._line.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to a child that has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _read(self, timeout: float | None) -> bytes:
        if not select.select([self._line], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self._argv, timeout or 0)
        return self._line.recv(64)


class ForkServer:
    """A process that forks, and the line to it."""

    def __init__(self, frozen: float | None = None, env: Changes | None = None) -> None:
        """Start with changes of the environment, of use to what Python starts with.

        `frozen` is what the children's clock shows for ever.
        """
        clock = [] if frozen is None else [str(frozen)]
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.settimeout(DEADLINE)
        with theirs:
            self._server = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.cli.forked",
                    str(theirs.fileno()),
                    *clock,
                ],
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=environment(env or {}),
                pass_fds=[theirs.fileno()],
            )
        assert b"ready" == self._line.recv(64), "see stderr"

    def run(
        self, args: Sequence[str], env: Mapping[str, str], stdin: bytes, cwd: Path
    ) -> Ran:
        """Run `bgresp ARGS` in a child of its own to its end."""
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            given.write(stdin)
            given.seek(0)
            files = [file.fileno() for file in (given, out, err)]
            code = self.run_on(files, args, env, cwd)
            return Ran(code, _all_of(out), _all_of(err))

    def run_on(
        self,
        files: Sequence[int],
        args: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
    ) -> int:
        """Run `bgresp ARGS` with these as stdin, stdout and stderr; return its code."""
        asked = {"args": args, "env": env, "cwd": str(cwd)}
        return Child(args, self._ask(asked, files)).wait(DEADLINE)

    def open(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdin: int,
        stdout: int,
        stderr: int,
        session: bool = False,
        before: str = "",
    ) -> Child:
        """Start the argv of `bgresp ARGS` as `subprocess.Popen` would.

        `session`: stdin is the terminal of a session of its own. A shell's command may
        run on it before.
        """
        python = command.command()
        assert python == [*argv[: len(python)]], "nothing but bgresp can be forked"
        asked: dict[str, Any] = {"args": argv[len(python) :], "env": env}
        asked |= {"cwd": str(cwd), "session": session, "before": before}
        theirs, ours = [stdin, stdout, stderr], [-1, -1, -1]
        for at, file in enumerate(theirs):
            if file == subprocess.PIPE:
                ends = os.pipe()
                theirs[at], ours[at] = ends if at == 0 else ends[::-1]
        line = self._ask(asked, theirs)
        for end, file in zip(theirs, ours, strict=True):
            if file >= 0:
                os.close(end)
        given, out, err = (
            None if file < 0 else open(file, mode, buffering=0)  # noqa: PTH123, SIM115
            for file, mode in zip(ours, ("wb", "rb", "rb"), strict=True)
        )
        return Child(argv, line, stdin=given, stdout=out, stderr=err)

    def close(self) -> None:
        """End the process; its children have ended."""
        self._line.close()
        self._server.wait(DEADLINE)

    def _ask(self, asked: Mapping[str, Any], files: Sequence[int]) -> socket.socket:
        """Let her fork a child; return the line on which she tells of it."""
        line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            data = json.dumps(asked).encode()
            socket.send_fds(self._line, [data], [*files, theirs.fileno()])
        return line


def runner(fork_server: ForkServer, chosen: Changes, folder: Path) -> Run:
    """Return what runs a command with variables, in a folder if none is said."""

    def go(
        *args: str,
        env: Changes | None = None,
        stdin: str | bytes | None = None,
        cwd: Path | None = None,
    ) -> Ran:
        merged = environment({**chosen, **(env or {})})
        given = stdin.encode() if isinstance(stdin, str) else stdin or b""
        return fork_server.run(args, merged, given, cwd or folder)

    return go


def _all_of(file: Any) -> bytes:
    file.seek(0)
    read: bytes = file.read()
    return read


def _serve(line: socket.socket) -> None:
    ended, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # else nothing is written there
    running: dict[int, socket.socket] = {}
    line.send(b"ready")
    while True:
        ready, _, _ = select.select([line.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _tell_ends(running)
        if line.fileno() in ready:
            asked, files, _, _ = socket.recv_fds(line, 1 << 20, 4)
            if not asked:
                return
            child = os.fork()
            if child == 0:
                _become(json.loads(asked), files[:3])
            for file in files[:3]:
                os.close(file)
            running[child] = socket.socket(fileno=files[3])
            running[child].send(str(child).encode())


def _tell_ends(running: dict[int, socket.socket]) -> None:
    """Tell of each child that has ended."""
    while running:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        with running.pop(child) as line, suppress(OSError):  # nobody may listen
            line.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(asked: dict[str, Any], files: list[int]) -> None:
    """Be `bgresp ARGS` from its first line on; never return."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for wanted, file in enumerate(files):
        os.dup2(file, wanted)
    os.closerange(3, 1 << 16)  # the fork server's
    if asked.get("session"):
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    if before := asked.get("before"):
        os.system(before)  # noqa: S605  a test's
    # As Python opens them: by what they are now.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv = ["bgresp", *asked["args"]]
    if scale := os.environ.pop(hastyclock.VARIABLE, ""):
        hastyclock.hurry(float(scale))
    from bgresp.__main__ import main

    code = 0
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    os._exit(code)  # without the tidying up of a whole interpreter


def _warm() -> None:
    """Run commands in the fork server, against nobody, for what the first run costs."""
    from bgresp.cli.main import run

    kept, files = dict(os.environ), [os.dup(1), os.dup(2)]
    with open(os.devnull, "w") as null, tempfile.TemporaryDirectory() as folder:  # noqa: PTH123
        for fd in (1, 2):
            os.dup2(null.fileno(), fd)
        os.environ |= {"HOME": folder, "BGRESP_STATE_DIR": f"{folder}/state"}
        os.environ |= {"BGRESP_CONFIG": command.empty_config(Path(folder, "config"))}
        os.environ |= {"BGRESP_BASE_URL": "http://127.0.0.1:1", "BGRESP_API_KEY": "k"}
        for words in ("submit -t x -m m --watch", "status @1", "get @1", "list --json"):
            for _ in range(2):  # Python does well what it has done twice
                run(words.split())
    for fd, file in zip((1, 2), files, strict=True):
        os.dup2(file, fd)
        os.close(file)
    os.environ.clear()
    os.environ |= kept
    tempfile.tempdir = None  # what TMPDIR said here is not what it says to a child
    assert 1 == threading.active_count(), "a thread is not forked"


if __name__ == "__main__":
    from importlib import import_module

    if len(sys.argv) > 2:
        frozen = float(sys.argv[2])
        time.time = lambda: frozen  # before anybody keeps a reference to it
    for name in _LOADED:
        import_module(name)
    import_module("bgresp.cli.app").build().whole()
    _warm()
    gc.collect()
    gc.freeze()  # else every child copies every page that it collects
    _serve(socket.socket(fileno=int(sys.argv[1])))
