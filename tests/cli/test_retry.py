"""`bgresp retry`: a new job from the request of an old one."""

import json
from pathlib import Path

import pytest

from tests.cli.killed import died
from tests.cli.ledger import ident, key, last, note, seed
from tests.cli.processes import Start
from tests.command import Run
from tests.fakeanswers import HANG, as_json, refusal
from tests.fakeserver import FakeServer
from tests.fakewire import Json, response_of

ENDS = ("failed", "incomplete", "cancelled", "lost")


def ask(state: Path, number: int, **body: object) -> None:
    """Store the request of the nth job."""
    asked = {"model": "m", "input": f"prompt {number}", "store": True, **body}
    metadata = {"bgresp_key": key(number), "team": "search"}
    raw = json.dumps({"metadata": metadata, **asked})
    (state / "requests" / f"{key(number)}.json").write_text(raw)


def test_a_new_job_is_made(bgresp: Run, server: FakeServer, state: Path) -> None:
    """The stored request is sent as it was, under a key of its own."""
    known = {"name": "essay", "group": "night", "labels": {"a": "b"}, "row": "7"}
    seed(state, {"status": "failed", "model": "m", **known}, server=server)
    ask(state, 1)
    ran = bgresp("retry", ident(1))
    assert (0, "", ident(1) + "\n") == (ran.code, ran.err, ran.out)
    (sent,) = server.creates
    record = last(state)
    fresh = record["key"]
    assert key(1) != fresh
    metadata = {"team": "search", "bgresp_key": fresh}
    body = {"model": "m", "input": "prompt 1", "store": True, "metadata": metadata}
    assert body == sent.json
    assert fresh == sent.headers["idempotency-key"]
    assert key(1) == record["retry_of"]
    assert known == {name: record[name] for name in known}
    assert fresh == json.loads(bgresp("status", "essay", "--json").out)["key"]


