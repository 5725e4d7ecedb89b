"""The real command as a process without the cost of a start: forked, imports done.

A process that has imported everything forks a child for each command, gives it
the test's environment, folder and files as stdin, stdout and stderr, and reports its
end. A start costs half a second otherwise, and there are hundreds.
"""

import gc
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests import hastyclock
from tests.command import DEADLINE, ROOT, Changes, Ran, Run, environment

_LOADED = (
    *("bgresp.cli.app", "bgresp.cli.following"),
    *("bgresp.cli.refs", "bgresp.api.client"),
    # What a command loads with its first request costs ten times the rest of it.
    *("bgresp.cli.main", "bgresp.ledger.upkeep", "httpcore"),
    *("certifi", "anyio._backends._asyncio", "encodings.idna", "h11"),
)


class Mother:
    """A mother process and the line to it."""

    def __init__(self, frozen: float | None = None, env: Changes | None = None) -> None:
        """Start with changes of the environment, of use to what Python starts with.

        `frozen` is what the children's clock shows for ever.
        """
        clock = [] if frozen is None else [str(frozen)]
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.settimeout(DEADLINE)
        with theirs:
            self._mother = subprocess.Popen(
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
        self, args: tuple[str, ...], env: dict[str, str], stdin: bytes, cwd: Path
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
        self, files: list[int], args: tuple[str, ...], env: dict[str, str], cwd: Path
    ) -> int:
        """Run `bgresp ARGS` with these as stdin, stdout and stderr; return its code."""
        asked = json.dumps({"args": args, "env": env, "cwd": str(cwd)})
        socket.send_fds(self._line, [asked.encode()], files)
        return int(self._line.recv(64))

    def close(self) -> None:
        """End the mother; her children have ended."""
        self._line.close()
        self._mother.wait(DEADLINE)


def runner(mother: Mother, chosen: Changes, folder: Path) -> Run:
    """Return what runs a command with variables, in a folder if none is said."""

    def go(
        *args: str,
        env: Changes | None = None,
        stdin: str | bytes | None = None,
        cwd: Path | None = None,
    ) -> Ran:
        merged = environment({**chosen, **(env or {})})
        given = stdin.encode() if isinstance(stdin, str) else stdin or b""
        return mother.run(args, merged, given, cwd or folder)

    return go


def _all_of(file: Any) -> bytes:
    file.seek(0)
    read: bytes = file.read()
    return read


def _serve(line: socket.socket) -> None:
    line.send(b"ready")
    while True:
        asked, files, _, _ = socket.recv_fds(line, 1 << 20, 3)
        if not asked:
            return
        child = os.fork()
        if child == 0:
            line.close()
            _become(json.loads(asked), files)
        for file in files:
            os.close(file)
        _, status = os.waitpid(child, 0)
        line.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(asked: dict[str, Any], files: list[int]) -> None:
    """Be `bgresp ARGS` from its first line on; never return."""
    for wanted, file in enumerate(files):
        os.dup2(file, wanted)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
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


if __name__ == "__main__":
    from importlib import import_module

    if len(sys.argv) > 2:
        frozen = float(sys.argv[2])
        time.time = lambda: frozen  # before anybody keeps a reference to it
    for name in _LOADED:
        import_module(name)
    import_module("bgresp.cli.app").build().whole()
    dict(import_module("bgresp.config.files").built_in())  # each is parsed once
    gc.freeze()  # else every child copies every page that it collects
    _serve(socket.socket(fileno=int(sys.argv[1])))
