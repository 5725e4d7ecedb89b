"""`bgresp status`: asks once and prints; the ledger keeps the server's word."""

import json
from pathlib import Path

import pytest

from tests.cli.ledger import FIELDS, ident, note, picture, records, seed
from tests.cli.processes import Each
from tests.command import Run
from tests.fakeanswers import Forever, Reply, Snapshot, as_json, html, refusal
from tests.fakeserver import FakeServer
from tests.fakewire import FOX, response_of


def test_it_asks_once_and_prints(bgresp: Run, server: FakeServer, state: Path) -> None:
    """One question a job, one tab-separated row a job, exit 0 however it ended."""
    assert 0 == bgresp("submit", "-t", "hi", "-n", "me", "-m", "gpt").code
    first = bgresp("status")
    assert (0, "", 1) == (first.code, first.err, len(server.asked("get")))
    cells = first.out.removesuffix("\n").split("\t")
    assert [ident(1), "me", "in_progress"] == cells[:3]
    assert ["-", "gpt", "-"] == cells[4:7]
    server.script("get", Snapshot("failed"))
    second = bgresp("status", "me", "--exit-status", "--json")
    record = json.loads(second.out)
    assert (12, FIELDS, "failed") == (second.code, tuple(record), record["status"])
    assert {"code": "server_error", "message": "The model failed."} == record["error"]
    assert (12, record["checked_at"]) == (record["exit_code"], record["finished_at"])
    third = bgresp("status", ident(1), "--fields", "id,exit_code,error,row")
    error = json.dumps(record["error"])
    assert (0, f"{ident(1)}\t12\t{error}\t-\n") == (third.code, third.out)
    assert 2 == len(server.asked("get"))


def test_several_jobs_in_every_format(
    each: Each, server: FakeServer, state: Path
) -> None:
    """Several REFs are rows, an array, or an object a line; -q prints ids only."""
    seed(
        state,
        {"status": "completed", "text": FOX, "group": "g"},
        {"status": "failed", "text": "", "group": "g"},
        server=server,
    )
    ids, array, lines = each(
        ["status", "@2", "@1", "-q"],
        ["status", ident(1), ident(2), "--json", "--fields", "id,status"],
        ["status", "--group", "g", "--jsonl", "--local"],
    )
    assert f"{ident(1)}\n{ident(2)}\n" == ids.out
    assert [
        {"id": ident(1), "status": "completed"},
        {"id": ident(2), "status": "failed"},
    ] == json.loads(array.out)
    assert [ident(2), ident(1)] == [
        json.loads(line)["id"] for line in lines.out.splitlines()
    ]
    assert () == server.requests


def test_a_fault_changes_nothing_that_the_server_said(
    each: Each, server: FakeServer, state: Path
) -> None:
    """Unreachable, refused or unreadable: the status stays, and the exit code tells."""
    seed(state, {"status": "in_progress"}, server=server)
    faults: list[tuple[int, Reply]] = [
        (6, html(502)),
        (6, refusal(429, "Later.", retry_after="900")),
        (4, refusal(401, "Bad key.")),
        (5, Reply(200, b"{")),
    ]
    server.script("get", *[fault for _, fault in faults])
    for (code, _), ran in zip(faults, each(*[["status"]] * 4), strict=True):
        assert (code, "in_progress") == (ran.code, ran.out.split("\t")[2])
        assert ran.err.startswith(f"bgresp: {ident(1)}: ")
    _, *lines = records(state)
    assert {"in_progress"} == {line["status"] for line in lines}
    assert 4 == len({line["last_error"] for line in lines})
    assert not any("checked_at" in line for line in lines)
    server.refuse()
    before = picture(state)
    (ran,) = each(["status", "--local", "--json"])
    assert (0, "in_progress") == (ran.code, json.loads(ran.out)["status"])
    assert before == picture(state)
    (ran,) = each(["status", "--json"])
    assert (6, "in_progress") == (ran.code, json.loads(ran.out)["status"])
    assert json.loads(ran.out)["last_error"]


def test_a_job_keeps_its_endpoint(bgresp: Run, server: FakeServer, state: Path) -> None:
    """A job of the ledger is asked about where it was made, whatever flags now say."""
    seed(state, {"status": "queued"}, server=server)
    note(state, server.base_url)
    answer = as_json(response_of("in_progress", response_id=ident(1)))
    server.script("get", answer, answer)
    with FakeServer() as other:
        env = {"BGRESP_BASE_URL": other.base_url}
        assert 0 == bgresp("status", "@1", env=env).code
        assert 0 == bgresp("status", "@1", "--base-url", other.base_url).code
        assert () == other.requests
    assert 2 == len(server.asked("get", ident(1)))


def test_a_word_that_nobody_knows(bgresp: Run, server: FakeServer, state: Path) -> None:
    """An unknown status leaves the last open one, and stays in raw_status."""
    seed(state, {"status": "queued"}, server=server)
    word = response_of("pondering", response_id=ident(1))
    server.script("get", as_json(word))
    ran = bgresp("status", "--json")
    record = json.loads(ran.out)
    assert (0, "queued", "pondering") == (
        *(ran.code, record["status"], record["raw_status"]),
    )


def test_a_lost_job_says_so(bgresp: Run, server: FakeServer, state: Path) -> None:
    """A lost job is asked about once more, and exits 13 where the exit is its end."""
    seed(state, {"status": "lost", "last_error": "404"}, server=server)
    server.script("get", refusal(404, "Not found."))
    ran = bgresp("status", "--exit-status")
    assert (13, "lost") == (ran.code, ran.out.split("\t")[2])


ASKING: list[list[str]] = [
    ["sync"],
    ["watch", "--no-progress"],
    ["wait", "--all"],
    ["get", "--all"],
    ["status", "--all"],
    ["list", "--refresh"],
    ["cancel", "--all"],
]


@pytest.mark.parametrize("verb", ASKING, ids=lambda verb: verb[0])
def test_one_bad_key_is_one_line(
    bgresp: Run, server: FakeServer, state: Path, verb: list[str]
) -> None:
    """A key that is refused costs a request and a line for each of its jobs."""
    seed(state, *[{"profile": "lab"}] * 7, server=server)
    note(state, server.base_url, of="lab")
    asked = "cancel" if verb[0] == "cancel" else "get"
    server.script(asked, Forever(refusal(401, "Bad key.")))
    ran = bgresp(*verb)
    errors = [line for line in ran.err.splitlines() if "Bad key." in line]
    assert (4, 1) == (ran.code, len(server.requests))
    (line,) = errors
    assert line.startswith("bgresp: 7 jobs of profile lab: ")
    hint = "the key of profile lab, from env:BGRESP_API_KEY: bgresp config show -p lab"
    assert line.endswith(f" ({hint})"), line
