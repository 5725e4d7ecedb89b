"""`bgresp doctor --probe`: asks first, sees what really is, keeps it, goes by it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ledger import ident, last, records, seed
from tests.cli.terminal import Terminals
from tests.command import Run
from tests.fakeanswers import (
    NOT_STREAMABLE,
    Answer,
    Forever,
    Snapshot,
    Stream,
    refusal,
)
from tests.fakejobs import says
from tests.fakeserver import FakeServer
from tests.fakewire import FOX, Resume, response_of

CUT = " ".join(map(str, range(20)))
ABILITIES = (
    *("background", "retrieve", "stream_create", "stream_later", "resume"),
    *("cancel", "cancel_twice", "delete", "list", "truncation"),
)
Probed = Callable[..., dict[str, str]]


@pytest.fixture
def server() -> Any:
    """Run an endpoint whose answers are cut, as a probe's are; it has a list."""
    with FakeServer(tell=says(CUT, status="incomplete"), listing=True) as running:
        yield running


@pytest.fixture
def listed(tmp_path: Path, server: FakeServer) -> dict[str, str]:
    """Configure a dialect with a list, and a short pace."""
    path = tmp_path / "config" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        f'[dialects.mine]\nbase_url = "{server.base_url}"\n'
        '[dialects.mine.ops]\nlist = "GET /responses"\n'
        "[dialects.mine.limits]\npoll = [0.05, 1]\n"
        '[dialects.poor]\nextends = "mine"\n'
        '[dialects.poor.ops]\nlist = ""\ncancel = ""\ndelete = ""\nstream = ""\n'
    )
    return {"BGRESP_PROFILE": "mine"}


@pytest.fixture
def probed(bgresp: Run, listed: dict[str, str], state: Path) -> Probed:
    """Probe; check the kept card against the printed one; return the verdicts."""

    def go(*, code: int = 0, dialect: str = "mine") -> dict[str, str]:
        env = {"BGRESP_PROFILE": dialect}
        ran = bgresp("doctor", "--probe", "--yes", "--json", "-m", "m", env=env)
        assert code == ran.code, ran.err
        card = json.loads(ran.out)
        assert ("bgresp.probe/1", dialect, "m") == (
            card["schema"],
            card["dialect"],
            card["model"],
        )
        assert ABILITIES == tuple(card["abilities"])
        (kept,) = (state / "probes").iterdir()
        assert card == json.loads(kept.read_text())
        assert f"kept in {kept}" in ran.err
        return {
            k: f"{v['verdict']}: {v['detail']}" for k, v in card["abilities"].items()
        }

    return go


def test_nobody_is_asked_unasked(
    bgresp: Run, listed: dict[str, str], server: FakeServer, state: Path
) -> None:
    """Without a terminal or --yes nothing is sent: exit 2 with the line to type."""
    ran = bgresp("doctor", "--probe", "-m", "m", env=listed)
    assert (2, "") == (ran.code, ran.out)
    assert f"up to 2 short jobs for m to {server.base_url}" in ran.err
    assert "(bgresp doctor --probe --yes -p mine -m m)" in ran.err
    for args in (("--probe", "--fix"), ("--yes",), ("-m", "m")):
        assert 2 == bgresp("doctor", *args, env=listed).code
    assert () == server.requests
    assert not state.exists()


@pytest.mark.parametrize(
    ("typed", "jobs"), [("y\n", 2), ("yes\n", 2), ("\n", 0), ("no\n", 0)]
)
def test_a_person_is_asked(
    terminal: Terminals,
    listed: dict[str, str],
    server: FakeServer,
    typed: str,
    jobs: int,
) -> None:
    """The number of jobs, the place and the key's source are told; only yes is yes."""
    asking = terminal("doctor", "--probe", env=listed)
    asking.until(lambda seen: seen.shows("Go on? [y/N]"))
    assert () == server.requests
    asking.type(typed.encode())
    assert 0 == asking.finish()
    assert jobs == len(server.creates)


