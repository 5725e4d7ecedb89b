"""`bgresp cancel`: cancels, then asks, and reports what really is."""

import json
from pathlib import Path

import pytest

from tests import hastyclock
from tests.cli.ledger import FIELDS, ident, key, last, records, seed
from tests.command import Run
from tests.fakeanswers import Reply, as_json, refusal
from tests.fakeserver import FakeServer
from tests.fakewire import FOX, response_of


def answer(status: str, number: int = 1) -> Reply:
    return as_json(response_of(status, FOX, response_id=ident(number)))


def test_an_open_job_is_cancelled_once(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """One cancel, one question, exit 0; the second time nobody is asked, exit 0."""
    assert 0 == bgresp("submit", "-t", "hi").code
    first = bgresp("cancel", "@last")
    assert (0, "cancelled", "") == (first.code, first.out.split("\t")[2], first.err)
    assert ["create", "cancel", "get"] == [seen.operation for seen in server.requests]
    assert last(state)["cancel_requested_at"]
    second = bgresp("cancel", "@last", "--json")
    record = json.loads(second.out)
    assert (0, FIELDS, "cancelled") == (second.code, tuple(record), record["status"])
    assert f"{ident(1)} is cancelled already" == json.loads(second.err)["message"]
    assert (1, 3) == (server.cancels(), len(server.requests))


def test_a_job_that_had_ended_is_no_failure(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """A job that ended first keeps its end and its answer; stderr says so, exit 0."""
    seed(state, {}, {"status": "completed", "text": FOX}, {}, server=server)
    server.script("cancel", refusal(400, "Cannot cancel a completed response."))
    server.script("get", answer("completed", 3))
    ran = bgresp("cancel", "@1", "@2", "--json")
    assert (0, ["completed", "completed"]) == (
        ran.code,
        [record["status"] for record in json.loads(ran.out)],
    )
    assert [
        f"{ident(3)} ended before the cancel: completed",
        f"{ident(2)} is completed already",
    ] == [json.loads(line)["message"] for line in ran.err.splitlines()]
    assert (1, 0) == (server.cancels(ident(3)), server.cancels(ident(2)))
    server.script("cancel", answer("cancelled"))
    server.script("get", answer("failed"))
    ran = bgresp("cancel", "--open", "-q")
    assert (0, f"{ident(1)}\n") == (ran.code, ran.out)
    assert "ended before the cancel: failed" in ran.err
    assert FOX + "\n" == bgresp("get", ident(3)).out


def test_a_submit_that_was_refused_has_ended(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """A rejected job costs nothing and runs nowhere: exit 0; nobody is asked."""
    seed(state, {"status": "rejected", "id": None}, {"status": "completed"})
    ran = bgresp("cancel", "--status", "rejected,completed")
    assert (0, ()) == (ran.code, server.requests)
    assert "nothing to cancel: 2 jobs ended already\n" in ran.err
    assert " is rejected already\n" in bgresp("cancel", key(1)).err


def test_what_was_not_cancelled(bgresp: Run, server: FakeServer, state: Path) -> None:
    """An endpoint that cannot: 5; a refused key: 4; not reached: 6; the job is open."""
    seed(state, {}, server=server)
    server.script("cancel", refusal(405, "Not here."), refusal(401, "Bad key."))
    server.script("get", answer("in_progress"))
    faults = [
        (5, "goes on: the endpoint cannot cancel (Not here.) (bgresp watch "),
        (4, "was not cancelled: Bad key. [request req_3] (the key of profile openai, "),
    ]
    for code, said in faults:
        ran = bgresp("cancel", "@last")
        assert (code, "") == (ran.code, ran.out)
        assert f"bgresp: {ident(1)} {said}" in ran.err


@pytest.mark.parametrize("dialect", ["openai", "freddy"])
def test_a_404_of_another_key_cancels_nothing(
    bgresp: Run, server: FakeServer, state: Path, dialect: str
) -> None:
    """It says that the key is another one: exit 4 at once, and the job stays open."""
    made = {"dialect": dialect, "key_digest": "00000000", "vars": {"organization": "o"}}
    seed(state, made, server=server)
    env = {"BGRESP_API_KEY": "sk-another-12345"}
    ran = bgresp("cancel", "@last", env=env)
    assert 4 == ran.code, ran.err
    assert "was not cancelled: made with another key of env:BGRESP_API_KEY" in ran.err
    assert "queued" == last(state)["status"]
    assert 2 >= len(server.requests)


def test_a_cancel_that_reached_nobody_was_never_asked_for(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Not reached: 6, an error object under --json, and no `cancelling` after it."""
    seed(state, {}, {"status": "completed"}, server=server)
    server.refuse()
    env = {hastyclock.VARIABLE: "4"}  # a slow machine needs a second to be refused in
    ran = bgresp("cancel", ident(1), "--json", env=env)
    told = json.loads(ran.err)
    assert (6, "", "bgresp.error/1", "unreachable") == (
        *(ran.code, ran.out),
        *(told["schema"], told["kind"]),
    )
    assert told["message"].startswith(f"{ident(1)} was not cancelled: ")
    assert f"again: bgresp cancel {ident(1)}" == told["hint"]
    assert not any(line.get("cancel_requested_at") for line in records(state))
    assert "cancelling" not in bgresp("list").out
    both = bgresp("cancel", ident(1), ident(2), env=env)
    assert (6, ["queued", "completed"]) == (
        both.code,
        [line.split("\t")[2] for line in both.out.splitlines()],
    )
    assert {"queued", "completed"} == {line["status"] for line in records(state)}


def test_a_submit_without_known_outcome_may_run(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """What may have been accepted is not `unknown already`: `resolve` settles it."""
    seed(state, {"status": "unknown", "id": None})
    ran = bgresp("cancel", "@1")
    key = last(state)["key"]
    assert (7, ()) == (ran.code, server.requests)
    assert "it may be running" in ran.err
    assert ran.err.endswith(f" (bgresp resolve {key})\n")
