"""One job is followed to its end: its text shown once, its answer saved."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.core.model import Job, Status
from bgresp.core.signals import Event, Fault, FaultKind, Signal, Snapshot
from bgresp.engine.recorder import Recorder
from bgresp.engine.scheduler import Scheduler
from bgresp.engine.shown_text import ShownText
from bgresp.engine.tracker import Tools, Tracker
from tests import fakeanswers as fa
from tests import fakewire as fw
from tests.endpoint import dialect, endpoint, listed
from tests.fakeanswers import End, Framing, Stream
from tests.fakeserver import FakeServer
from tests.scripted import (
    CLOSED,
    LOST_REPLY,
    REFUSED,
    Answer,
    Heard,
    Late,
    Scripted,
    event,
    events,
    job,
    recorder_at,
    refusal,
    snapshot,
    tools,
    tracker,
)
from tests.virtualclock import run_virtual

EVENTS = events(fw.events_of(fw.FOX))
LAST = len(EVENTS) - 1
RUNNING, ANSWER = snapshot("in_progress"), snapshot("completed", fw.FOX)


def follow(
    scripted: Scripted,
    state: Path,
    *,
    one: Job | None = None,
    shown: ShownText | None = None,
    heard: Heard | None = None,
    **policy: Any,
) -> tuple[Tracker, Heard, float]:
    """Follow one job to its end in virtual time; return how long it took."""
    told = heard or Heard()

    async def main() -> tuple[Tracker, float]:
        shared = tools(scripted.api, recorder_at(state), told, **policy)
        only = tracker(one or job(), shared, shown)
        await Scheduler(16).run([only])
        return only, asyncio.get_running_loop().time()

    only, took = run_virtual(main())
    return only, told, took


def follow_for(
    seconds: float | None,
    shared: Tools,
    shown: ShownText | None = None,
    one: Job | None = None,
) -> bool:
    """Follow a job for so long; say whether that was its end."""

    async def main() -> bool:
        try:
            async with asyncio.timeout(seconds):
                await Scheduler(16).run([tracker(one or job(), shared, shown)])
        except TimeoutError:
            return False
        return True

    return run_virtual(main())


def shown(heard: Heard) -> str:
    return heard.shown.get(job().key, "")


def ended(heard: Heard) -> list[str]:
    return heard.ends.get(job().key, [])


DELTAS = [n for n, told in enumerate(EVENTS) if told.delta]


@pytest.mark.parametrize("cut", [DELTAS[1], DELTAS[3], DELTAS[-1]])
def test_what_arrives_together_is_shown_together(state: Path, cut: int) -> None:
    """Each delta costs a write, or is held back until another comes."""
    late: list[Answer] = [*EVENTS[:cut], Late(5.0, EVENTS[cut]), *EVENTS[cut + 1 :]]
    scripted = Scripted(streams=[late], at_once=True)
    heard, shown_at = Heard(), list[tuple[float, str]]()

    class Timed(Heard):
        def text(self, job: Job, fresh: str) -> None:
            shown_at.append((asyncio.get_running_loop().time(), fresh))

    only, _, _ = follow(scripted, state, heard=Timed())
    before = "".join(str(EVENTS[n].delta) for n in DELTAS if n < cut)
    # What tells that the stream runs well is a step of its own.
    assert (0.0, before) == (shown_at[0][0], "".join(t for at, t in shown_at if at < 5))
    assert len(shown_at) <= 4
    assert fw.FOX == "".join(text for _, text in shown_at)
    assert heard.raws == []
    one_by_one, alone, _ = follow(Scripted(streams=[late]), state / "other")
    assert (only.follow, only.view.deltas) == (
        one_by_one.follow,
        one_by_one.view.deltas,
    )
    assert fw.FOX == shown(alone)


def test_a_reader_that_leaves_is_noticed_in_a_silence(state: Path) -> None:
    """Text that nobody can be shown waits with its error for the next event."""
    late: list[Answer] = [*EVENTS[: DELTAS[3]], Late(100.0, EVENTS[DELTAS[3]])]
    scripted = Scripted(get=[RUNNING], streams=[late], at_once=True)
    ended_at = 0.0

    async def main() -> None:
        nonlocal ended_at
        shared = tools(scripted.api, recorder_at(state), Heard(breaks_after=0))
        try:
            await Scheduler(16).run([tracker(job(), shared)])
        finally:
            ended_at = asyncio.get_running_loop().time()

    with pytest.raises(BrokenPipeError):
        run_virtual(main())
    assert ended_at < 1.0


def test_a_job_is_polled_to_its_answer(state: Path) -> None:
    """Polls go on while the job is open; then its text is shown and all is saved."""
    scripted = Scripted(get=[snapshot("queued"), RUNNING, RUNNING, ANSWER])
    only, heard, _ = follow(scripted, state, mode="poll")
    assert (fw.FOX, [fw.FOX]) == (shown(heard), ended(heard))
    assert ["in_progress"] == heard.statuses[only.job.key]
    assert (4, 0) == (scripted.count("get"), scripted.count("stream"))
    kept = recorder_at(state)
    found = kept.ledger.by_key(only.job.key)
    assert found is not None
    assert (Status.COMPLETED, only.job) == (found.status, found)
    assert ANSWER.raw == kept.answers.response(only.job.key)
    assert found.usage is not None
    assert found.finished_at is not None


def test_a_whole_stream_needs_no_poll(state: Path) -> None:
    """A stream that ends in its answer is believed; its text comes word by word."""
    scripted = Scripted(streams=[[*EVENTS, CLOSED]])
    only, heard, _ = follow(scripted, state)
    assert (fw.FOX, [fw.FOX]) == (shown(heard), ended(heard))
    assert [None] == scripted.afters
    assert 0 == scripted.count("get")
    assert (Status.COMPLETED, LAST) == (only.job.status, only.job.cursor)
    assert [each.raw for each in EVENTS] == heard.raws
    assert "stream" == heard.views[0].mode
    saved = recorder_at(state).answers.response(only.job.key)
    assert saved is not None
    assert fw.FOX == fw.text_of(json.loads(saved))


@pytest.mark.parametrize(
    "last",
    [
        [],
        [event({"type": "response.completed", "sequence_number": LAST})],
        [event({"type": "response.done", "sequence_number": LAST})],
        [
            event(
                {
                    "type": "response.completed",
                    "sequence_number": LAST,
                    "response": fw.response_of("completed"),
                }
            )
        ],
        [event({"type": "error", "sequence_number": LAST, "message": "x"})],
    ],
    ids=["none", "bare", "done", "empty", "error"],
)
def test_an_end_without_its_answer_is_asked_for(
    state: Path, last: Sequence[Event]
) -> None:
    """A stream that ends without the text is no success: the final GET decides.

    No item of it was told whole: the answer would be put together of those.
    """
    told = [one for one in EVENTS[:-1] if one.type != "response.output_item.done"]
    scripted = Scripted(get=[ANSWER], streams=[[*told, *last, CLOSED]])
    only, heard, _ = follow(scripted, state)
    assert (fw.FOX, [fw.FOX]) == (shown(heard), ended(heard))
    assert 1 == scripted.count("get")
    assert ANSWER.raw == recorder_at(state).answers.response(only.job.key)


def test_an_answer_without_text_keeps_the_streamed_one(state: Path) -> None:
    """Text that only events told is saved, and is the answer, where GET has none."""
    empty = snapshot("completed", output=[])
    scripted = Scripted(get=[empty], streams=[[*EVENTS[:-1], CLOSED]])
    only, heard, _ = follow(scripted, state)
    assert (fw.FOX, [fw.FOX]) == (shown(heard), ended(heard))
    recorder = recorder_at(state)
    assert fw.FOX == recorder.answers.text(only.job.key, dialect())
    assert empty.raw == recorder.answers.response(only.job.key)


@pytest.mark.parametrize("kind", [FaultKind.CLOSED, FaultKind.IDLE])
@pytest.mark.parametrize("cut", range(LAST + 1))
def test_a_cut_after_any_event_shows_the_text_once(
    state: Path, cut: int, kind: FaultKind
) -> None:
    """Cut after each event and go on after it: nothing is shown twice or lost."""
    first, rest = EVENTS[: cut + 1], EVENTS[cut + 1 :]
    fault = Fault(kind, "cut")
    scripted = Scripted(
        get=[RUNNING, ANSWER], streams=[[*first, fault], [*rest, CLOSED]]
    )
    only, heard, _ = follow(scripted, state)
    assert (fw.FOX, [fw.FOX]) == (shown(heard), ended(heard))
    assert [None, cut][: len(scripted.afters)] == scripted.afters
    assert Status.COMPLETED is only.job.status


def test_text_without_numbers_is_not_told_twice(state: Path) -> None:
    """Where only the text has no numbers, no number says how much of it was read."""
    told = [e._replace(sequence=None) if e.delta else e for e in EVENTS]
    cut = next(n for n, e in enumerate(told) if e.delta) + 2
    scripted = Scripted(get=[RUNNING], streams=[[*told[:cut], CLOSED], told])
    only, heard, _ = follow(scripted, state)
    assert ([None, None], fw.FOX) == (scripted.afters, shown(heard))
    assert Status.COMPLETED is only.job.status
    endless = Scripted(get=[RUNNING], streams=[[*told[:cut], CLOSED]])
    recorder = recorder_at(state / "endless")
    assert not follow_for(3600, tools(endless.api, recorder, Heard()))
    assert endless.count("stream") <= 10


def over_sockets(server: FakeServer, state: Path, count: int) -> tuple[Heard, Recorder]:
    """Make jobs at a real server and follow them all."""
    heard, recorder = Heard(), recorder_at(state)
    jobs = [job(n) for n in range(1, count + 1)]

    async def main() -> None:
        api = Api(endpoint(server.base_url))
        for one in jobs:
            created = api.create(b"{}", key=one.key, stream=False, sent=Sent())
            assert isinstance((await listed(created))[0], Snapshot)
        shared = tools(api, recorder, heard)
        await Scheduler(16).run([tracker(one, shared) for one in jobs])
        await api.aclose()

    run_virtual(main(), patience=5)
    return heard, recorder


@pytest.mark.parametrize("resume", list(fw.Resume))
@pytest.mark.parametrize("end", [End.RST, End.FIN])
def test_cuts_of_a_real_connection_show_the_text_once(
    state: Path, resume: fw.Resume, end: End
) -> None:
    """Over sockets too, and however the server resumes, no cut is seen."""
    jobs = [job(n) for n in range(1, LAST + 1)]
    with FakeServer(polls=["in_progress"] * 9) as server:
        for cut, one in enumerate(jobs):
            replies = Stream(until=cut, end=end), Stream(resume=resume)
            server.script("stream", *replies, job=one.id)
        heard, recorder = over_sockets(server, state, LAST)
    for one in jobs:
        assert fw.FOX == heard.shown[one.key]
        assert [fw.FOX] == heard.ends[one.key]
        found = recorder.ledger.by_key(one.key)
        assert found is not None
        assert Status.COMPLETED is found.status


@pytest.mark.parametrize(
    "answer",
    [
        Stream(change=fw.doubled),
        Stream(change=fw.unnumbered),
        Stream(change=fw.unnumbered, until=9, end=End.RST),
        Stream(change=fw.kept_alive),
        Stream(change=fw.restarted(9)),
        Stream(change=fw.left_out(8)),
        Stream(change=fw.left_out(3, 4, 5, 6)),
        Stream(change=fw.swapped(8)),
        Stream(change=fw.unended),
        Stream(framing=Framing(newline="\r\n", piece=1, head=fa.BOM)),
        Stream(framing=Framing(tail=fa.DONE, names=False)),
        fa.TOO_OLD,
        fa.NOT_STREAMABLE,
        fa.Snapshot("in_progress"),
        fa.Snapshot("completed"),
        fa.html(200),
        fa.html(503),
        fa.RESET,
        fa.refusal(429, retry_after="3"),
    ],
)
def test_whatever_a_stream_does_the_text_is_shown_once(
    state: Path, answer: fa.Answer
) -> None:
    """Gaps, replays, resets, refusals: what is shown at the end is the answer, once."""
    with FakeServer(polls=["in_progress"] * 3) as server:
        server.script("stream", answer)
        heard, recorder = over_sockets(server, state, 1)
    assert (fw.FOX, [fw.FOX]) == (shown(heard), ended(heard))
    assert fw.FOX == recorder.answers.text(job().key, dialect())


@pytest.mark.parametrize("nested", [False, True])
def test_an_error_event_is_not_believed(state: Path, nested: bool) -> None:
    """A stream that ends in an error is asked about, and the job's own word holds."""
    with FakeServer(polls=[]) as server:
        server.script("stream", Stream(change=fw.errored(9, nested=nested)))
        heard, recorder = over_sockets(server, state, 1)
    assert (fw.FOX, [fw.FOX]) == (shown(heard), ended(heard))
    found = recorder.ledger.by_key(job().key)
    assert found is not None
    assert Status.COMPLETED is found.status