def test_what_works_is_seen(probed: Probed, server: FakeServer, state: Path) -> None:
    """Two jobs show every ability; they are in the ledger first, like any others."""
    found = probed()
    assert ["yes"] * 10 == [detail.partition(":")[0] for detail in found.values()]
    assert "yes: went on with 3 after 2" == found["resume"]
    assert "yes: a cut answer is incomplete (max_output_tokens)" == found["truncation"]
    bodies = [seen.json for seen in server.creates]
    assert [(True, 16), (None, 1000)] == [
        (body.get("stream"), body["max_output_tokens"]) for body in bodies
    ]
    assert all(body["background"] and body["store"] for body in bodies)
    lines = records(state)
    assert "submitting" == lines[0]["status"]
    made = {line["key"]: line for line in lines}.values()
    assert [{"probe": "answer"}, {"probe": "cancel"}] == [j["labels"] for j in made]
    assert [("probe", "incomplete"), ("probe", "cancelled")] == [
        (job["name"], job["status"]) for job in made
    ]
    assert {} == server.jobs


def test_a_probe_is_not_the_last_job(probed: Probed, bgresp: Run, state: Path) -> None:
    """@last, list and stats mean the user's jobs; the probe's own go by their label."""
    seed(state, {}, {})
    probed()
    for ref, number in (("@last", 2), ("@1", 2), ("@2", 1)):
        (one,) = bgresp("list", ref, "-q").out.splitlines()
        assert ident(number) == one
    assert 3 == bgresp("list", "@3").code
    assert 2 == len(bgresp("list", "-q").out.splitlines())
    assert 2 == json.loads(bgresp("stats", "--json").out)["total"]["jobs"]
    assert 2 == len(bgresp("list", "-l", "probe", "-q").out.splitlines())


def test_a_table_is_printed(bgresp: Run, listed: dict[str, str]) -> None:
    """Each ability is a row: level, ability, verdict, what was seen."""
    ran = bgresp("doctor", "--probe", "--yes", env=listed)
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert [("ok", name, "yes") for name in ABILITIES] == [tuple(r[:3]) for r in rows]


NO_ROUTE = Forever(refusal(404, "No such route."))


@pytest.mark.parametrize(
    ("operation", "answer", "expected"),
    [
        ("stream", Forever(Snapshot()), {"stream_later": "no: answered with JSON", "resume": "no: answered with JSON"}),
        ("stream", Forever(NOT_STREAMABLE), {"stream_later": "no: HTTP 400: Response was not created with"}),
        ("stream", Forever(Stream(resume=Resume.REPLAY)), {"stream_later": "yes", "resume": "no: the cursor 2 is ignored: it began with 0"}),
        ("stream", refusal(400, "No starting_after."), {"stream_later": "yes", "resume": "no: HTTP 400: No starting_after."}),
        ("stream", Forever(refusal(503, "Later.")), {"stream_later": "unknown: HTTP 503: Later."}),
        ("create", Snapshot(), {"stream_create": "no: answered with JSON", "stream_later": "yes"}),
        ("create", refusal(400, "No stream here."), {"stream_create": "no: HTTP 400: No stream here.", "background": "yes"}),
        ("cancel", Forever(refusal(405, "Not here.")), {"cancel": "no: goes on", "cancel_twice": "unknown: not tried"}),
        ("delete", NO_ROUTE, {"delete": "no: the job is still there"}),
        ("delete", Forever(refusal(405, "No.")), {"delete": "no: HTTP 405: No."}),
        ("list", NO_ROUTE, {"list": "no: HTTP 404: No such route."}),
        ("list", Forever(refusal(500, "Oops.")), {"list": "unknown: HTTP 500: Oops."}),
    ],
)  # fmt: skip
def test_what_does_not_work_is_seen(
    probed: Probed,
    server: FakeServer,
    operation: str,
    answer: Answer | Forever,
    expected: dict[str, str],
) -> None:
    """A missing ability is a no with the endpoint's words; a bad moment is no verdict."""
    job = ident(2) if operation == "cancel" else None
    server.script(operation, answer, job=job)
    if operation == "cancel":
        server.script("get", Forever(Snapshot("in_progress")), job=ident(2))
    found = probed()
    seen = {name: found[name].startswith(said) for name, said in expected.items()}
    assert all(seen.values()), found
    assert "yes" == found["retrieve"].partition(":")[0]
    others = {"background", "truncation"} - {*expected}
    assert all(found[name].startswith("yes") for name in others), found


