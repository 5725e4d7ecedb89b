"""`bgresp watch`: the text as it comes, exactly; streams, and polls where they fail."""

import json
import re
import signal
from pathlib import Path

from tests.cli.ledger import FIELDS, ident, last, note, records, seed
from tests.cli.processes import Start
from tests.command import Run
from tests.fakeanswers import (
    NOT_STREAMABLE,
    End,
    Forever,
    Snapshot,
    Stream,
    as_json,
    refusal,
)
from tests.fakejobs import says
from tests.fakeserver import FakeServer
from tests.fakewire import FOX, events_of, response_of, restarted

STREAMED = {"status": "in_progress", "streamable": True}
WHOLE = FOX.encode() + b"\n"
ODD = "Ein Satz «é» 世界 👩‍🚀\r\n\n\ttabs, \x1b[31mred\x1b[0m and no newline"


def answered(text: str = FOX, status: str = "completed", number: int = 1) -> Snapshot:
    """Answer a GET of a job that the fake server did not make itself."""
    response = response_of(status, text, response_id=ident(number))
    return Snapshot(change=lambda _: as_json(response))


def test_a_stream_is_shown_exactly(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """The text is on stdout byte for byte and one newline; stderr a line per change."""
    with FakeServer(tell=ODD) as odd:
        env = {"BGRESP_BASE_URL": odd.base_url}
        odd.script("create", Stream(until=2))
        assert 0 == bgresp("submit", "-t", "x", "--stream", env=env).code
        ran = bgresp("watch", "@last")
        assert (0, ODD.encode() + b"\n") == (ran.code, ran.out_bytes)
        lines = [line.split()[1:3] for line in ran.err.splitlines()]
        assert [[ident(1), "in_progress"], [ident(1), "completed"]] == lines
        assert {"stream": "true"} == odd.asked("stream")[0].query
        again = bgresp("watch", "@last", "-o", "answer")
        assert (0, "") == (again.code, again.out)
        assert 1 == len(odd.asked("stream"))
    assert ODD + "\n" == (state.parent / "answer").read_bytes().decode()


def test_a_broken_stream_is_taken_up_where_it_broke(
    bgresp: Run, server: FakeServer
) -> None:
    """A stream that breaks, resets or is sent twice still gives the text once."""
    server.script("create", Stream(until=2))
    assert 0 == bgresp("submit", "-t", "x", "--stream").code
    server.script(
        "stream",
        Stream(until=6, end=End.RST),
        Stream(until=8, end=End.FIN),
        Stream(change=restarted(4)),
    )
    server.script("get", *[Snapshot("in_progress")] * 2)
    ran = bgresp("watch", "@last")
    assert (0, WHOLE) == (ran.code, ran.out_bytes)
    assert [None, "6", "8"] == [
        seen.query.get("starting_after") for seen in server.asked("stream")
    ]


def test_what_cannot_be_streamed_is_polled(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """A job that cannot be streamed is polled, stderr says why once, --mode stream: 5.

    The reason is the record's, or the endpoint's own words.
    """
    seed(state, {}, {"streamable": True}, {"streamable": True}, server=server)
    server.script("get", answered(), answered(number=2))
    ran = bgresp("watch", "@3")
    assert (0, WHOLE) == (ran.code, ran.out_bytes)
    assert 1 == ran.err.count("polling: not created streamable\n")
    server.script("stream", Forever(NOT_STREAMABLE))
    ran = bgresp("watch", "@2")
    assert (0, WHOLE) == (ran.code, ran.out_bytes)
    assert 1 == ran.err.count("polling: ")
    assert "polling: Response was not created with stream=true.\n" in ran.err
    ran = bgresp("watch", "@1", "--mode", "stream")
    assert (5, b"") == (ran.code, ran.out_bytes)
    seed(state, {}, server=server)
    ran = bgresp("watch", "@1", "--mode", "stream")
    assert (5, b"") == (ran.code, ran.out_bytes)
    assert "not created streamable" in ran.err
    assert "queued" == last(state)["status"]
    assert 2 == len(server.asked("get"))


def test_polling_on_request(bgresp: Run, server: FakeServer, state: Path) -> None:
    """--mode poll asks at --interval, opens no stream and says nothing of it."""
    seed(state, STREAMED, server=server)
    server.script("get", *[answered("", "in_progress")] * 3, answered())
    ran = bgresp("watch", ident(1), "--mode", "poll", "--interval", "0.01")
    assert (0, WHOLE, 0) == (ran.code, ran.out_bytes, ran.err.count("polling"))
    assert (4, ()) == (len(server.asked("get")), server.asked("stream"))


def test_machine_formats(bgresp: Run, server: FakeServer, state: Path) -> None:
    """--json is the final record, --jsonl typed lines, --events what the wire said."""
    for name in ("one", "two", "three"):
        server.script("create", Stream(until=2))
        assert 0 == bgresp("submit", "-t", "x", "--stream", "-n", name).code
    events = bgresp("watch", "one", "--events")
    told = [json.loads(line) for line in events.out.splitlines()]
    kinds = [event["type"] for event in events_of(FOX)]
    assert (0, kinds) == (events.code, [event["type"] for event in told])
    assert list(range(len(kinds))) == [event["sequence_number"] for event in told]
    assert " completed in " in events.err
    lines = bgresp("watch", "two", "--jsonl")
    found = [json.loads(line) for line in lines.out.splitlines()]
    types = [line["type"] for line in found]
    assert (0, "state", "final") == (lines.code, types[0], types[-1])
    assert {"state", "delta", "final"} == set(types)
    assert FOX == "".join(line.get("delta", "") for line in found)
    assert (FOX, "completed") == (found[-1]["text"], found[-1]["status"])
    record = bgresp("watch", "three", "--json")
    assert (0, 1) == (record.code, record.out.count("\n"))
    assert (*FIELDS, "text") == tuple(json.loads(record.out))
    ids = bgresp("watch", "three", "two", "-q")
    assert (0, f"{ident(3)}\n{ident(2)}\n") == (ids.code, ids.out)
    both = bgresp("watch", "@1", "--events", "--json")
    assert (2, "") == (both.code, both.out)


def test_the_end_is_the_exit_code(bgresp: Run, server: FakeServer, state: Path) -> None:
    """The exit code and stderr say how a job ended that did not complete."""
    ends = [
        ("failed", 12, "Half", "(server_error: The model failed.)"),
        ("incomplete", 10, "Half", "(max_output_tokens)"),
        ("cancelled", 11, "", "cancelled"),
    ]
    for number, (status, code, text, why) in enumerate(ends, 1):
        seed(state, {}, server=server)
        server.script("get", answered(text, status, number))
        ran = bgresp("watch", "@last" if number == 1 else ident(number))
        assert (code, f"{text}\n" if text else "") == (ran.code, ran.out)
        assert why in ran.err.splitlines()[-1]


def test_time_and_early_ends(bgresp: Run, state: Path) -> None:
    """--timeout leaves with 8 and how to go on; --fail-fast with the first bad end."""
    with FakeServer(polls=["in_progress"] * 999) as server:
        env = {"BGRESP_BASE_URL": server.base_url}
        for name in ("bad", "slow"):
            assert 0 == bgresp("submit", "-t", "x", "-n", name, env=env).code
        ran = bgresp("watch", "slow", "--timeout", "0.3")
        assert (8, "") == (ran.code, ran.out)
        assert re.search(rf"is still \w+: bgresp watch {ident(2)} --resume\n", ran.err)
        server.script("get", Snapshot("failed"), job=ident(1))
        ran = bgresp("watch", "slow", "bad", "--fail-fast")
        assert (12, "") == (ran.code, ran.out)
        asked = len(server.requests)
        again = bgresp("wait", "slow", "bad", "--fail-fast")
        assert (12, "", "") == (again.code, again.out, again.err)
        assert asked == len(server.requests)
    rows = bgresp("list", "--fields", "name,status").out.splitlines()
    assert ("bad\tfailed", True) == (rows[1], rows[0].startswith("slow\t"))


def test_several_or_none(bgresp: Run, server: FakeServer, state: Path) -> None:
    """Several REFs print no text but a line an end; nothing open says so with 0."""
    ran = bgresp("watch")
    none = "bgresp: nothing is open, no job yet: bgresp submit FILE\n"
    assert (0, "", none) == (ran.code, ran.out, ran.err)
    seed(state, STREAMED, {}, server=server)
    server.script("get", answered(), answered(number=2))
    ran = bgresp("watch", "@1", "@2")
    assert (0, "", 1) == (ran.code, ran.out, len(server.asked("stream")))
    assert {ident(1), ident(2)} == {line.split()[1] for line in ran.err.splitlines()}
    last = bgresp("watch").err
    assert last.startswith(f"bgresp: nothing is open; the last job, {ident(2)}: comp")
    assert last.endswith(" (bgresp show, or bgresp watch @last)\n")
    seed(state, {}, server=server)
    server.script("get", answered(number=3))
    ran = bgresp("watch", "--json")
    (record,) = json.loads(ran.out)
    assert (0, ident(3), FOX) == (ran.code, record["id"], record["text"])


def test_failures_of_a_group_end_in_a_command(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """After the jobs of a group it says what takes up those that did not complete."""
    server.script("get", *[answered(status="failed", number=n) for n in (1, 2)])
    seed(state, {"group": "night"}, {"group": "night"}, server=server)
    ran = bgresp("watch", "--group", "night", "--mode", "poll")
    last_line = ran.err.splitlines()[-1]
    again = "2 did not complete: bgresp retry --failed --group night"
    assert (12, f"bgresp: {again}") == (ran.code, last_line)


def test_faults_on_the_way(bgresp: Run, server: FakeServer, state: Path) -> None:
    """A bad hour is survived, a refused key ends the watch with 4, the job stays."""
    seed(state, {}, {}, server=server)
    server.script("get", refusal(503, "Bad hour."), answered(number=2))
    ran = bgresp("watch", "@1")
    assert (0, WHOLE) == (ran.code, ran.out_bytes)
    assert "Bad hour." in ran.err
    server.script("get", refusal(401, "Bad key."))
    ran = bgresp("watch", "@2")
    assert (4, b"") == (ran.code, ran.out_bytes)
    assert "Bad key." in ran.err
    assert "queued" == last_of(state, ident(1))


def test_a_replay_is_no_news(bgresp: Run, server: FakeServer, state: Path) -> None:
    """A watch from the start does not put a running job back into the queue."""
    server.script("create", Stream(until=2))
    assert 0 == bgresp("submit", "-t", "x", "--stream").code
    assert "in_progress" == bgresp("status").out.split("\t")[2]
    ran = bgresp("watch")
    assert (0, FOX + "\n") == (ran.code, ran.out)
    assert "queued" not in ran.err
    assert "queued" not in [line["status"] for line in records(state)[3:]]


def last_of(state: Path, id_: str) -> str:
    lines = map(json.loads, (state / "ledger.jsonl").read_text().splitlines())
    return [str(line["status"]) for line in lines if line["id"] == id_][-1]


def test_text_that_was_taken_back(bgresp: Run) -> None:
    """Where what was shown is no beginning of the answer, stderr points to `get`.

    stdout of that submit is not the answer, which its exit code says.
    """
    with FakeServer(tell=says("Another answer.")) as server:
        env = {"BGRESP_BASE_URL": server.base_url}
        wrong = events_of("A wrong start of many words", status="in_progress")
        server.script("create", Stream(wrong, until=8))
        ran = bgresp("submit", "-t", "x", "--watch", env=env)
        assert f"is not how the answer begins: bgresp get {ident(1)}" in ran.err
        again = bgresp("watch", "@1", "--resume")
        assert (0, "") == (again.code, again.out)
        assert "Another answer.\n" == bgresp("get").out
        assert (1, "A wrong start of ") == (ran.code, ran.out)


def test_the_events_of_a_finished_job(bgresp: Run, server: FakeServer) -> None:
    """--events of a job that is over replays what its endpoint has, or says: none."""
    assert 0 == bgresp("submit", "-t", "x", "--stream", "--wait").code
    ran = bgresp("watch", "@1", "--events")
    kinds = [json.loads(line)["type"] for line in ran.out.splitlines()]
    assert (0, [event["type"] for event in events_of(FOX)]) == (ran.code, kinds)
    server.script("stream", refusal(404))
    none = bgresp("watch", "@1", "--events")
    assert (0, "") == (none.code, none.out)
    assert "the endpoint has no events of it" in none.err


def test_a_job_that_runs_longer_than_any_may_is_followed_no_longer(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """Past the dialect's longest run: exit 8, the limit is named, the job stays open."""
    config = tmp_path / "config" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_text("[dialects.short.limits]\nmax_run = 60\n")
    running = {"status": "in_progress", "started_at": "2026-01-02T03:05:05.000Z"}
    seed(state, {**running, "dialect": "short"}, server=server)
    server.script("get", as_json(response_of("in_progress", response_id=ident(1))))
    ran = bgresp("watch", "@last")
    assert (8, "") == (ran.code, ran.out)
    said = "still in_progress, though no job may run over 1 min"
    assert f"bgresp: {ident(1)}: {said}: cancel it, or ask later" in ran.err
    assert "in_progress" == last(state)["status"]


def test_a_watch_with_nothing_new_says_how_the_job_stands(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Who resumes a watch that has shown all of it sees nothing, and knows nothing."""
    seed(state, {}, server=server)
    server.script("get", answered())
    assert WHOLE == bgresp("watch", "@1").out_bytes
    again = bgresp("watch", "@1", "--resume")
    said = f" {ident(1)} completed in "
    assert (0, b"", 1) == (again.code, again.out_bytes, again.err.count("\n"))
    assert said in again.err
    assert again.err.endswith(f"nothing is new (bgresp get {ident(1)})\n")


def test_jobs_that_come_are_followed(
    bgresp: Run, start: Start, server: FakeServer, state: Path
) -> None:
    """--follow-new leaves out a job that came after it began, or takes another's."""
    for refused in (["@1"], ["-o", "x"]):
        assert 2 == bgresp("watch", *refused, "--follow-new").code
    watching = start("watch", "--group", "g", "--follow-new", "--interval", "0.1")
    assert 0 == bgresp("submit", "-t", "x", "--group", "g").code
    seen = watching.until(b" completed ", "err")
    for group in ("h", "g"):
        assert 0 == bgresp("submit", "-t", "y", "--group", group).code
    watching.until(f"{ident(3)} completed ".encode(), "err")
    ran = watching.finish(signal.SIGINT)
    assert 130 == ran.code
    assert ident(1).encode() in seen
    assert ident(2) not in ran.err


def test_a_job_on_its_way_is_followed(
    start: Start, server: FakeServer, state: Path
) -> None:
    """--follow-new forgets a job that another process was submitting as it began."""
    seed(state, {"group": "g", "status": "submitting", "id": None}, server=server)
    note(state, server.base_url)
    server.script("get", answered())
    watching = start("watch", "--group", "g", "--follow-new", "--interval", "0.1")
    watching.until(b" submitting\n", "err")
    accepted = {**last(state), "id": ident(1), "status": "queued"}
    with (state / "ledger.jsonl").open("a") as file:
        file.write(json.dumps(accepted) + "\n")
    watching.until(f"{ident(1)} completed ".encode(), "err")
    assert 130 == watching.finish(signal.SIGINT).code
