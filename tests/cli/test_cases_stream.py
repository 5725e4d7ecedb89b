"""RELIABILITY.md 8 C by the real command: what a stream or a poll may do to a watch.

Timers are made small by a dialect of the user's own. Case 58 is T11 and
test_tracker.py, 80, 81 and 83 are test_watch.py and test_detach.py, 85 and 86
test_cancel.py, 87 is T21.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.cli.ledger import ident, last, records, seed
from tests.cli.processes import Start
from tests.command import Ran, Run
from tests.fakeanswers import (
    BOM,
    COMMENTS,
    TOO_OLD,
    Answer,
    End,
    Forever,
    Framing,
    Snapshot,
    Stream,
    as_json,
    halved,
    html,
    refusal,
)
from tests.fakeserver import FakeServer
from tests.fakewire import (
    FOX,
    Resume,
    doubled,
    ended,
    errored,
    left_out,
    response_of,
    swapped,
    unended,
    unnumbered,
)
from tests.hastyclock import SCALE

WHOLE = FOX.encode() + b"\n"
CONFIG = """
[dialects.hasty.stream]
idle_bytes = 1.0
idle_events = 60
[dialects.hasty.limits]
poll = [0.05, 0.1]
rate = 0
[dialects.eventless]
extends = "hasty"
[dialects.eventless.stream]
idle_bytes = 60
idle_events = 2.0
[dialects.calm]
extends = "hasty"
[dialects.calm.stream]
idle_bytes = 60
"""
CUT = Stream(until=8, end=End.FIN)
Watch = Callable[..., Ran]


def accepted(state: Path, server: FakeServer, dialect: str, **job: Any) -> str:
    """Have a job at the server and in the ledger; return its id."""
    path = state.parent / "config" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(CONFIG)
    body = json.dumps({"model": "m", "input": "hi"}).encode()
    with urlopen(Request(f"{server.base_url}/responses", body)):  # noqa: S310  ours
        pass
    known = {"status": "in_progress", "streamable": True, "dialect": dialect}
    seed(state, {**known, "profile": dialect, **job}, server=server)
    return ident(len(server.creates))


@pytest.fixture
def watch(bgresp: Run, hasty: Run, server: FakeServer, state: Path) -> Watch:
    """Watch a new job whose streams and polls are scripted."""

    def go(
        *streams: Answer | Forever,
        gets: tuple[Answer | Forever, ...] = (),
        dialect: str = "calm",
        args: tuple[str, ...] = (),
        is_hasty: bool = False,
        **job: Any,
    ) -> Ran:
        name = accepted(state, server, dialect, **job)
        server.script("stream", *streams, job=name)
        server.script("get", *gets, job=name)
        return (hasty if is_hasty else bgresp)("watch", name, *args)

    return go


def is_exact(ran: Ran) -> bool:
    """Say whether the answer was printed once, and nothing else."""
    assert (0, WHOLE) == (ran.code, ran.out_bytes), ran.err
    return True


def saved(bgresp: Run) -> str:
    """Return what `get` prints of the newest job."""
    return bgresp("get", "@last").out


def test_59_a_server_that_ignores_the_cursor(watch: Watch) -> None:
    """A stream that is replayed from its start is printed twice."""
    assert is_exact(watch(CUT, Stream(resume=Resume.REPLAY)))


def test_60_an_inclusive_server(watch: Watch) -> None:
    """An event that comes again because of an off-by-one is printed twice."""
    assert is_exact(watch(CUT, Stream(resume=Resume.INCLUSIVE)))


def test_61_a_gap(watch: Watch, bgresp: Run) -> None:
    """Where events are missing, stdout or the disk does not hold the whole answer."""
    assert is_exact(watch(Stream(change=left_out(7, 8))))
    assert FOX + "\n" == saved(bgresp)


@pytest.mark.parametrize("change", [doubled, swapped(7), unnumbered])
def test_62_order(watch: Watch, change: Any) -> None:
    """Events that are doubled, out of order or without numbers spoil the text."""
    assert is_exact(watch(Stream(change=change)))


def test_62_unnumbered_and_cut(watch: Watch) -> None:
    """Where events have no numbers, a stream that starts over is printed twice."""
    first = replace(CUT, until=None, change=lambda told: unnumbered(told)[:8])
    assert is_exact(watch(first, Stream(resume=Resume.REPLAY, change=unnumbered)))


def test_63_an_end_without_a_terminal_event(watch: Watch, server: FakeServer) -> None:
    """A stream that ends untold is believed, or its job is not asked for."""
    done = Snapshot("completed")
    assert is_exact(watch(Stream(change=unended), gets=(done,)))
    assert 1 == len(server.asked("get"))


def test_64_an_end_of_a_job_that_runs(watch: Watch, server: FakeServer) -> None:
    """A stream that ends while the job runs is not taken up where it ended."""
    assert is_exact(watch(replace(CUT, end=End.EOF)))
    cursors = [seen.query.get("starting_after") for seen in server.asked("stream")]
    assert [None, "8"] == cursors


def test_65_no_blank_line_at_the_end(watch: Watch, server: FakeServer) -> None:
    """The last event is lost where no blank line follows it."""
    assert is_exact(watch(Stream(framing=Framing(trim=1, chunked=False))))
    assert () == server.asked("get")


@pytest.mark.parametrize(
    "framing",
    [
        Framing(head=BOM),
        Framing(newline="\r\n", piece=1),
        Framing(newline="\r", between=b": ping\r\r", ids=True),
        Framing(content_type="text/event-stream; charset=iso-8859-1", piece=3),
    ],
)
def test_66_framing(bgresp: Run, state: Path, framing: Framing) -> None:
    """A BOM, CRLF, CR, comments, U+2028 or a split character changes the text."""
    odd = "U+2028:\u2028 NEL:\x85 é \U0001f98a end"
    with FakeServer(tell=odd) as server:
        name = accepted(state, server, "calm")
        server.script("stream", Stream(framing=framing))
        ran = bgresp("watch", name, env={"BGRESP_BASE_URL": server.base_url})
    assert (0, odd + "\n") == (ran.code, ran.out), ran.err


def test_67_too_old_to_stream(watch: Watch) -> None:
    """A stream that broke and is refused as too old costs a part of the text."""
    ran = watch(CUT, TOO_OLD)
    assert is_exact(ran)
    assert 1 == ran.err.count("polling: ")


@pytest.mark.parametrize(
    "answer", [refusal(404), refusal(405), refusal(501), Snapshot(), html(404)]
)
def test_68_no_stream_there(watch: Watch, answer: Answer, server: FakeServer) -> None:
    """A stream that does not exist, or is JSON, is asked for more than once."""
    assert is_exact(watch(answer))
    assert 1 == len(server.asked("stream"))


def test_69_empty_streams(watch: Watch, server: FakeServer) -> None:
    """A stream that is always empty is opened for ever, or ends the watch."""
    empty = Forever(Stream([]))
    running = [Snapshot("in_progress")] * 8
    ran = watch(empty, gets=(*running, Snapshot("completed")), is_hasty=True)
    assert is_exact(ran)
    assert 6 >= len(server.asked("stream"))


def test_70_comments_without_end(watch: Watch) -> None:
    """Comments keep a stream that tells nothing open for ever."""
    drip = Stream(until=8, end=COMMENTS)
    assert is_exact(watch(drip, gets=(Snapshot("completed"),), dialect="eventless"))


def test_71_a_half_open_connection(watch: Watch, server: FakeServer) -> None:
    """A connection that is dead and does not say so is waited for."""
    assert is_exact(watch(replace(CUT, end=End.HANG), dialect="hasty"))
    assert 2 == len(server.asked("stream"))


def test_72_a_server_that_hangs_after_a_failure(watch: Watch, bgresp: Run) -> None:
    """A failed job whose stream stays open is not found to have failed."""
    ran = watch(replace(CUT, end=End.HANG), gets=(Snapshot("failed"),), dialect="hasty")
    assert 12 == ran.code
    assert "server_error" in ran.err
    assert 12 == bgresp("get", "@last").code


@pytest.mark.parametrize("status", [429, 503])
def test_73_a_wait_on_resume(watch: Watch, server: FakeServer, status: int) -> None:
    """A stream is opened before the time that the endpoint asked for, or from 0."""
    maybe = Forever(Snapshot("in_progress"), used=True)  # a slow machine looks beside
    refused = refusal(status, retry_after="20")
    assert is_exact(watch(CUT, refused, gets=(maybe,), is_hasty=True))
    _, first, again = server.asked("stream")
    assert {"8"} == {seen.query["starting_after"] for seen in (first, again)}
    assert 20 <= SCALE * (again.at - first.at)


def test_74_an_answer_that_is_incomplete(watch: Watch) -> None:
    """The part of an answer that hit its limit is lost, or its reason is not said."""
    ran = watch(Stream(change=ended("response.incomplete", "incomplete")))
    assert (10, WHOLE) == (ran.code, ran.out_bytes)
    assert "max_output_tokens" in ran.err


@pytest.mark.parametrize("nested", [True, False])
def test_75_an_error_event(watch: Watch, nested: bool) -> None:
    """An `error` event, flat or nested, ends otherwise than the job did."""
    broken = Stream(change=errored(9, nested=nested))
    ran = watch(broken, gets=(Snapshot("failed"),))
    assert 12 == ran.code
    assert "(server_error: The model failed.)" in ran.err


def test_75_a_failure(watch: Watch) -> None:
    """A failed stream does not say why the job failed."""
    ran = watch(Stream(change=ended("response.failed", "failed")))
    assert 12 == ran.code
    assert "(server_error: The model failed.)" in ran.err


def test_76_a_word_nobody_knows(watch: Watch, state: Path) -> None:
    """A status nobody knows ends the watch, or is warned of more than once."""
    words = [Snapshot("paused")] * 3
    ran = watch(gets=(*words, Snapshot("completed")), streamable=False)
    assert is_exact(ran)
    assert 1 == ran.err.count("'paused'")
    assert "paused" in {line.get("raw_status") for line in records(state)}


def test_77_rubbish_while_polling(watch: Watch) -> None:
    """An HTML page or half a body, with HTTP 200, ends a watch."""
    rubbish = (html(200), Snapshot(change=halved), html(502))
    assert is_exact(watch(gets=(*rubbish, Snapshot("completed")), streamable=False))


def test_78_a_young_job_not_found_yet(watch: Watch) -> None:
    """A job is given up because the endpoint did not know it at once."""
    now = datetime.now(UTC).isoformat()
    ran = watch(
        *(refusal(404),),
        gets=(refusal(404), Snapshot("completed")),
        submitted_at=now,
        is_hasty=True,
    )
    assert is_exact(ran)


def test_79_a_job_that_is_gone(watch: Watch, state: Path, server: FakeServer) -> None:
    """An old job is lost by fewer than three 404s within a minute, or never."""
    gone = (Forever(refusal(404, "Not found.")),)
    ran = watch(gets=gone, streamable=False, is_hasty=True)
    asked = server.asked("get")
    assert (13, b"") == (ran.code, ran.out_bytes)
    assert len(asked) >= 3
    assert 60 <= SCALE * (asked[-1].at - asked[0].at)
    assert b"asks again" in ran.err_bytes
    assert "lost" == last(state)["status"]


def test_82_two_watchers(start: Start, server: FakeServer, state: Path) -> None:
    """Two watches of one job disturb each other."""
    name = accepted(state, server, "calm")
    server.script("stream", *[CUT] * 2)
    server.script("get", *[Snapshot("in_progress")] * 2)
    both = [start("watch", name), start("watch", name)]
    assert all(is_exact(each.finish()) for each in both)
    assert FOX in (state / "responses" / f"{last(state)['key']}.json").read_text()


def test_84_completed_and_empty(watch: Watch) -> None:
    """A job that completed with an empty answer has no answer: exit 14."""
    empty = as_json(response_of("completed", "") | {"usage": None})
    ran = watch(gets=(Snapshot(change=lambda _: empty),), streamable=False)
    assert (14, b"") == (ran.code, ran.out_bytes)
    assert "empty and without usage" in ran.err
