"""The recipes of `bgresp help webhooks`, run as they stand."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.cli.ledger import note, seed
from tests.cli.processes import Started
from tests.command import Run, command
from tests.fakeserver import FakeServer
from tests.pages import fenced, page
from tests.units import complaints
from tests.webhooks import SECRET, deliver

# What systemd does: the sockets are the first descriptors, meant for this process.
SYSTEMD = (
    "import os, sys; fds = sys.argv[1].split(','); "
    "[os.dup2(int(fd), 3 + n) for n, fd in enumerate(fds)]; "
    "os.environ.update(LISTEN_FDS=str(len(fds)), LISTEN_PID=str(os.getpid())); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)


def recipe(language: str, holds: str) -> str:
    """Return the one block of a language that holds some words."""
    blocks = [text for written, text in fenced(page("webhooks")) if written == language]
    (found,) = [block for block in blocks if holds in block]
    return found


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize(
    ("title", "tool", "said"),
    [
        ("notice on the desktop", "notify-send", "bgresp: completed"),
        ("mail with the answer", "mail", "the answer"),
    ],
)
def test_a_hook_tells(
    bgresp: Run, state: Path, tmp_path: Path, title: str, tool: str, said: str
) -> None:
    """The program of the recipe says what became of the job."""
    seed(state, {"status": "completed", "text": "the answer"})
    tools = tmp_path / "bin"
    tools.mkdir()
    reads = "; cat" if tool == "mail" else ""
    program(tools, tool, f'#!/bin/sh\n(echo "$@"{reads}) >> {tmp_path}/told\n')
    ours = " ".join(command("get"))
    program(tools, "bgresp", f'#!/bin/sh\nshift; exec {ours} "$@"\n')
    (tools / "python3").symlink_to(sys.executable)
    hook = program(tmp_path, "hook", recipe("python", title))
    env = {"PATH": f"{tools}:{os.environ['PATH']}"}
    ran = bgresp("wait", "--all", "--notify", str(hook), env=env)
    assert (0, "") == (ran.code, ran.err)
    assert said in (tmp_path / "told").read_text()


def test_a_hook_tells_a_chat_room(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """The program of the recipe posts a message to the room's address."""
    seed(state, {"status": "failed", "text": ""})
    hook = program(tmp_path, "hook", recipe("python", "chat room"))
    env = {"CHAT_URL": f"{server.base_url}/responses"}
    bgresp("wait", "--all", "--notify", str(hook), env=env)
    (said,) = server.requests
    assert {"text": said.json["text"]} == said.json
    assert ": failed" in json.dumps(said.json)


def test_the_units_are_some(tmp_path: Path) -> None:
    """Systemd has nothing to say of the units, the user's and the system's."""
    service, sock = recipe("ini", "ExecStart"), recipe("ini", "127.0.0.1")
    units = {"bgresp-listen.service": service, "bgresp-listen.socket": sock}
    assert "" == complaints(tmp_path, units)
    units["bgresp-listen.service"] = "[Service]\nUser=root\nExecStart=/bin/true\n"
    units["bgresp-listen.socket"] = recipe("ini", "SocketGroup")
    assert "" == complaints(tmp_path, units, user=False)


def test_systemd_may_open_the_socket(
    server: FakeServer, state: Path, tmp_path: Path, chosen: dict[str, str]
) -> None:
    """A socket that was handed over is listened on, as a unit's ListenStream is."""
    seed(state, {"status": "completed", "text": "x"}, server=server)
    note(state, server.base_url)
    with socket.create_server(("127.0.0.1", 0)) as handed:
        handed.set_inheritable(True)
        url = f"http://127.0.0.1:{handed.getsockname()[1]}/"
        words = command("listen", "--secret-env", "SECRET", "--port", "1")
        fds = (handed.fileno(),)
        argv = [sys.executable, "-c", SYSTEMD, str(handed.fileno()), *words]
        started = Started(
            argv,
            {**chosen, "SECRET": SECRET},
            tmp_path,
            opening=partial(subprocess.Popen, pass_fds=fds),
        )
        try:
            started.until(f"listening on {url}".encode(), "err")
            assert 200 == deliver(url, f"resp_{1:032x}")
            assert 0 == started.finish(signal.SIGTERM).code
        finally:
            started.close()


def test_every_address_of_systemd_needs_a_secret(
    tmp_path: Path, chosen: dict[str, str]
) -> None:
    """One address of several that others reach is not listened on without a secret."""
    with ExitStack() as sockets:
        hosts = ("127.0.0.1", "0.0.0.0")  # noqa: S104
        handed = [sockets.enter_context(socket.create_server((h, 0))) for h in hosts]
        fds = tuple(one.fileno() for one in handed)
        argv = [sys.executable, "-c", SYSTEMD, ",".join(map(str, fds))]
        started = Started(
            [*argv, *command("listen")],
            chosen,
            tmp_path,
            opening=partial(subprocess.Popen, pass_fds=fds),
        )
        try:
            ran = started.finish()
        finally:
            started.close()
        assert (4, True) == (ran.code, "needs a secret" in ran.err), ran.err
