"""`bgresp sync`: one pass for cron."""

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.killed import configure, died
from tests.cli.ledger import ident, key, last, note, seed
from tests.cli.processes import Start
from tests.command import Run
from tests.fakeanswers import HANG, Forever, as_json, refusal
from tests.fakeserver import FakeServer
from tests.fakewire import response_of

DONE = as_json(response_of("completed", "Four."))
RUNS = as_json(response_of("in_progress"))


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """Run an endpoint that can list and honours keys; a dialect says which is used."""
    with FakeServer(listing=True, idempotent=True) as running:
        yield running


def test_changed_jobs_are_printed(bgresp: Run, server: FakeServer, state: Path) -> None:
    """A line a changed job: id, old and new status; the results are on disk."""
    seed(state, {}, {"status": "in_progress"}, {"raw_status": "queued"}, server=server)
    server.script("get", DONE, job=ident(1))
    server.script("get", as_json(response_of("failed")), job=ident(2))
    server.script("get", as_json(response_of("queued")), job=ident(3))
    ran = bgresp("sync")
    lines = {f"{ident(1)}\tqueued\tcompleted", f"{ident(2)}\tin_progress\tfailed"}
    assert (0, "", lines) == (ran.code, ran.err, set(ran.out.splitlines()))
    server.refuse()
    assert "Four.\n" == bgresp("get", ident(1)).out
    assert (12, "") == (bgresp("get", ident(2)).code, bgresp("get", ident(2)).out)


