"""`bgresp forget`: drop jobs from the ledger and the disk."""

import json
from pathlib import Path

import pytest

from bgresp.ledger.ledger import Ledger
from tests.cli.killed import died
from tests.cli.ledger import ident, key, seed
from tests.command import Run
from tests.fakeanswers import Forever, Reply, Snapshot, as_json, refusal
from tests.fakeserver import FakeServer
from tests.fakewire import FOX, response_of


def test_everything_of_a_job_goes(bgresp: Run, server: FakeServer, state: Path) -> None:
    """No command shows a forgotten job, and no file of it is left."""
    seed(state, {"status": "completed", "text": "Four."}, {"status": "failed"})
    (state / "requests" / f"{key(1)}.json").write_text("{}")
    ran = bgresp("forget", ident(1))
    assert (0, "", f"bgresp: forgot {ident(1)}\n") == (ran.code, ran.out, ran.err)
    assert [ident(2)] == bgresp("list", "-q").out.split()
    assert 3 == bgresp("status", "--local", ident(1)).code
    left = [path for path in state.rglob(f"{key(1)}*") if path.is_file()]
    assert ([], ()) == (left, server.requests)


def test_a_submit_key_is_kept(bgresp: Run, server: FakeServer, state: Path) -> None:
    """--key never sends again what was forgotten: it prints the old id."""
    job = {"status": "completed", "submit_key": "nightly", "text": "Four."}
    seed(state, job, server=server)
    assert 0 == bgresp("forget", ident(1)).code
    ran = bgresp("submit", "-t", "hi", "-m", "m", "--key", "nightly")
    assert (0, ident(1) + "\n", ()) == (ran.code, ran.out, server.creates)


@pytest.mark.parametrize(
    ("status", "code"),
    [("queued", 8), ("in_progress", 8), ("unknown", 7), ("submitting", 7)],
)
def test_what_may_still_matter_is_refused(
    bgresp: Run, state: Path, status: str, code: int
) -> None:
    """An open or unsettled job goes with --force only; with it nothing else goes."""
    seed(state, {"status": "completed"}, {"status": status})
    ran = bgresp("forget", ident(1), ident(2))
    assert (code, "") == (ran.code, ran.out)
    assert 2 == len(bgresp("list", "-q").out.split())
    ran = bgresp("forget", ident(1), ident(2), "--force", "-q")
    assert (0, [ident(1), ident(2)]) == (ran.code, ran.out.split())
    assert "" == bgresp("list", "-q").out


def test_it_says_what_went(bgresp: Run, state: Path) -> None:
    """A name and an id, or how many; nothing of it with -q, and JSON with --json."""
    ended = {"status": "completed"}
    seed(state, {**ended, "name": "night"}, *[ended] * 14)
    ran = bgresp("forget", "night")
    assert ("", f"bgresp: forgot night ({ident(1)})\n") == (ran.out, ran.err)
    ran = bgresp("forget", "@1", "-q")
    assert (f"{ident(15)}\n", "") == (ran.out, ran.err)
    ran = bgresp("forget", "@1", "--json")
    assert (ident(14), "") == (json.loads(ran.out)["id"], ran.err)
    ran = bgresp("forget", "--status", "completed")
    assert ("", "bgresp: forgot 12 jobs\n") == (ran.out, ran.err)


def test_remote_deletes_first(bgresp: Run, server: FakeServer, state: Path) -> None:
    """--remote deletes at the endpoint; what stays there stays here."""
    seed(state, *({"status": "completed"} for _ in range(3)), server=server)
    server.script("delete", refusal(500, "No."), job=ident(1))
    server.script("delete", refusal(404, "Gone."), job=ident(2))
    server.script("delete", Forever(refusal(403, "Never.")), job=ident(3))
    ran = bgresp("forget", ident(1), ident(2), ident(3), "--remote", "--json")
    assert [ident(2)] == [record["id"] for record in json.loads(ran.out)]
    assert 6 == ran.code
    assert {ident(1), ident(3)} == set(bgresp("list", "-q").out.split())


def test_remote_believes_no_404_of_another_key(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Under another key a job may be there all the same: it stays, exit 4."""
    made = {"status": "completed", "key_digest": "00000000"}
    seed(state, made, server=server)
    server.script("delete", refusal(404, "Not found."))
    env = {"BGRESP_API_KEY": "sk-another-12345"}
    ran = bgresp("forget", ident(1), "--remote", env=env)
    assert 4 == ran.code, ran.err
    assert "was not deleted: made with another key of env:BGRESP_API_KEY" in ran.err
    assert ident(1) in bgresp("list", "-q").out


def test_without_an_id_there_is_nothing_to_delete(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """A submit that was rejected is forgotten without asking anybody."""
    seed(state, {"status": "rejected", "id": None}, server=server)
    assert 0 == bgresp("forget", key(1), "--remote").code
    assert ("", ()) == (bgresp("list", "-q").out, server.requests)


def test_selectors(bgresp: Run, state: Path) -> None:
    """A group is forgotten as a whole; an empty selection is exit 3."""
    night = {"status": "completed", "group": "night"}
    seed(state, night, {"status": "completed"}, night)
    ran = bgresp("forget", "--group", "night", "-q")
    assert {ident(1), ident(3)} == set(ran.out.split())
    assert 3 == bgresp("forget", "--group", "night").code
    assert 0 == bgresp("forget", "--group", "night", "--allow-empty").code
    assert 2 == bgresp("forget").code


def test_a_dead_submit_is_refused(bgresp: Run, server: FakeServer, state: Path) -> None:
    """What may have been paid for is not dropped by a slip."""
    lost = died(server, state)
    ran = bgresp("forget", lost)
    assert 7 == ran.code
    assert f"bgresp resolve {lost}" in ran.err


@pytest.mark.parametrize(
    ("verb", "answer", "code"),
    [
        ("wait", as_json(response_of("completed", FOX, response_id=ident(1))), 0),
        ("watch", as_json(response_of("completed", FOX, response_id=ident(1))), 0),
        ("wait", as_json(response_of("failed", response_id=ident(1))), 12),
        ("wait", refusal(401), 3),
    ],
)
def test_a_job_that_is_forgotten_while_it_is_followed(
    bgresp: Run, server: FakeServer, state: Path, verb: str, answer: Reply, code: int
) -> None:
    """Who waits for a forgotten job is told nothing, or its answer comes back."""
    seed(state, {}, server=server)

    def change(_: Reply) -> Reply:
        ledger = Ledger(state)
        ledger.forget(next(ledger.newest()))
        return answer

    server.script("get", Snapshot(change=change))
    ran = bgresp(verb, ident(1))
    assert code == ran.code, ran.err
    assert f"bgresp: {ident(1)} was forgotten meanwhile: its answer is not kept" in (
        ran.err.splitlines()
    )
    assert not list((state / "responses").iterdir())
