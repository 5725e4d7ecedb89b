"""`bgresp resolve`, and what every command says of a submit that died."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.killed import ACCEPTED, Died, configure, died, killed
from tests.cli.ledger import ident, key, last, picture, seed
from tests.cli.processes import Start, eventually
from tests.command import Run
from tests.fakeanswers import RESET, Performed, refusal
from tests.fakeserver import FakeServer

FIRST = ident(1)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """Run an endpoint that can list and honours keys; a dialect says which is used."""
    with FakeServer(listing=True, idempotent=True) as running:
        yield running


@pytest.fixture
def dead(server: FakeServer, state: Path, tmp_path: Path) -> Died:
    """Leave what a killed submit leaves; its key comes back."""
    configure(tmp_path)

    def leave(dialect: str = "openai", *, accepted: bool = False) -> str:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return died(server, state, dialect, accepted=accepted, submitted_at=now)

    return leave


def test_a_dead_submit_is_reported(
    bgresp: Run, start: Start, server: FakeServer, state: Path
) -> None:
    """Case 11: every command names a submit that was killed, once, asking nobody."""
    lost = killed(server, start, state)
    line = f"1 submit has no known outcome: {lost} (bgresp resolve {lost})"
    for verb in (["list"], ["status", "--local"], ["wait", "--all"]):
        ran = bgresp(*verb)
        assert 1 == ran.err.count(line), verb
    assert 1 == len(server.requests)


def test_a_live_submit_is_not_reported(
    bgresp: Run, server: FakeServer, start: Start
) -> None:
    """A submit that still waits for its reply is no news."""
    server.script("create", ACCEPTED)
    start("submit", "-t", "hi", "-m", "m")
    server.wait_for("create")
    ran = bgresp("list")
    assert (0, "") == (ran.code, ran.err)
    assert "submitting" in ran.out


def test_several_dead_submits_are_one_line(bgresp: Run, state: Path) -> None:
    """However many died, one line says so."""
    seed(state, *({"status": "submitting", "id": None} for _ in range(5)))
    ran = bgresp("list", "--open")
    assert 1 == len(ran.err.splitlines())
    assert "5 submits have no known outcome" in ran.err
    assert "and 2 more" in ran.err


def test_adopting_twice_is_once(bgresp: Run, dead: Died, state: Path) -> None:
    """Case 24: the same id again is exit 0, and changes nothing."""
    lost = dead(accepted=True)
    ran = bgresp("resolve", lost, "--adopt", FIRST, "-q")
    assert (0, FIRST + "\n") == (ran.code, ran.out)
    before = picture(state)
    again = bgresp("resolve", lost, "--adopt", FIRST, "-q")
    assert (0, FIRST + "\n") == (again.code, again.out)
    assert before == picture(state)
    record = json.loads(bgresp("status", "--local", FIRST, "--json").out)
    assert (lost, FIRST) == (record["key"], record["id"])
    assert record["status"] in {"queued", "in_progress"}


def test_adopting_at_once_is_once(
    bgresp: Run, start: Start, dead: Died, state: Path
) -> None:
    """Case 24: two processes that adopt one id both succeed, and make one record."""
    lost = dead(accepted=True)
    both = [start("resolve", lost, "--adopt", FIRST, "-q") for _ in range(2)]
    done = [one.finish() for one in both]
    assert [(0, FIRST + "\n")] * 2 == [(ran.code, ran.out) for ran in done]
    assert [FIRST] == bgresp("list", "-q").out.split()


def test_an_id_that_is_taken_is_refused(
    bgresp: Run, dead: Died, server: FakeServer, state: Path
) -> None:
    """An id of another job is never given to a second one."""
    seed(state, {"id": "resp_taken"}, server=server)
    lost = dead()
    ran = bgresp("resolve", lost, "--adopt", "resp_taken")
    assert (2, "") == (ran.code, ran.out)
    assert key(1) in ran.err
    assert "submitting" == last(state)["status"]


def test_an_unknown_id_is_refused(bgresp: Run, dead: Died, state: Path) -> None:
    """An id that the endpoint does not have settles nothing."""
    lost = dead()
    ran = bgresp("resolve", lost, "--adopt", "resp_nowhere")
    assert (3, "") == (ran.code, ran.out)
    assert "submitting" == last(state)["status"]


def test_an_id_typed_wrong_asks_nobody(bgresp: Run, dead: Died) -> None:
    """What no id can be is refused before anything is sent."""
    lost = dead()
    assert 2 == bgresp("resolve", lost, "--adopt", "../files").code


def test_abandoned_is_rejected(bgresp: Run, dead: Died, server: FakeServer) -> None:
    """A submit that was given up is `rejected`, twice too; nobody is asked."""
    lost = dead()
    for _ in range(2):
        ran = bgresp("resolve", lost, "--abandon", "--json")
        record = json.loads(ran.out)
        assert (0, "rejected") == (ran.code, record["status"])
        assert "abandoned" == record["error"]["code"]
    assert () == server.requests
    assert "" == bgresp("list").err


def test_a_settled_submit_is_refused(bgresp: Run, dead: Died) -> None:
    """What is settled stays so: exit 2, with its status."""
    lost = dead()
    assert 0 == bgresp("resolve", lost, "--abandon").code
    for how in (["--adopt", FIRST], ["--resend"], []):
        ran = bgresp("resolve", lost, *how)
        assert (2, "") == (ran.code, ran.out)
        assert "is rejected" in ran.err


def test_a_job_is_refused(bgresp: Run, state: Path) -> None:
    """A job whose outcome is known has nothing to resolve."""
    seed(state, {"status": "completed", "text": "Four."})
    ran = bgresp("resolve", FIRST, "--abandon")
    assert (2, "") == (ran.code, ran.out)
    assert "is completed" in ran.err


def test_without_a_way_the_three_are_named(
    bgresp: Run, dead: Died, server: FakeServer
) -> None:
    """Where nobody can tell, exit 7 names what a person can do."""
    lost = dead()
    for _ in range(2):
        ran = bgresp("resolve", lost)
        assert (7, "") == (ran.code, ran.out)
        assert f"bgresp resolve {lost} --adopt ID | --abandon | --resend" in ran.err
    assert () == server.requests


def test_resend_is_the_same_request(
    bgresp: Run, dead: Died, server: FakeServer, state: Path
) -> None:
    """--resend posts the same bytes under the same key, and the id is recorded."""
    lost = dead()
    ran = bgresp("resolve", lost, "--resend", "-q")
    assert (0, FIRST + "\n") == (ran.code, ran.out)
    (sent,) = server.creates
    assert (state / "requests" / f"{lost}.json").read_bytes() == sent.body
    assert lost == sent.headers["idempotency-key"]
    assert (lost, FIRST) == (last(state)["key"], last(state)["id"])


def test_resend_that_fails_is_still_unknown(
    bgresp: Run, dead: Died, server: FakeServer, state: Path
) -> None:
    """The first POST may have been accepted whatever the second one meets: exit 7."""
    lost = dead()
    server.script("create", refusal(400, "No."), Performed(RESET))
    for _ in range(2):
        assert 7 == bgresp("resolve", lost, "--resend").code
        assert "unknown" == last(state)["status"]


def test_resend_needs_the_request(
    bgresp: Run, dead: Died, server: FakeServer, state: Path
) -> None:
    """A request that was not kept cannot be sent again: exit 3 says so."""
    lost = dead()
    (state / "requests" / f"{lost}.json").unlink()
    ran = bgresp("resolve", lost, "--resend")
    assert (3, "") == (ran.code, ran.out)
    assert "was not kept" in ran.err
    assert "--resend" not in bgresp("resolve", lost).err
    assert () == server.creates


def test_a_live_submit_cannot_be_resolved(
    bgresp: Run, server: FakeServer, start: Start, state: Path
) -> None:
    """While the submit is at work it is not settled behind its back: exit 8."""
    server.script("create", ACCEPTED)
    start("submit", "-t", "hi", "-m", "m")
    server.wait_for("create")
    eventually(lambda: last(state)["status"] == "submitting")
    ran = bgresp("resolve", last(state)["key"], "--abandon")
    assert (8, "submitting") == (ran.code, last(state)["status"])


def test_a_listed_job_is_found(bgresp: Run, dead: Died, server: FakeServer) -> None:
    """Case 7: without an option the endpoint's list settles it; nothing is sent."""
    lost = dead("listed", accepted=True)
    ran = bgresp("resolve", lost, "-q")
    assert (0, FIRST + "\n") == (ran.code, ran.out)
    assert 1 == len(server.creates)


