"""A ledger that was put back from a backup, beside a folder that is newer."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bgresp.ledger.line import is_key
from tests.command import Run
from tests.fakeserver import FakeServer


@pytest.fixture(name="put_back")
def _put_back(bgresp: Run, state: Path) -> Callable[[], str]:
    """Take a backup, pay for one more job to its end, and put the backup back."""

    def put_back() -> str:
        assert 0 == bgresp("submit", "-t", "one", "-m", "m", "--key", "one").code
        path = state / "ledger.jsonl"
        backup = path.read_bytes()
        ran = bgresp("submit", "-t", "two", "-m", "m", "--key", "two", "--wait")
        assert 0 == ran.code
        path.write_bytes(backup)
        return ran.out.strip()

    return put_back


def keys_of(state: Path, folder: str) -> set[str]:
    names = {path.name.split(".")[0] for path in (state / folder).iterdir()}
    return {name for name in names if is_key(name)}


@pytest.mark.parametrize("first", ["", "a plain submit", "no index"])
def test_it_is_refused_once(
    server: FakeServer,
    bgresp: Run,
    state: Path,
    put_back: Callable[[], str],
    first: str,
) -> None:
    """What the backup does not know is paid for again, in silence."""
    put_back()
    if first == "a plain submit":
        assert 0 == bgresp("submit", "-t", "plain", "-m", "m").code
    elif first:
        shutil.rmtree(state / "index")
    posts = len(server.creates)
    again = ("submit", "-t", "two", "-m", "m", "--key", "two")
    for _ in range(2):
        ran = bgresp(*again)
        assert (1, "", posts) == (ran.code, ran.out, len(server.creates))
        assert "older than its folder" in ran.err
        assert "bgresp doctor --fix" in ran.err
    assert 0 == bgresp("submit", "-t", "one", "-m", "m", "--key", "one").code
    [answer] = keys_of(state, "responses")
    assert answer in bgresp("doctor").out
    assert 0 == bgresp("prune", "--older", "9d", "--force").code
    assert {answer} == keys_of(state, "responses")
    assert 0 == bgresp("doctor", "--fix").code
    [kept] = [
        p for p in (state / "strays").iterdir() if p.name.startswith("responses-")
    ]
    assert answer in kept.name
    assert (0, posts + 1) == (bgresp(*again).code, len(server.creates))
    assert "ok\tage" in bgresp("doctor").out


def test_what_a_kill_leaves_is_not_newer(
    server: FakeServer, bgresp: Run, state: Path
) -> None:
    """A request that was saved before its intent keeps --key away."""
    assert 0 == bgresp("submit", "-t", "one", "-m", "m").code
    (state / "requests" / "01ZZZZZZZZZZZZZZZZZZZZZZZZ.json").write_text("{}")
    assert 0 == bgresp("submit", "-t", "two", "-m", "m", "--key", "two").code
    assert 2 == len(server.creates)