def test_a_second_cancel_may_be_refused(probed: Probed, server: FakeServer) -> None:
    """An endpoint that refuses the second cancel can cancel all the same."""
    server.script("cancel", Snapshot(), refusal(400, "It is over."))
    found = probed()
    assert "yes" == found["cancel"].partition(":")[0]
    assert "no: HTTP 400: It is over." == found["cancel_twice"]


def test_an_ignored_background_is_named(probed: Probed, server: FakeServer) -> None:
    """An endpoint that answers at once makes one job only, and is told of."""
    server.script("create", Snapshot("incomplete"))
    found = probed()
    assert found["background"].startswith("no: ignored: the create was answered when")
    assert "unknown: nothing runs in the background" == found["cancel"]
    assert 1 == len(server.creates)


def test_a_job_that_cannot_be_asked_for_is_named(
    bgresp: Run, listed: dict[str, str], server: FakeServer
) -> None:
    """Accepted and never to be seen again: bad, exit 5, and nothing more is made."""
    server.script("get", Forever(refusal(404, "Cannot GET /v1/responses.")))
    ran = bgresp("doctor", "--probe", "--yes", env=listed)
    rows = {row[1]: row for row in (line.split("\t") for line in ran.out.splitlines())}
    said = "accepted, but cannot be asked for: HTTP 404: Cannot GET /v1/responses."
    assert (5, ["bad", "retrieve", "no", said]) == (ran.code, rows["retrieve"])
    assert "unknown" == rows["cancel"][2]
    assert 1 == len(server.creates)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CUT, "no: a cut answer is called completed"),
        ("1\n2\n3", "unknown: the answer was a short one"),
        ("1 and so on, to 300", "unknown: max_output_tokens = 16 was ignored"),
    ],
)
def test_an_untruthful_end_is_seen(
    probed: Probed, server: FakeServer, text: str, said: str
) -> None:
    """A cut answer that is called completed is named; a short one proves nothing."""
    server._jobs.tell = says(text)
    assert said == probed()["truncation"]


def test_what_a_dialect_lacks_is_not_tried(probed: Probed, server: FakeServer) -> None:
    """Operations that the dialect does not have are said to be none; one job is made."""
    found = probed(dialect="poor")
    for name in ("stream_create", "stream_later", "resume", "cancel", "delete", "list"):
        assert "no: the dialect poor has none" == found[name]
    assert {"create", "get"} == {seen.operation for seen in server.requests}
    assert 1 == len(server.creates)


@pytest.mark.parametrize(
    ("answer", "code"), [(refusal(401, "Bad key."), 4), (refusal(500, "Oops."), 7)]
)
def test_a_probe_that_is_not_accepted(
    bgresp: Run,
    listed: dict[str, str],
    server: FakeServer,
    state: Path,
    answer: Answer,
    code: int,
) -> None:
    """A refused or lost job of a probe ends as any submit does, and leaves no card."""
    server.script("create", answer)
    ran = bgresp("doctor", "--probe", "--yes", env=listed)
    assert (code, "") == (ran.code, ran.out)
    assert {"answer"} == {line["labels"]["probe"] for line in records(state)}
    assert not (state / "probes").exists()