def test_an_absent_job_is_not_sent_again(
    bgresp: Run, dead: Died, server: FakeServer, state: Path
) -> None:
    """Case 8: what the list does not show stays unknown: exit 7, no POST."""
    lost = dead("listed")
    for _ in range(3):
        assert 7 == bgresp("resolve", lost).code
    assert "unknown" == last(state)["status"]
    assert () == server.creates


def test_a_replay_finds_the_job(bgresp: Run, dead: Died, server: FakeServer) -> None:
    """Case 9: where keys are honoured the same key is sent again: one job."""
    lost = dead("replays", accepted=True)
    ran = bgresp("resolve", lost, "-q")
    assert (0, FIRST + "\n") == (ran.code, ran.out)
    assert (2, [FIRST]) == (len(server.creates), list(server.jobs))


def test_a_rejecting_endpoint_is_not_asked(
    bgresp: Run, dead: Died, server: FakeServer
) -> None:
    """Case 10: where a used key is an error a person decides: exit 7, one POST."""
    lost = dead("rejects", accepted=True)
    assert 7 == bgresp("resolve", lost).code
    assert 1 == len(server.creates)
    server.script("create", refusal(409, "idempotency_key_reuse"))
    assert 7 == bgresp("resolve", lost, "--resend").code
    ran = bgresp("resolve", lost, "--adopt", FIRST, "-q")
    assert (0, FIRST + "\n") == (ran.code, ran.out)


def test_the_options_exclude_each_other(bgresp: Run, dead: Died) -> None:
    """One way at a time; and a key is needed."""
    lost = dead()
    assert 2 == bgresp("resolve", lost, "--abandon", "--resend").code
    assert 2 == bgresp("resolve").code
    assert 3 == bgresp("resolve", "no-such-key").code
