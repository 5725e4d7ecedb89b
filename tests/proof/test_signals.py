"""T18: signals detach at every stage; nothing is cancelled, everything is kept."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.ledger import ident, last, seed
from tests.cli.processes import Start, Started
from tests.cli.terminal import Terminal
from tests.command import Changes, command, environment, has_bug
from tests.fakeanswers import (
    HANG,
    End,
    Forever,
    Reply,
    Snapshot,
    Stream,
    as_json,
    refusal,
)
from tests.fakeserver import FakeServer
from tests.fakewire import response_of
from tests.proof.conftest import Figure

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

DETACHING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CUT = Stream(until=8, end=End.HANG)  # up to "fox "
RUNNING = as_json(response_of("in_progress", response_id=ident(1)))


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a command stands when the signal comes, and what must be true then."""

    argv: tuple[str, ...]
    prepare: Callable[[FakeServer, Path], None]
    there: Callable[[FakeServer, Terminal], bool]
    status: str
    says: str


def _refusing(server: FakeServer, state: Path) -> None:
    server.refuse()


def _created(server: FakeServer, state: Path) -> None:
    server.script("create", HANG)


def _streaming(server: FakeServer, state: Path) -> None:
    server.script("create", CUT)


def _open(server: FakeServer, state: Path) -> None:
    seed(state, {"status": "in_progress"}, {"status": "queued"}, server=server)
    server.script("get", Forever(RUNNING))


def _silent(server: FakeServer, state: Path) -> None:
    seed(state, {"status": "queued"}, server=server)
    server.script("get", HANG)


STAGES = {
    "before it is sent": Stage(
        ("submit", "-t", "x"),
        _refusing,
        lambda server, it: it.shows("trying again"),
        "rejected",
        "not sent: interrupted before sending",
    ),
    "told to wait": Stage(
        ("submit", "-t", "x"),
        lambda server, state: server.script("create", refusal(429, retry_after="60")),
        lambda server, it: it.shows("trying again"),
        "rejected",
        "not sent: interrupted before sending",
    ),
    "streaming": Stage(
        ("submit", "-t", "x", "--watch"),
        _streaming,
        lambda server, it: it.shows("brown fox"),
        "in_progress",
        f"bgresp watch {ident(1)} --resume",
    ),
    "polling": Stage(
        ("watch", "@2", "--mode", "poll", "--interval", "0.1"),
        _open,
        lambda server, it: len(server.asked("get")) > 1,
        "in_progress",
        f"bgresp watch {ident(1)} --resume",
    ),
    "a board": Stage(
        ("watch", "@1", "@2", "--interval", "0.1"),
        _open,
        lambda server, it: it.shows("2 in_progress") and len(server.asked("get")) > 2,
        "in_progress",
        "the jobs go on: bgresp watch",
    ),
    "refreshing": Stage(
        ("list", "--refresh"),
        _silent,
        lambda server, it: bool(server.asked("get")),
        "queued",
        "",
    ),
}


Watching = Callable[..., Terminal]


@pytest.fixture(autouse=True)
def _figure(figure: Figure) -> None:
    cells = f"{len(DETACHING)} signals x {len(STAGES) + 2} stages, 4 x EPIPE"
    figure(f"T18: {cells}: 0 cancels, cursor shown, ledger readable")


@pytest.fixture(name="watching")
def _watching(chosen: dict[str, str], tmp_path: Path) -> Iterator[Watching]:
    running: list[Terminal] = []

    def go(*args: str, piped: bool = False) -> Terminal:
        env = {**chosen, "TERM": "xterm-256color"}
        running.append(Terminal(command(*args), env, tmp_path, piped=piped))
        return running[-1]

    yield go
    for terminal in running:
        terminal.close()


def readable(state: Path) -> bool:
    """Say whether every line of the journal is whole."""
    raw = (state / "ledger.jsonl").read_bytes()
    return raw.endswith(b"\n") and all(map(json.loads, raw.splitlines()))


