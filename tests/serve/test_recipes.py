"""The recipes of `bgresp help local-endpoint`, run as they stand."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from bgresp.serve import daemon
from tests.pages import fenced, page
from tests.serve.endpoints import DEADLINE, Launch, wait_until

TOPIC = "local-endpoint"
PORT = "8080"


def recipe(language: str, *words: str) -> str:
    """Return the one block of the topic in which all words occur."""
    (found,) = (
        text
        for written, text in fenced(page(TOPIC))
        if written == language and all(word in text for word in words)
    )
    return found


def address(state: Path) -> str:
    running = daemon.find(state)
    assert running is not None
    return daemon.page_url(running).rstrip("/")


@pytest.mark.proof
def test_the_openai_sdk(launch: Launch, state: Path, tmp_path: Path) -> None:
    """The SDK's recipe prints the answer of the endpoint that it names."""
    launch("--pace", "0.001")
    text = recipe("python", "from openai import")
    assert f"http://127.0.0.1:{PORT}" in text
    script = tmp_path / "ask.py"
    script.write_text(text.replace(f"http://127.0.0.1:{PORT}", address(state)))
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
        check=False,
    )
    assert (0, True) == (done.returncode, "Why is the sky blue?" in done.stdout)


def test_the_unit_is_one(tmp_path: Path) -> None:
    """Systemd has nothing to say of the unit, and bgresp has what it starts."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("apt-get install systemd")
    program = tmp_path / ".local" / "bin" / "bgresp"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    unit = tmp_path / "bgresp-serve.service"
    unit.write_text(recipe("ini", "ExecStart"))
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)],
        env={**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_the_units_command_serves_its_socket(
    launch: Launch, state: Path, tmp_path: Path
) -> None:
    """What the unit starts listens on a private unix socket, and takes it away again.

    A socket that a killed server left is no obstacle; anything else of that name is.
    """
    (line,) = (
        line
        for line in recipe("ini", "ExecStart").splitlines()
        if line.startswith("ExecStart=")
    )
    words = line.replace("%t", str(tmp_path)).replace(PORT, "0").split()
    assert ["serve", "--port", "0", "--uds"] == words[1:5]
    path = Path(words[5])
    path.parent.mkdir()  # RuntimeDirectory=
    killed = launch(*words[2:])
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    killed.kill()
    killed.wait()
    assert path.is_socket()
    process = launch(*words[2:], ready=False)
    wait_until(lambda: daemon.find(state) and _answers(path))
    process.terminate()
    assert 0 == process.wait(DEADLINE)
    assert [] == list(path.parent.iterdir())
    path.write_text("mine")
    refused = launch(*words[2:], ready=False)
    assert refused.wait(DEADLINE) != 0
    assert refused.stderr is not None
    assert f"cannot listen on {path}: it is no socket" in refused.stderr.read()
    assert "mine" == path.read_text()


def _answers(path: Path) -> bool:
    transport = httpx.HTTPTransport(uds=str(path))
    with httpx.Client(transport=transport, base_url="http://localhost") as client:
        return client.get("/v1/responses").status_code == 200