def test_answers_become_files(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """Who wants files from cron has to write a loop, or one bad disk stops the pass."""
    seed(
        state,
        {"group": "g", "row": "a"},
        {"group": "g", "row": "../b"},
        {"row": "c"},
        {"group": "g", "row": "d"},
        server=server,
    )
    for number in (1, 2, 3):
        server.script("get", DONE, job=ident(number))
    server.script("get", as_json(response_of("failed")), job=ident(4))
    ran = bgresp("sync", "--out-dir", "out")
    assert (0, "", 4) == (ran.code, ran.err, ran.out.count("\n"))
    written = {
        str(path.relative_to(tmp_path / "out")): path.read_text()
        for path in (tmp_path / "out").rglob("*.txt")
    }
    names = {"g/a.txt", f"g/{key(2)}.txt", f"{key(3)}.txt"}
    assert dict.fromkeys(names, "Four.\n") == written


def test_an_answer_that_cannot_be_written_is_no_lost_one(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """A file in the way of one answer costs the others, or the exit code is silent."""
    both = ({"group": "g", "row": "a"}, {"group": "h", "row": "b"})
    seed(state, *both, server=server)
    for number in (1, 2):
        server.script("get", DONE, job=ident(number))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "g").write_text("in the way")
    ran = bgresp("sync", "--out-dir", "out")
    assert (1, 2, 1) == (ran.code, ran.out.count("\n"), ran.err.count("\n"))
    assert f"(bgresp get {ident(1)})" in ran.err
    assert "Four.\n" == (tmp_path / "out" / "h" / "b.txt").read_text()
    assert "Four.\n" == bgresp("get", ident(1)).out


@pytest.mark.parametrize("mode", ["--json", "--jsonl", "-q"])
def test_machines_read_records(
    bgresp: Run, server: FakeServer, state: Path, mode: str
) -> None:
    """Changed jobs come as an array, as lines, or as ids; others do not come."""
    seed(state, {}, {"raw_status": "queued"}, server=server)
    server.script("get", DONE, job=ident(1))
    server.script("get", as_json(response_of("queued")), job=ident(2))
    ran = bgresp("sync", mode)
    if mode == "-q":
        assert ident(1) + "\n" == ran.out
        return
    found = json.loads(ran.out)
    (record,) = found if mode == "--json" else [found]
    assert (ident(1), "completed") == (record["id"], record["status"])


def test_the_exit_code_is_of_the_pass(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Whatever became of the jobs is exit 0, unless --exit-status asks for it."""
    seed(state, {}, {}, server=server)
    server.script("get", as_json(response_of("failed")), job=ident(1))
    server.script("get", Forever(RUNS), job=ident(2))
    assert 0 == bgresp("sync").code
    assert 8 == bgresp("sync", "--exit-status").code
    seed(state, {}, server=server)
    server.script("get", as_json(response_of("failed")), job=ident(3))
    assert 12 == bgresp("sync", "--exit-status").code


def test_nothing_open_is_fine(bgresp: Run, state: Path) -> None:
    """A pass over nothing says nothing and exits 0, on a fresh machine too."""
    for args in (["sync"], ["sync", "--group", "night"], ["sync", "-q"]):
        ran = bgresp(*args)
        assert (0, "", "") == (ran.code, ran.out, ran.err)
    assert "[]\n" == bgresp("sync", "--json").out


def test_a_second_sync_leaves_at_once(
    bgresp: Run, start: Start, server: FakeServer, state: Path
) -> None:
    """While one pass is at work another one exits 0, says so, and asks nobody."""
    seed(state, {}, server=server)
    server.script("get", HANG)
    first = start("sync")
    server.wait_for("get")
    ran = bgresp("sync")
    assert (0, "") == (ran.code, ran.out)
    assert "another sync is running" in ran.err
    assert 1 == len(server.requests)
    assert 143 == first.finish(signal.SIGTERM).code
    server.script("get", DONE)
    assert f"{ident(1)}\tqueued\tcompleted\n" == bgresp("sync").out


def test_selectors_choose(bgresp: Run, server: FakeServer, state: Path) -> None:
    """Only the jobs that are meant are asked about."""
    seed(state, {"group": "night"}, {"group": "day"}, {}, server=server)
    server.script("get", DONE)
    assert f"{ident(1)}\n" == bgresp("sync", "--group", "night", "-q").out
    server.script("get", DONE)
    assert f"{ident(2)}\n" == bgresp("sync", ident(2), "-q").out
    assert [ident(1), ident(2)] == [seen.job for seen in server.asked("get")]


def test_an_endpoint_that_is_down_costs_the_others_nothing(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Exit 6 tells of one endpoint; the jobs of the other are saved all the same."""
    seed(state, {"base_url": "http://127.0.0.1:9/v1"}, {"base_url": server.base_url})
    note(state, "http://127.0.0.1:9/v1")
    server.script("get", DONE)
    ran = bgresp("sync", "-q")
    assert (6, ident(2) + "\n") == (ran.code, ran.out)
    assert ident(1) in ran.err


def test_a_profile_that_is_gone_costs_the_others_nothing(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Exit 4 tells of a job that cannot be asked about any more."""
    lost = {"dialect": "gone"}, {"key_source": "env:NOT_SET"}
    seed(state, *lost, {}, server=server)
    server.script("get", DONE)
    ran = bgresp("sync", "-q")
    assert (4, ident(3) + "\n") == (ran.code, ran.out)
    assert "gone" in ran.err
    assert "NOT_SET" in ran.err


def test_a_refusal_is_the_passes_own(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """A job that the endpoint refuses to tell of is exit 5 and stays open."""
    seed(state, {}, server=server)
    server.script("get", refusal(400, "No."))
    ran = bgresp("sync")
    assert (5, "") == (ran.code, ran.out)
    assert "queued" == last(state)["status"]


def test_dead_submits_are_settled(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """Cases 7, 8 and 9: each is settled as its endpoint allows, in one pass."""
    configure(tmp_path)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    plain = died(server, state, accepted=True, submitted_at=now)
    listed = died(server, state, "listed", accepted=True, submitted_at=now)
    absent = died(server, state, "listed", submitted_at=now)
    replayed = died(server, state, "replays", accepted=True, submitted_at=now)
    before = len(server.creates)
    ran = bgresp("sync")
    assert 0 == ran.code
    lines = {
        f"{plain}\tsubmitting\tunknown",
        f"{ident(2)}\tsubmitting\tin_progress",
        f"{absent}\tsubmitting\tunknown",
        f"{ident(3)}\tsubmitting\tqueued",
    }
    assert lines == set(ran.out.splitlines())
    assert [replayed] == [
        seen.headers["idempotency-key"] for seen in server.creates[before:]
    ]
    assert 3 == len(server.jobs)
    again = bgresp("sync")
    assert {
        f"{ident(3)}\tqueued\tin_progress",
        f"{ident(2)}\tin_progress\tcompleted",
    } == set(again.out.splitlines())
    found = json.loads(bgresp("list", "--status", "unknown", "--json").out)
    assert [absent, plain] == [record["key"] for record in found]
    assert listed == key(2, now)


def test_a_disk_that_is_full_is_exit_1(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """A pass that cannot save a result says so: it is not done."""
    seed(state, {}, server=server)
    (state / "responses").rmdir()
    (state / "responses").write_text("in the way")
    server.script("get", DONE)
    ran = bgresp("sync")
    assert (1, "") == (ran.code, ran.out)
    assert "queued" == last(state)["status"]