def test_a_gap_is_filled_by_the_final_answer(state: Path) -> None:
    """After missing events nothing is shown until the whole text is known."""
    missing = [e for e in EVENTS if e.sequence not in {7, 8}]
    heard = Heard()
    until_gap = "".join(e.delta or "" for e in EVENTS[:7])
    scripted = Scripted(get=[ANSWER], streams=[[*missing[:-1], Late(5, CLOSED)]])
    seen: list[str] = []

    async def main() -> None:
        shared = tools(scripted.api, recorder_at(state), heard)
        task = asyncio.create_task(Scheduler(16).run([tracker(job(), shared)]))
        await asyncio.sleep(1)
        seen.append(shown(heard))
        await task

    run_virtual(main())
    assert [until_gap] == seen
    assert (fw.FOX, [fw.FOX]) == (shown(heard), ended(heard))


def test_a_text_that_changed_its_mind_is_not_patched_up(state: Path) -> None:
    """Where the answer does not begin as shown, a note says how to get it right."""
    other = snapshot("completed", "Something else.")
    scripted = Scripted(get=[other], streams=[[*EVENTS[:-1], CLOSED]])
    only, heard, _ = follow(scripted, state)
    assert fw.FOX == shown(heard)
    assert [f"bgresp get {only.job.id}"] == [n.split(": ")[1] for n in heard.notes]
    assert "Something else." == recorder_at(state).answers.text(only.job.key, dialect())