def test_a_row_that_runs_again_is_not_doubled(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Of a batch's row whose retry is open no third job is made: its id is printed."""
    row = {"group": "night", "row": "7"}
    retried = {"status": "queued", "retry_of": key(1)}
    seed(state, {"status": "failed", **row}, {**retried, **row}, server=server)
    ask(state, 1)
    ran = bgresp("retry", ident(1))
    assert (0, ident(2) + "\n", ()) == (ran.code, ran.out, server.creates)


def test_metadata_of_ours_alone_leaves_none(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Only our own key is replaced; nothing else is added to the request."""
    seed(state, {"status": "failed"}, server=server)
    ask(state, 1, metadata={"bgresp_key": key(1)})
    bgresp("retry", ident(1))
    assert {"bgresp_key": last(state)["key"]} == server.creates[0].json["metadata"]


def test_a_streamable_job_is_retried_streamable(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """What was created with a stream is created with a stream again."""
    seed(state, {"status": "failed", "streamable": True}, server=server)
    ask(state, 1, stream=True)
    assert 0 == bgresp("retry", ident(1)).code
    assert True is server.creates[0].json["stream"]
    assert True is last(state)["streamable"]


@pytest.mark.parametrize(
    ("status", "code"),
    [("queued", 8), ("in_progress", 8), ("unknown", 7), ("submitting", 7)],
)
def test_an_unfinished_job_is_refused(
    bgresp: Run, server: FakeServer, state: Path, status: str, code: int
) -> None:
    """A job that may still answer, or may have been accepted, is never paid twice."""
    job = {"id": ident(1) if code == 8 else None, "status": status}
    seed(state, {"status": "failed", "id": "resp_other"}, job, server=server)
    ask(state, 1)
    ask(state, 2)
    ran = bgresp("retry", "resp_other", key(2))
    assert (code, "", ()) == (ran.code, ran.out, server.creates)


def test_a_live_submit_is_refused(
    bgresp: Run, start: Start, server: FakeServer, state: Path
) -> None:
    """While the submit is at work there is nothing to retry: exit 8."""
    server.script("create", HANG)
    start("submit", "-t", "hi", "-m", "m")
    server.wait_for("create")
    ran = bgresp("retry", "@last")
    assert (8, "", 1) == (ran.code, ran.out, len(server.creates))


def test_a_request_that_was_not_kept(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Without its request a job cannot be retried: exit 3 says why."""
    seed(state, {"status": "failed"}, server=server)
    ran = bgresp("retry", ident(1))
    assert (3, "", ()) == (ran.code, ran.out, server.requests)
    assert "was not kept" in ran.err


def test_a_damaged_request_is_not_sent(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """What cannot be read is not sent."""
    seed(state, {"status": "failed"}, server=server)
    (state / "requests" / f"{key(1)}.json").write_text("{")
    ran = bgresp("retry", ident(1))
    assert (3, "", ()) == (ran.code, ran.out, server.requests)


def made(*words: str) -> list[Json]:
    """Return a job in each status, all of one group."""
    return [{"status": word, "group": "night"} for word in words]


def test_all_that_failed(bgresp: Run, server: FakeServer, state: Path) -> None:
    """--failed means what ended without an answer, oldest first, and nothing else.

    A lost job may still answer: it is paid for again only where that is said.
    """
    others = ("completed", "queued", "rejected", "unknown")
    seed(state, *made(*ENDS, *others), {"status": "failed"}, server=server)
    for number in range(1, 10):
        ask(state, number)
    ran = bgresp("retry", "--failed", "--group", "night")
    assert 0 == ran.code
    assert [ident(n) for n in range(1, 4)] == ran.out.split()
    again = bgresp("retry", "--failed", "--group", "night")
    assert (0, "", 3) == (again.code, again.out, len(server.creates))
    assert "nothing to retry" in again.err
    lost = bgresp("retry", "--failed", "--group", "night", "--status", "lost")
    assert (0, ident(4)) == (lost.code, lost.out.strip())
    prompts = [seen.json["input"] for seen in server.creates]
    assert [f"prompt {n}" for n in range(1, 5)] == prompts


def test_a_retry_that_failed_is_retried(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """The newest of a chain of retries is tried again, once."""
    chain = {"status": "failed", "group": "night", "retry_of": key(1)}
    seed(state, *made("failed"), chain, server=server)
    ask(state, 1)
    ask(state, 2)
    assert 0 == bgresp("retry", "--failed", "--group", "night").code
    assert ["prompt 2"] == [seen.json["input"] for seen in server.creates]
    assert key(2) == last(state)["retry_of"]


def test_what_a_retry_mended_stays(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """A job whose retry completed is not paid for again, whatever failed since."""
    mended = {"status": "completed", "group": "night", "retry_of": key(1)}
    seed(state, *made("failed"), mended, *made("failed"), server=server)
    for number in (1, 2, 3):
        ask(state, number)
    assert 0 == bgresp("retry", "--failed", "--group", "night").code
    assert ["prompt 3"] == [seen.json["input"] for seen in server.creates]


def test_a_retry_that_was_not_taken_counts_for_nothing(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """A retry that the endpoint refused may be tried again."""
    seed(state, *made("failed"), server=server)
    ask(state, 1)
    server.script("create", refusal(400, "No."))
    assert 5 == bgresp("retry", "--failed", "--all").code
    assert 0 == bgresp("retry", "--failed", "--all").code
    assert 2 == len(server.creates)


def test_failed_needs_a_selection(bgresp: Run, state: Path) -> None:
    """Nobody pays for all jobs of all times by a slip: --all says so."""
    seed(state, *made("failed"))
    assert 2 == bgresp("retry", "--failed").code
    assert 2 == bgresp("retry").code


def test_one_that_was_not_kept_costs_the_others_nothing(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Of many the rest are retried, and exit 3 tells of the one."""
    seed(state, *made("failed", "failed"), server=server)
    ask(state, 2)
    ran = bgresp("retry", "--failed", "--group", "night")
    assert (3, ident(1) + "\n") == (ran.code, ran.out)
    assert key(2) == last(state)["retry_of"]


def test_two_retries_of_what_failed_are_one(
    bgresp: Run, start: Start, server: FakeServer, state: Path
) -> None:
    """Two --failed at once never pay for one job twice."""
    seed(state, *made("failed"), server=server)
    ask(state, 1)
    server.script("create", HANG)
    start("retry", "--failed", "--all")
    server.wait_for("create")
    ran = bgresp("retry", "--failed", "--all")
    assert (8, "", 1) == (ran.code, ran.out, len(server.creates))


def test_jobs_go_to_their_own_endpoints(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """A retry is sent where the old job was, whatever the environment says."""
    with FakeServer() as other:
        seed(state, {"status": "failed", "base_url": other.base_url})
        seed(state, {"status": "failed", "base_url": server.base_url})
        note(state, other.base_url)
        ask(state, 1)
        ask(state, 2)
        assert 0 == bgresp("retry", ident(1), ident(2)).code
        assert (1, 1) == (len(other.creates), len(server.creates))
        assert "prompt 1" == other.creates[0].json["input"]


def test_the_first_that_cannot_be_sent_ends_it(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """A refusal of one request goes on with the next; one of the endpoint does not."""
    seed(state, *made("failed", "failed", "failed", "failed"), server=server)
    for number in range(1, 5):
        ask(state, number)
    server.script("create", refusal(400), as_json(response_of("queued")), refusal(401))
    ran = bgresp("retry", "--failed", "--group", "night", "--jsonl")
    assert (5, 1, 3) == (ran.code, len(ran.out.splitlines()), len(server.creates))


def test_machines_read_records(bgresp: Run, server: FakeServer, state: Path) -> None:
    """One REF is an object, a selection an array."""
    seed(state, *made("failed"), server=server)
    ask(state, 1)
    record = json.loads(bgresp("retry", ident(1), "--json").out)
    assert key(1) == record["retry_of"]
    assert "[]\n" == bgresp("retry", "--failed", "--all", "--json").out


def test_dead_submits_are_not_retried(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """A submit that died may have been accepted: exit 7 names the way out."""
    lost = died(server, state)
    ran = bgresp("retry", lost)
    assert (7, ()) == (ran.code, server.requests)
    assert f"bgresp resolve {lost}" in ran.err
