"""`bgresp prune`: drop what ended long ago."""

import json
import time
from pathlib import Path

import pytest

from bgresp.core.times import rfc3339
from tests.cli.ledger import ident, picture, seed
from tests.command import Run
from tests.fakeanswers import refusal
from tests.fakeserver import FakeServer
from tests.fakewire import Json

YEARS = 365 * 86400.0


def ended(days: float, status: str = "completed", **changes: object) -> Json:
    """Return a job that ended so many days ago."""
    moment = rfc3339(time.time() - days * 86400)
    return {"status": status, "submitted_at": moment, "finished_at": moment, **changes}


def test_what_ended_long_ago_goes(bgresp: Run, state: Path) -> None:
    """Older ones go with their files, however they ended; younger ones stay."""
    words = ("completed", "failed", "incomplete", "cancelled", "lost", "rejected")
    old = [ended(40, word, text="Four.") for word in words]
    seed(state, *old, ended(20), ended(0))
    ran = bgresp("prune", "--older", "30d")
    assert (0, "6 jobs dropped\n", "") == (ran.code, ran.out, ran.err)
    assert {ident(7), ident(8)} == set(bgresp("list", "-q").out.split())
    assert [] == list((state / "responses").iterdir())
    ran = bgresp("prune", "--older", "10d", "-q")
    assert (0, ident(7) + "\n") == (ran.code, ran.out)
    assert "[]\n" == bgresp("prune", "--older", "10d", "--json").out


def test_the_files_shrink(bgresp: Run, state: Path) -> None:
    """A pruned job leaves no line behind."""
    seed(state, *(ended(40) for _ in range(20)), ended(0))
    assert 0 == bgresp("prune", "--older", "30d").code
    text = "".join(path.read_text() for path in state.rglob("*.jsonl"))
    assert ident(3) not in text
    assert ident(21) in text


def test_a_long_run_is_not_old(bgresp: Run, state: Path) -> None:
    """What counts is when a job ended, not when it was submitted."""
    job = ended(40) | {"finished_at": rfc3339(time.time() - 86400)}
    seed(state, job)
    assert "0 jobs dropped\n" == bgresp("prune", "--older", "30d").out


@pytest.mark.parametrize("status", ["queued", "in_progress", "unknown", "submitting"])
def test_what_may_still_matter_stays(bgresp: Run, state: Path, status: str) -> None:
    """An open or unsettled job goes with --force only, however old it is."""
    seed(state, ended(40, status), ended(0))
    ran = bgresp("prune", "--older", "30d")
    assert (0, "0 jobs dropped\n") == (ran.code, ran.out)
    assert "1 are open or unsettled: kept" in ran.err
    assert ident(1) + "\n" == bgresp("prune", "--older", "30d", "--force", "-q").out


def test_remote_deletes_first(bgresp: Run, server: FakeServer, state: Path) -> None:
    """What the endpoint would not delete stays here, and has its exit code."""
    seed(state, ended(40), ended(40), ended(0), server=server)
    server.script("delete", refusal(500, "No."), job=ident(1))
    server.script("delete", refusal(404, "Gone."), job=ident(2))
    ran = bgresp("prune", "--older", "30d", "--remote", "--json")
    assert [ident(2)] == [record["id"] for record in json.loads(ran.out)]
    assert 6 == ran.code
    assert ident(1) in bgresp("list", "-q").out


def test_a_submit_key_is_kept(bgresp: Run, server: FakeServer, state: Path) -> None:
    """--key never sends again what was pruned: it prints the old id."""
    seed(state, ended(40, submit_key="nightly"), ended(0), server=server)
    assert "1 job dropped\n" == bgresp("prune", "--older", "30d").out
    ran = bgresp("submit", "-t", "hi", "-m", "m", "--key", "nightly")
    assert (0, ident(1) + "\n", ()) == (ran.code, ran.out, server.creates)


@pytest.mark.parametrize(("days", "old"), [(-2, 1), (-20 * 365, 0), (20 * 365, 2)])
def test_a_wrong_clock_drops_nothing(
    bgresp: Run, state: Path, days: int, old: int
) -> None:
    """Case 53: where the clock jumped nothing expires; --force believes it."""
    seed(state, ended(days + 40), ended(days))
    before = picture(state)
    ran = bgresp("prune", "--older", "30d")
    if old:
        assert (1, "") == (ran.code, ran.out)
        assert "the clock is " in ran.err
        assert before == picture(state)
    forced = bgresp("prune", "--older", "30d", "--force").out
    assert forced.startswith(f"{old} job")


def test_selectors(bgresp: Run, state: Path) -> None:
    """Only what is meant goes."""
    seed(state, ended(40, group="night"), ended(40), ended(0))
    assert (
        ident(1) + "\n"
        == bgresp("prune", "--older", "30d", "--group", "night", "-q").out
    )


def test_the_age_is_required(bgresp: Run, state: Path) -> None:
    """Nothing is dropped without saying how old it is."""
    seed(state, ended(40))
    assert 2 == bgresp("prune").code
    assert 2 == bgresp("prune", "--older", "soon").code
    assert ident(1) + "\n" == bgresp("list", "-q").out