@pytest.mark.parametrize(
    ("status", "code"), [("failed", 12), ("incomplete", 10), ("cancelled", 11)]
)
def test_each_end_is_recorded_as_it_is(state: Path, status: str, code: int) -> None:
    """A job that ended otherwise is recorded so, with its reason and its exit code."""
    history = events(fw.events_of(fw.FOX, status=status))
    only, heard, _ = follow(Scripted(streams=[[*history, CLOSED]]), state)
    assert (status, code) == (only.job.status.value, int(only.job.status.exit_code))
    expected = {
        "failed": ("server_error", None),
        "incomplete": (None, "max_output_tokens"),
        "cancelled": (None, None),
    }[status]
    error = only.job.error
    assert expected == (error and error.code, only.job.incomplete_reason)
    assert fw.FOX == shown(heard)
    assert 1 == len(ended(heard))


@pytest.mark.parametrize("number", range(LAST))
def test_detaching_and_resuming_joins_to_the_text(state: Path, number: int) -> None:
    """Left after any event and resumed, the two outputs are the whole text, once."""
    recorder, key = recorder_at(state), job().key
    hanging = Scripted(streams=[[*EVENTS[: number + 1], Late(1000, CLOSED)]])
    first, again = Heard(), Heard()
    follow_for(
        10, tools(hanging.api, recorder, first), ShownText(recorder.progress(key))
    )
    found, before = recorder.ledger.by_key(key), recorder.shown(key)
    assert found is not None
    assert (True, number) == (found.status.is_open, found.cursor)
    after = -1 if before.cursor is None else int(before.cursor)
    rest = Scripted(streams=[[*EVENTS[after + 1 :], CLOSED]])
    watched = ShownText(recorder.progress(key), before)
    follow_for(None, tools(rest.api, recorder, again), watched, found)
    assert [before.cursor] == rest.afters
    assert fw.FOX == shown(first) + shown(again)
    assert ([], [fw.FOX]) == (ended(first), ended(again))
    noted = recorder.shown(key)
    assert (fw.FOX, True) == (noted.text, noted.ended)


