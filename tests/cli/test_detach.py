"""Signals detach, only `cancel` cancels; and --resume joins to the whole text."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.ledger import ident, last, records, seed
from tests.cli.processes import Start, eventually
from tests.cli.terminal import Terminals
from tests.command import Run, environment, running_first
from tests.fakeanswers import End, Forever, Snapshot, Stream, as_json
from tests.fakeserver import FakeServer
from tests.fakewire import FOX, response_of

WHOLE = FOX.encode() + b"\n"
CUT = Stream(until=8, end=End.HANG)  # up to "fox "
BEGUN = b"The quick brown fox "


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_two_halves_join(
    start: Start, bgresp: Run, server: FakeServer, state: Path, number: signal.Signals
) -> None:
    """A signal leaves with 128 + its number, cancels nothing and says how to go on.

    What --resume prints then is exactly the rest.
    """
    code = 128 + number
    server.script("create", CUT)
    first = start("submit", "-t", "x", "--watch")
    first.until(BEGUN)
    ran = first.finish(number)
    assert (code, BEGUN) == (ran.code, ran.out_bytes)
    go_on = f"bgresp watch {ident(1)} --resume"
    assert f"bgresp: detached; the job goes on: {go_on}" == ran.err.splitlines()[-1]
    assert (0, "in_progress") == (server.cancels(), last(state)["status"])
    second = bgresp("watch", "@last", "--resume")
    assert (0, WHOLE) == (second.code, ran.out_bytes + second.out_bytes)
    assert "8" == server.asked("stream")[0].query["starting_after"]


# Ctrl-C comes while what is needed is imported: half of a start's time.
INTERRUPTED = """
import sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from bgresp.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["bgresp.cli.main", "bgresp.cli.app"])
def test_ctrl_c_while_it_starts(module: str) -> None:
    """Who interrupts the start of a command is answered with a traceback."""
    argv = [sys.executable, "-c", INTERRUPTED, module, "watch"]
    ran = subprocess.run(argv, env=environment({}), capture_output=True, check=False)
    assert (130, b"", b"") == (ran.returncode, ran.stdout, ran.stderr)


def test_a_killed_watch_repeats_a_tail_at_most(
    start: Start, bgresp: Run, server: FakeServer, state: Path
) -> None:
    """After kill -9 the second output goes on at or before where the first ended."""
    server.script("create", CUT)
    first = start("submit", "-t", "x", "--watch")
    shown = first.until(BEGUN)
    assert -signal.SIGKILL == first.finish(signal.SIGKILL).code
    second = bgresp("watch", "@last", "--resume")
    assert (0, 0) == (second.code, server.cancels())
    assert WHOLE.startswith(shown)
    assert WHOLE.endswith(second.out_bytes)
    assert len(WHOLE) <= len(shown) + len(second.out_bytes)


def test_it_joins_where_the_endpoint_cannot_resume(
    start: Start, bgresp: Run, server: FakeServer
) -> None:
    """A job whose stream is no more is polled, and only the rest is printed."""
    server.script("create", CUT)
    first = start("submit", "-t", "x", "--watch")
    first.until(BEGUN)
    shown = first.finish(signal.SIGTERM).out_bytes
    server.script("get", Snapshot("completed"))
    second = bgresp("watch", "@last", "--resume", "--mode", "poll")
    assert (0, WHOLE) == (second.code, shown + second.out_bytes)


def test_a_watch_cut_twice_joins(start: Start, bgresp: Run, server: FakeServer) -> None:
    """Each --resume goes on after the one before it, also when that was cut too.

    After the end there is nothing more to print, except for a watch from the start.
    """
    server.script("create", Stream(until=5, end=End.HANG))
    first = start("submit", "-t", "x", "--watch")
    first.until(b"The ")
    shown = first.finish(signal.SIGINT).out_bytes
    server.script("stream", CUT)
    second = start("watch", "@1", "--resume")
    second.until(b"fox ")
    shown += second.finish(signal.SIGHUP).out_bytes
    assert BEGUN == shown
    assert WHOLE == shown + bgresp("watch", "@1", "--resume").out_bytes
    again = bgresp("watch", "@1", "--resume")
    assert (0, b"") == (again.code, again.out_bytes)
    assert WHOLE == bgresp("watch", "@1").out_bytes


