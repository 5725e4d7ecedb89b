"""T11: a cut after every event, over a real socket; engine, Api and ledger are ours."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from time import perf_counter

import pytest

from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.core.machine import Policy
from bgresp.core.model import Job, Status
from bgresp.engine.endpoints import RateLimiter
from bgresp.engine.recorder import Recorder
from bgresp.engine.scheduler import Scheduler
from bgresp.engine.shown_text import ShownText
from bgresp.engine.tracker import Tools, Tracker
from tests import fakewire as fw
from tests.endpoint import dialect, endpoint
from tests.fakeanswers import End, Framing, Stream
from tests.fakeserver import FakeServer
from tests.proof.conftest import Figure
from tests.scripted import EPOCH, Heard
from tests.strategies import Behaviour, _disturbed

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

# 191 words: 200 events, each delta another one.
TEXT = " ".join(f"w{n}" for n in range(191))
EVENTS = len(fw.events_of(TEXT))
EVERY = 2
ENDS = (End.EOF, End.FIN, End.RST)
RESUME = {
    Behaviour.INCLUSIVE: fw.Resume.INCLUSIVE,
    Behaviour.REPLAY: fw.Resume.REPLAY,
}


def disturb(behaviour: Behaviour, seed: int) -> fw.Change:
    """Do to the events of one connection what the server is said to do."""

    def change(events: fw.Events) -> fw.Events:
        last = events[-1] if events else {}
        return _disturbed(list(events), behaviour, Random(seed), last=last)

    return change


def cut(server: FakeServer, behaviour: Behaviour, k: int, number: int) -> Job:
    """Let a job's first stream break after event k; return the job."""
    ident = f"resp_{number:032x}"
    how = Stream(
        resume=RESUME.get(behaviour, fw.Resume.EXCLUSIVE),
        change=disturb(behaviour, k),
        framing=Framing(piece=997 * (k % 4 > 1)),
    )
    first = replace(how, until=k, end=ENDS[k % 3])
    # The job has ended with the whole stream: k = the last event needs no second one.
    more = [] if k == EVENTS - 1 else [how]
    server.script("stream", first, *more, job=ident)
    return Job(
        f"01K{number:023d}",
        Status.QUEUED,
        raw_status="queued",
        id=ident,
        submitted_at=EPOCH,
        dialect="openai",
        streamable=True,
    )


async def made(api: Api, many: int) -> None:
    """Make the jobs at the server, which numbers them."""
    body = json.dumps({"model": "m", "input": "x", "stream": False}).encode()
    for number in range(many):
        async for _ in api.create(body, key=f"k{number}", stream=False, sent=Sent()):
            pass


async def watched(server: FakeServer, state: Path, jobs: Sequence[Job]) -> Heard:
    """Watch all jobs with the real engine; its waits are as short as they can be."""
    heard, recorder = Heard(), Recorder.at(state)
    api = Api(endpoint(server.base_url, spoken=dialect(limits={"rate": 0})))
    try:
        await made(api, len(jobs))
        tools = Tools(
            api, recorder, heard, RateLimiter(0), Policy(poll=(0.01, 0.01)), lambda: 0
        )
        places = [recorder.progress(job.key) for job in jobs]
        await Scheduler(8).run(
            Tracker(job, tools, ShownText(notes))
            for job, notes in zip(jobs, places, strict=True)
        )
    finally:
        await api.aclose()
    return heard


@pytest.mark.parametrize("behaviour", Behaviour)
def test_a_cut_after_every_event(
    behaviour: Behaviour, state: Path, figure: Figure, *, full: bool
) -> None:
    """A stream that is cut after some event loses or repeats a part of the text."""
    started = perf_counter()
    with FakeServer(tell=TEXT) as server:
        at = range(0, EVENTS, 1 if full else EVERY)
        jobs = [cut(server, behaviour, k, n) for n, k in enumerate(at, 1)]
        heard = asyncio.run(watched(server, state, jobs))
        streams = len(server.asked("stream"))
    recorder = Recorder.at(state)
    wrong = [
        k
        for k, job in zip(at, jobs, strict=True)
        if not TEXT
        == heard.shown.get(job.key)
        == recorder.answers.text(job.key, dialect())
    ]
    notes = [note for note in heard.notes if "not how the answer begins" in note]
    figure(
        f"T11: {behaviour.name.lower()}: {len(jobs)} of {EVENTS} cuts, {streams} "
        f"streams, {perf_counter() - started:.0f} s: {len(wrong)} texts wrong"
    )
    assert ([], []) == (wrong, notes)
    assert {(TEXT,)} == {tuple(ends) for ends in heard.ends.values()}