def test_a_reader_who_leaves_stops_the_watch_not_the_job(state: Path) -> None:
    """A closed pipe ends following at once; the job's record stays open."""
    scripted = Scripted(streams=[[*EVENTS, CLOSED]])
    recorder, heard = recorder_at(state), Heard(breaks_after=2)
    watched = ShownText(recorder.progress(job().key))
    with pytest.raises(BrokenPipeError):
        follow_for(None, tools(scripted.api, recorder, heard), watched)
    found = recorder.ledger.by_key(job().key)
    assert found is not None
    assert found.status.is_open
    assert found.cursor is not None
    assert shown(heard) == recorder.shown(job().key).text
    assert 1 == scripted.closed


def test_a_job_that_ended_is_not_asked_about(state: Path) -> None:
    """Following a job that is over asks nobody."""
    for status in (Status.COMPLETED, Status.REJECTED, Status.UNKNOWN, Status.LOST):
        scripted = Scripted()
        only, heard, _ = follow(scripted, state, one=job(status=status))
        assert only.done
        assert ([], {}) == (scripted.asked, heard.ends)


@pytest.mark.parametrize(
    ("one", "policy", "note"),
    [
        (job(streamable=False), {}, "polling: not created streamable"),
        (job(), {"attach": "never"}, "polling: this endpoint cannot stream"),
        (job(), {"mode": "poll"}, ""),
    ],
)
def test_why_a_job_is_polled_is_said_once(
    state: Path, one: Job, policy: dict[str, Any], note: str
) -> None:
    """A job that cannot be streamed is polled from the start, and a note says why."""
    scripted = Scripted(get=[RUNNING, RUNNING, ANSWER])
    _, heard, _ = follow(scripted, state, one=one, **policy)
    assert 0 == scripted.count("stream")
    assert [note][: bool(note)] == [each[: len(note)] for each in heard.notes]


