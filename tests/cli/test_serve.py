"""`bgresp serve`: the local endpoint in the foreground, and stopping it."""

import json
import re
import signal
import socket
from pathlib import Path

import httpx

from tests.cli.processes import Start, eventually
from tests.command import Run


def answers(base_url: str) -> bool:
    """Say whether an endpoint has begun to answer."""
    with httpx.Client(trust_env=False) as client:
        return client.get(f"{base_url}/responses").status_code == 200


def test_it_greets_a_machine_in_json(start: Start, run: Run) -> None:
    """With --json where it listens is a note like every other."""
    serving = start("serve", "--port", "0", "--json")
    note = json.loads(serving.until(b"\n", "err"))
    assert "bgresp.note/1" == note["schema"]
    assert note["message"].startswith("listening on http://127.0.0.1:")
    assert 0 == run("serve", "--stop").code
    assert 0 == serving.finish().code


def test_it_serves_until_it_is_stopped(start: Start, run: Run, state: Path) -> None:
    """It says where it listens, serves anyone on loopback, and --stop ends it with 0.

    There is one for each state folder: a second one is refused.
    """
    serving = start("serve", "--port", "0")
    said = serving.until(b"\n", "err").decode()
    found = re.fullmatch(r"listening on (http://127\.0\.0\.1:\d+/v1) .*\n", said)
    assert found
    env = {"BGRESP_BASE_URL": found[1], "BGRESP_API_KEY": "anything"}
    ran = run("submit", "-t", "hi", "-m", "any-model", env=env)
    assert (0, 1, "") == (ran.code, ran.out.count("\n"), ran.err)
    local = run("submit", "-t", "hi", "-p", "local", "--stream")
    assert (0, "") == (local.code, local.err)
    second = run("serve")
    assert (2, "", 1) == (second.code, second.out, second.err.count("\n"))
    assert f"already runs for this state folder at {found[1]}" in second.err
    stopped = run("serve", "--stop")
    assert (0, "", "bgresp: stopped\n") == (stopped.code, stopped.out, stopped.err)
    ended = serving.finish()
    assert (0, "", said) == (ended.code, ended.out, ended.err)
    again = run("serve", "--stop")
    assert (0, "bgresp: no local endpoint was running\n") == (again.code, again.err)


def test_ports_that_cannot_be(run: Run, state: Path) -> None:
    """A port that is taken exits 1, one that is none exits 2, each in one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = run("serve", "--port", port)
        assert (1, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
        assert f"cannot listen on 127.0.0.1 port {port}: " in ran.err
    for bad in (["--port", "70000"], ["--port", "http"], ["--idle", "soon"]):
        ran = run("serve", *bad)
        assert (2, "", 1) == (ran.code, ran.out, ran.err.count("\n"))


def test_it_leaves_when_idle_or_asked(start: Start, state: Path) -> None:
    """--idle D ends it by itself, Ctrl-C at once; both exit 0."""
    idle = start("serve", "--idle", "0.2")
    ended = idle.finish()
    assert (0, "", 1) == (ended.code, ended.out, ended.err.count("\n"))
    asked = start("serve")
    greeting = asked.until(b"Ctrl-C stops", "err").decode()
    eventually(lambda: answers(greeting.split()[2]))
    assert 0 == asked.finish(signal.SIGINT).code
    assert not (state / "serve" / "endpoint.json").exists()