def test_a_closed_terminal_detaches(
    terminal: Terminals, bgresp: Run, server: FakeServer
) -> None:
    """Closing the terminal ends the watch with 129, and its pipe's text can be joined.

    Ctrl-C on the keyboard leaves too, with 130, and the cursor is shown again.
    """
    server.script("create", CUT, CUT)
    first = terminal("submit", "-t", "x", "--watch", piped=True)
    first.until(lambda it: BEGUN in it.out)
    first.hang_up()
    assert 129 == first.finish()
    second = bgresp("watch", "@last", "--resume")
    assert (0, WHOLE) == (second.code, bytes(first.out) + second.out_bytes)
    typed = terminal("submit", "-t", "x", "--watch")
    typed.until(lambda it: it.shows("brown fox"))
    typed.type(b"\x03")
    assert (130, False) == (typed.finish(), typed.screen.cursor.hidden)
    assert typed.shows(f"bgresp watch {ident(2)} --resume")
    assert 0 == server.cancels()


def test_waiting_detaches_too(start: Start, server: FakeServer, state: Path) -> None:
    """A signal during `wait` and `watch` of several leaves the jobs as they are."""
    running = as_json(response_of("in_progress", response_id=ident(1)))
    server.script("get", Forever(running))
    seed(state, {}, {}, server=server)
    waits, watches = start("wait", "@1", "@2"), start("watch", "@1", "@2")
    server.wait_for("get", 4)
    for started in (waits, watches):
        ran = started.finish(signal.SIGTERM)
        assert (143, b"") == (ran.code, ran.out_bytes)
        assert "the jobs go on: bgresp watch" in ran.err
    assert {"queued", "in_progress"} >= {line["status"] for line in records(state)}
    assert {"get"} == {seen.operation for seen in server.requests}


def test_ctrl_c_before_anything_was_sent(
    start: Start, server: FakeServer, state: Path
) -> None:
    """Ctrl-C while the prompt is read from stdin leaves with 130 and sends nothing."""
    submit = start("submit", "-")
    status = Path(f"/proc/{submit.process.pid}/wchan")
    eventually(lambda: "pipe" in status.read_text(), "reading stdin")
    ran = submit.finish(signal.SIGINT)
    assert (130, b"", b"") == (ran.code, ran.out_bytes, ran.err_bytes)
    assert ((), False) == (server.requests, state.exists())


# A lock on NFS without its lock service: it says so to us, and never returns.
_DEAF = """
import fcntl, os
def flock(fd, operation):
    os.write(2, b"LOCKING")
    while True:
        os.read(os.pipe()[0], 1)
fcntl.flock = flock
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_lock_that_never_comes_can_be_interrupted(
    start: Start,
    server: FakeServer,
    state: Path,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    """A command that waits for a lock for ever cannot be ended by Ctrl-C."""
    seed(state, {"status": "in_progress"})
    (state / "README").touch()
    stuck = start("submit", "-t", "x", env=running_first(_DEAF, tmp_path))
    stuck.until(b"LOCKING", "err")
    ran = stuck.finish(number)
    assert ran.code in {128 + number, -number}
    assert (b"", 0) == (ran.out_bytes, len(server.requests))


# A name server that answers nobody: the system's look-up cannot be ended.
_NAMELESS = """
import os, socket
def getaddrinfo(*args, **how):
    os.write(2, b"LOOKING UP")
    while True:
        os.read(os.pipe()[0], 1)
socket.getaddrinfo = getaddrinfo
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_name_that_is_never_found_can_be_left(
    start: Start, state: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """A command that looks a name up for ever says that it leaves, and stays."""
    where = ("--base-url", "https://llm.test/v1")
    env = running_first(_NAMELESS, tmp_path)
    stuck = start("submit", "-t", "x", *where, env=env)
    stuck.until(b"LOOKING UP", "err")
    ran = stuck.finish(number)
    assert (128 + number, b"") == (ran.code, ran.out_bytes)
    assert "interrupted before sending" in ran.err
    assert "rejected" == last(state)["status"]