def test_streaming_only_fails_where_it_cannot(state: Path) -> None:
    """With mode stream a job that cannot be streamed ends in a fault, unasked."""
    scripted = Scripted()
    only, _, _ = follow(scripted, state, one=job(streamable=False), mode="stream")
    assert only.fault is not None
    assert FaultKind.NOT_STREAMABLE is only.fault.kind
    assert (True, Status.QUEUED, []) == (only.done, only.job.status, scripted.asked)


def test_a_stream_refused_later_falls_back_to_polling(state: Path) -> None:
    """A refused stream is told once, and the job is polled to its end."""
    refused = refusal(400, FaultKind.NOT_STREAMABLE, "it is more than 5 minutes old")
    scripted = Scripted(get=[RUNNING, RUNNING, ANSWER], streams=[[refused]])
    _, heard, _ = follow(scripted, state)
    assert ["polling: it is more than 5 minutes old"] == heard.notes
    assert 1 == scripted.count("stream")


@pytest.mark.parametrize(
    "fault", [REFUSED, LOST_REPLY, refusal(502, FaultKind.UNREACHABLE)]
)
def test_an_outage_is_survived(state: Path, fault: Fault) -> None:
    """A retrieve is asked again while the network is away, ever more slowly."""
    outage: list[Signal] = [fault] * 40
    scripted = Scripted(get=[RUNNING, *outage, ANSWER])
    only, heard, took = follow(scripted, state, mode="poll")
    assert Status.COMPLETED is only.job.status
    assert [fw.FOX] == ended(heard)
    waits = scripted.times("get")
    assert max(b - a for a, b in pairwise(waits)) <= 75
    assert took > 300


def test_an_outage_is_told_once(state: Path) -> None:
    """Of many failed attempts one line is said, and one when the endpoint is back.

    The view says when is asked again, as long as nothing was heard.
    """
    away: list[Signal] = [REFUSED] * 9
    limited = refusal(429, FaultKind.RATE_LIMITED)
    polls = [RUNNING, *away, limited, RUNNING, *away, ANSWER]
    _, heard, _ = follow(Scripted(get=polls), state, mode="poll")
    told = [each.split(" after ")[0] for each in heard.notes]
    lost = "unreachable: Connection refused; trying again"
    back = "the endpoint is reachable again"
    assert [lost, f"rate limited: {limited.message}; trying again", back, lost] == (
        told[:4]
    )
    assert [back] == told[4:]
    assert 19 == sum(each.retry_at is not None for each in heard.views)
    assert None is heard.views[0].retry_at


def test_many_jobs_share_an_outage(state: Path) -> None:
    """One line tells that an endpoint is away, one that the last job was answered."""
    many = [job(number) for number in range(1, 21)]
    scripted = Scripted(get=[RUNNING, *[REFUSED] * 5, ANSWER])
    heard = Heard()

    async def main() -> None:
        shared = tools(scripted.api, recorder_at(state), heard, mode="poll")
        await Scheduler(16).run([tracker(one, shared) for one in many])

    run_virtual(main())
    assert 20 == len(heard.ends)
    lost, back = heard.notes
    assert "unreachable: Connection refused; trying again" == lost
    assert back.startswith("the endpoint is reachable again after ")


