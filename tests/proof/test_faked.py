"""T20 and cases 37, 51, 53: a system that lies about its clock, locks and disk."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from bgresp.ledger.ledger import Ledger
from tests.command import Run, command, environment, has_bug, running_first
from tests.fakeserver import FakeServer
from tests.proof import tracing
from tests.proof.conftest import Figure

pytestmark = [pytest.mark.proof]


def refused(
    server: FakeServer, state: Path, chosen: dict[str, str], inject: str
) -> tuple[int, str, bytes]:
    """Submit while system calls fail: the POSTs sent, stderr, and the calls made."""
    tracing.require()
    log = state.parent / "calls"
    traced = inject.partition(":")[0]
    done = tracing.run(
        command("submit", "-t", "x"),
        chosen,
        *("-e", f"trace={traced}", "-e", f"inject={inject}"),
        out=log,
    )
    assert (1, b"") == (done.returncode, done.stdout), done.stderr
    assert not has_bug(done.stderr)
    return len(server.creates), done.stderr.decode(), log.read_bytes()


def test_37_a_sync_that_fails(
    server: FakeServer, state: Path, chosen: dict[str, str]
) -> None:
    """A request leaves after a failed sync, or the sync is tried again and lies."""
    Ledger(state).prepare()
    sent, told, calls = refused(server, state, chosen, "fdatasync:error=EIO")
    assert (0, 1) == (sent, calls.count(b"(INJECTED)")), calls
    assert "Input/output error" in told


@pytest.mark.parametrize("error", ["ENOLCK", "ENOSYS"])
def test_51_a_file_system_without_locks(
    server: FakeServer, state: Path, chosen: dict[str, str], error: str
) -> None:
    """A request leaves where no lock can be had."""
    sent, told, _ = refused(server, state, chosen, f"flock:error={error}")
    assert 0 == sent
    assert str(state) in told


def test_locks_that_do_not_answer(
    run: Run, server: FakeServer, state: Path, tmp_path: Path, figure: Figure
) -> None:
    """A command hangs where flock never returns, sends, or does not say why."""
    Ledger(state).prepare()
    deaf = "import fcntl, os\nfcntl.flock = lambda *_: os.read(os.pipe()[0], 1)\n"
    env = {"BGRESP_BASE_URL": server.base_url, "BGRESP_API_KEY": "k"}
    env |= running_first(deaf, tmp_path)
    began = time.monotonic()
    ran = run("submit", "-t", "x", env=env)
    passed = time.monotonic() - began
    figure(f"flock that never returns: refused and named after {passed:.1f} s")
    assert (1, "", 0) == (ran.code, ran.out, len(server.requests))
    assert "does not answer for a lock" in ran.err
    listed = run("list", env=env)
    assert not has_bug(listed.err)


def at(offset: str, env: dict[str, str], *args: str) -> tuple[int, str, str]:
    """Run bgresp under a clock that is off by so much: exit code, stdout, stderr."""
    done = subprocess.run(
        ["faketime", "-f", offset, *command(*args)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(env),
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(not shutil.which("faketime"), reason="T20: no faketime here")
def test_a_clock_that_jumps(
    run: Run, server: FakeServer, state: Path, chosen: dict[str, str], figure: Figure
) -> None:
    """Ten days back or twenty years ahead: an order lost, a job expired, an age < 0.

    What was made twenty years ahead stays in front of what is made now.
    """
    ids = [run("submit", "-t", "now", env=chosen).out.strip()]
    for offset in ("-10d", "+20y", "+0d"):
        code, out, told = at(offset, chosen, "submit", "-t", offset)
        assert 0 == code, told
        ids.append(out.strip())
    first, earlier, ahead, now = ids
    for offset in ("-10d", "+0d", "+20y"):
        code, out, told = at(offset, chosen, "list", "-q")
        assert (0, [ahead, now, earlier, first]) == (code, out.split()), told
        code, out, told = at(offset, chosen, "sync", "--json")
        assert (0, False) == (code, "lost" in out), told
    code, out, told = at("+20y", chosen, "list", "--json")
    assert {"completed"} == {job["status"] for job in json.loads(out)}, told
    code, out, told = at("-10d", chosen, "prune", "--older", "1d")
    assert (0, 4) == (code, len(list(Ledger(state).newest()))), told
    figure("T20: a clock 10 days back and 20 years ahead: 4 jobs, in order, 0 expired")