@pytest.fixture(name="start")
def _start(chosen: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    running: list[Started] = []

    def go(*args: str, env: Changes | None = None, forked: bool = False) -> Started:
        assert not forked, "here a start is part of what is proved"
        running.append(Started(command(*args), {**chosen, **(env or {})}, tmp_path))
        return running[-1]

    yield go
    for started in running:
        started.close()


def cursor_is_left_hidden(raw: bytes) -> bool:
    """Say whether the last word on the cursor was to hide it."""
    return raw.rfind(b"\x1b[?25l") > raw.rfind(b"\x1b[?25h")


@pytest.mark.parametrize("at", [(name, n) for name in STAGES for n in DETACHING])
def test_a_signal_at_each_stage(
    watching: Watching,
    server: FakeServer,
    state: Path,
    at: tuple[str, signal.Signals],
) -> None:
    """A signal cancels a job, leaves the cursor hidden, or says not how to go on."""
    name, number = at
    stage = STAGES[name]
    stage.prepare(server, state)
    it = watching(*stage.argv)
    it.until(lambda it: stage.there(server, it))
    it.process.send_signal(number)
    assert 128 + number == it.finish(), bytes(it.raw)
    assert (0, True) == (server.cancels(), readable(state))
    assert not cursor_is_left_hidden(bytes(it.raw))
    assert stage.status == last(state)["status"]
    assert stage.says in " ".join(it.lines), it.lines
    assert not has_bug(bytes(it.raw))


@pytest.mark.parametrize("number", DETACHING)
def test_a_signal_between_send_and_reply(
    start: Start, server: FakeServer, state: Path, number: signal.Signals
) -> None:
    """Case 27: the first signal waits for the id, which is printed and recorded."""
    arrived, gate = threading.Event(), threading.Event()

    def held(reply: Reply) -> Reply:
        arrived.set()
        gate.wait(60)
        return reply

    server.script("create", Snapshot(change=held))
    it = start("submit", "-t", "x")
    assert arrived.wait(60)
    it.process.send_signal(number)
    it.until(b"waiting up to 10 s for the id", "err")
    gate.set()
    ran = it.finish()
    assert (128 + number, f"{ident(1)}\n") == (ran.code, ran.out)
    assert (0, ident(1), "queued") == (server.cancels(), *_known(state))


@pytest.mark.parametrize("number", DETACHING)
def test_a_second_signal_before_the_reply(
    start: Start, server: FakeServer, state: Path, number: signal.Signals
) -> None:
    """Case 28: the second signal leaves at once; the outcome is unknown."""
    server.script("create", HANG)
    it = start("submit", "-t", "x")
    server.wait_for("create")
    it.process.send_signal(number)
    it.until(b"again to leave", "err")
    ran = it.finish(number)
    assert (128 + number, "") == (ran.code, ran.out)
    assert (0, None, "unknown") == (server.cancels(), *_known(state))
    assert f"bgresp resolve {last(state)['key']}" in ran.err
    assert 1 == len(server.creates)


def _known(state: Path) -> tuple[str | None, str]:
    assert readable(state)
    return last(state).get("id"), last(state)["status"]


@pytest.mark.parametrize(
    "argv",
    [
        ("submit", "-t", "x"),
        ("submit", "-t", "x", "--watch"),
        ("watch", "@1", "--mode", "poll"),
        ("list",),
    ],
)
def test_a_reader_that_leaves(
    server: FakeServer,
    chosen: dict[str, str],
    state: Path,
    tmp_path: Path,
    argv: tuple[str, ...],
) -> None:
    """Without a reader of stdout a command ends otherwise than with 141, or cancels.

    What was accepted before is in the ledger.
    """
    if argv[0] != "submit":
        seed(state, {"status": "in_progress"}, server=server)
    if argv[0] == "watch":
        text = response_of("completed", "text", response_id=ident(1))
        server.script("get", as_json(text))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command(*argv),
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        cwd=tmp_path,
        env=environment(chosen),
    )
    os.close(writer)
    assert (141, 0, True) == (done.returncode, server.cancels(), readable(state))
    assert ident(1) == last(state)["id"]
    assert not has_bug(done.stderr)