def test_a_fault_is_no_news_of_the_job(state: Path) -> None:
    """While nothing is heard the record keeps the endpoint's last word."""
    scripted = Scripted(get=[RUNNING, REFUSED, Late(60, REFUSED)])
    recorder = recorder_at(state)
    assert not follow_for(600, tools(scripted.api, recorder, Heard(), mode="poll"))
    found = recorder.ledger.by_key(job().key)
    assert found is not None
    assert Status.IN_PROGRESS is found.status


def test_a_young_job_is_not_lost_by_a_404(state: Path) -> None:
    """A job that the endpoint does not show yet is asked for again."""
    gone = refusal(404, FaultKind.GONE)
    scripted = Scripted(get=[gone, gone, gone, RUNNING, ANSWER])
    only, _, _ = follow(scripted, state, mode="poll")
    assert Status.COMPLETED is only.job.status


def test_an_old_job_is_lost_after_three_404s(state: Path) -> None:
    """A job that is gone for a minute is lost; its record says why."""
    gone = refusal(404, FaultKind.GONE, "not found")
    old = job(submitted_at=job().submitted_at - 100)  # type: ignore[operator]
    scripted = Scripted(get=[RUNNING, gone])
    only, heard, _ = follow(scripted, state, one=old, mode="poll")
    _, first, *_, last = scripted.times("get")
    assert Status.LOST is only.job.status
    assert 60 <= last - first < 70
    assert "not found" in str(only.job.last_error)
    assert "lost" == heard.statuses[only.job.key][-1]
    assert {} == heard.ends


def test_a_job_past_its_retention_is_lost_sooner(state: Path) -> None:
    """A 404 of a job that the endpoint keeps no longer is doubted for a minute."""
    submitted = job().submitted_at - 100  # type: ignore[operator]
    old = job(submitted_at=submitted, expires_at=submitted + 50)
    scripted = Scripted(get=[refusal(404, FaultKind.GONE, "not found")])
    only, _, took = follow(scripted, state, one=old, mode="poll")
    assert (Status.LOST, 3) == (only.job.status, scripted.count("get"))
    assert took < 30
    assert "kept too long" in str(only.job.last_error)


@pytest.mark.parametrize("status", [401, 403, 400])
def test_a_refusal_ends_following_not_the_job(state: Path, status: int) -> None:
    """A key that is refused stops asking at once, and the job stays open."""
    refused = refusal(status, FaultKind.REFUSED, "bad key")
    only, _, _ = follow(Scripted(get=[RUNNING, refused]), state, mode="poll")
    assert only.fault == refused
    assert (True, Status.IN_PROGRESS) == (only.done, only.job.status)


def test_a_word_nobody_knows_is_said_once(state: Path) -> None:
    """An unknown status counts as running, keeps its word and warns one time."""
    odd = snapshot("in_progress", status="thinking")
    scripted = Scripted(get=[odd, odd, odd, ANSWER])
    only, heard, _ = follow(scripted, state, mode="poll")
    assert 1 == len(heard.notes)
    assert "'thinking'" in heard.notes[0]
    assert Status.COMPLETED is only.job.status
    assert ["queued"] == heard.statuses[only.job.key]


def test_a_repetition_is_no_line_of_the_ledger(state: Path) -> None:
    """A job that only stays as it is is not written down again and again."""
    scripted = Scripted(get=[RUNNING] * 50 + [ANSWER])
    only, _, _ = follow(scripted, state, mode="poll")
    lines = recorder_at(state).ledger.path.read_bytes().count(b"\n")
    assert (51, True) == (scripted.count("get"), lines <= 3)
    assert Status.COMPLETED is only.job.status


def test_a_silent_stream_is_left_for_a_poll(state: Path) -> None:
    """A stream without events is given up after the dialect's time, not waited out."""
    scripted = Scripted(
        get=[RUNNING, ANSWER], streams=[[*EVENTS[:5], Late(1e6, CLOSED)]]
    )
    only, heard, took = follow(scripted, state)
    assert Status.COMPLETED is only.job.status
    assert took == pytest.approx(180, abs=1)
    assert [10.0, 180.0] == [round(at) for at in scripted.times("get")]
    assert fw.FOX == shown(heard)
    assert 1 == scripted.closed


@pytest.mark.parametrize("final", [ANSWER, snapshot("failed")])
def test_a_muted_stream_is_noticed_soon(state: Path, final: Snapshot) -> None:
    """One poll after ten silent seconds sees the end that a proxy keeps back."""
    scripted = Scripted(get=[final], streams=[[*EVENTS[:5], Late(1e6, CLOSED)]])
    only, heard, took = follow(scripted, state)
    assert final.reading.status is only.job.status
    assert (12.0, 1, 1) == (took, scripted.count("get"), scripted.closed)
    assert only.job.status is Status.FAILED or fw.FOX == shown(heard)