def test_watch_goes_by_the_card(
    bgresp: Run, probed: Probed, listed: dict[str, str], server: FakeServer
) -> None:
    """Where a running job cannot be streamed no stream is tried; without a card it is."""
    server.script("stream", Forever(Snapshot()))
    assert probed()["stream_later"].startswith("no")
    before = len(server.asked("stream"))
    assert 0 == bgresp("submit", "-t", "hi", "--stream", env=listed).code
    ran = bgresp("watch", "@last", env=listed)
    assert (10, CUT + "\n") == (ran.code, ran.out)
    assert "polling: a mine endpoint cannot stream a running job" in ran.err
    assert before == len(server.asked("stream"))


def test_a_cursor_that_is_not_minded_is_not_sent(
    bgresp: Run, probed: Probed, listed: dict[str, str], server: FakeServer
) -> None:
    """Where an endpoint replays from the start, watch lets it and shows nothing twice."""
    server.script("stream", Forever(Stream(resume=Resume.REPLAY)))
    assert probed()["resume"].startswith("no")
    assert 0 == bgresp("submit", "-t", "hi", "--stream", env=listed).code
    job = ident(len(server.creates))
    server.script("stream", Stream(until=8), Stream(), job=job)
    server.script("get", Snapshot("in_progress"), job=job)
    ran = bgresp("watch", job, env=listed)
    assert (10, CUT + "\n") == (ran.code, ran.out)
    assert [None, None] == [
        s.query.get("starting_after") for s in server.asked("stream", job)
    ]


def test_cancel_goes_by_the_card(
    bgresp: Run, probed: Probed, listed: dict[str, str], server: FakeServer
) -> None:
    """Where cancel has no route none is sent: exit 5 says that the endpoint cannot."""
    server.script("cancel", Forever(refusal(405, "Not here.")), job=ident(2))
    server.script("get", Forever(Snapshot("in_progress")), job=ident(2))
    found = probed()
    assert found["cancel"].startswith("no"), found
    assert 0 == bgresp("submit", "-t", "hi", env=listed).code
    before = server.cancels()
    ran = bgresp("cancel", "@last", env=listed)
    assert (5, before) == (ran.code, server.cancels())
    assert "goes on: mine has no way to cancel a job" in ran.err


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": "bgresp.probe/2"}', "[" * 9999]
)
def test_a_card_that_cannot_be_read_is_none(
    bgresp: Run, probed: Probed, listed: dict[str, str], state: Path, text: str
) -> None:
    """A broken card changes nothing."""
    probed()
    (card,) = (state / "probes").iterdir()
    card.write_text(text)
    assert 0 == bgresp("submit", "-t", "hi", env=listed).code
    assert 0 == bgresp("cancel", "@last", env=listed).code


def test_submit_takes_what_is_answered_at_once(
    bgresp: Run, listed: dict[str, str], server: FakeServer, state: Path
) -> None:
    """An endpoint that ignores background gives a finished job, and a note on stderr."""
    server.script("create", Snapshot("completed"))
    ran = bgresp("submit", "-t", "hi", env=listed)
    assert (0, f"{ident(1)}\n") == (ran.code, ran.out)
    host = server.base_url.split("/")[2]
    said = f"was answered at once: nothing runs in the background at {host}"
    assert f"bgresp: {ident(1)} {said}\n" == ran.err
    assert "completed" == last(state)["status"]
    assert 0 == bgresp("get", "@last", env=listed).code
    assert 1 == len(server.requests)


def test_submit_tells_of_a_job_that_is_not_detached(
    bgresp: Run, listed: dict[str, str], server: FakeServer
) -> None:
    """A reply that says background: false is said to end with the command."""
    told = [{"type": "response.created", "sequence_number": 0}]
    told[0]["response"] = {**response_of("in_progress"), "background": False}
    told += [
        {
            "type": "response.completed",
            "sequence_number": 1,
            "response": response_of("completed", FOX),
        }
    ]
    server.script("create", Stream(events=told))
    ran = bgresp("submit", "-t", "hi", "--watch", env=listed)
    assert (0, FOX + "\n") == (ran.code, ran.out)
    assert "does not run in the background, it may end with this command" in ran.err