@pytest.mark.parametrize("answer", [RUNNING, ANSWER, REFUSED, snapshot("completed")])
def test_a_look_into_a_silence_loses_no_event(
    state: Path, answer: Snapshot | Fault
) -> None:
    """An event that comes all the same wins, whatever was seen beside the stream."""
    rest = [Late(11.5, EVENTS[5]), Late(9.0, EVENTS[6]), Late(11.0, EVENTS[7])]
    scripted = Scripted(
        get=[answer], streams=[[*EVENTS[:5], *rest, *EVENTS[8:], CLOSED]]
    )
    only, heard, took = follow(scripted, state)
    assert (Status.COMPLETED, fw.FOX) == (only.job.status, shown(heard))
    assert [one.raw for one in EVENTS] == heard.raws
    assert (31.5, [10.0, 30.5]) == (took, scripted.times("get"))


def test_an_end_without_its_text_is_left_to_the_stream(state: Path) -> None:
    """Where the response does not tell the text, a silent stream is read on."""
    late = Late(60.0, EVENTS[5])
    scripted = Scripted(
        get=[snapshot("completed")], streams=[[*EVENTS[:5], late, *EVENTS[6:], CLOSED]]
    )
    only, heard, took = follow(scripted, state)
    assert (Status.COMPLETED, fw.FOX) == (only.job.status, shown(heard))
    assert (60.0, [10.0]) == (took, scripted.times("get"))


def test_a_server_without_progress_is_not_hammered(state: Path) -> None:
    """Streams that always break at once and polls that never end cost few requests."""
    scripted = Scripted(get=[RUNNING], streams=[[CLOSED]])
    assert not follow_for(3600, tools(scripted.api, recorder_at(state), Heard()))
    assert len(scripted.asked) < 300
    assert scripted.count("stream") <= 10


def test_a_wait_that_is_asked_for_holds_everybody(state: Path) -> None:
    """A 429 with Retry-After, of a poll or a stream, keeps all jobs of the endpoint."""
    limited = refusal(429, FaultKind.RATE_LIMITED, retry_after=100.0)
    for mode in ("poll", "auto"):
        scripted = Scripted(get=[ANSWER], streams=[[*EVENTS, CLOSED]])
        first = replace(
            scripted,
            get=[limited, ANSWER],
            streams=[[limited], [*EVENTS, CLOSED]],
            asked=scripted.asked,
        )
        recorder = recorder_at(state / mode)

        async def main(
            scripted: Scripted = scripted,
            first: Scripted = first,
            recorder: Recorder = recorder,
            mode: str = mode,
        ) -> None:
            shared = tools(first.api, recorder, Heard(), mode=mode)
            others = replace(shared, api=scripted.api)
            jobs = [job(n) for n in range(2, 6)]

            async def later() -> None:
                await asyncio.sleep(0.1)
                await Scheduler(16).run([tracker(one, others) for one in jobs])

            await asyncio.gather(Scheduler(16).run([tracker(job(), shared)]), later())

        run_virtual(main())
        times = scripted.times()
        assert 6 == len(times)
        assert min(times[1:]) >= 100


def test_nobody_is_left_alone_for_longer_than_an_hour(state: Path) -> None:
    """An endpoint that asks to wait for a week by mistake is not asked for a week."""
    limited = refusal(429, FaultKind.RATE_LIMITED, retry_after=604_800.0)
    scripted = Scripted(get=[limited, ANSWER])
    only, _, took = follow(scripted, state, mode="poll")
    assert Status.COMPLETED is only.job.status
    assert 3600 <= took < 3700


def test_an_opened_stream_is_used(state: Path) -> None:
    """The stream that created a job is read on, and no other is opened."""
    scripted, creating = Scripted(), Scripted(streams=[[*EVENTS, CLOSED]])
    recorder, heard = recorder_at(state), Heard()

    async def main() -> None:
        only = tracker(job(), tools(scripted.api, recorder, heard))
        only.opened = creating.stream("x", None)
        await Scheduler(16).run([only])

    run_virtual(main())
    assert (fw.FOX, []) == (shown(heard), scripted.afters)
