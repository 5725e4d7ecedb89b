"""Find out what an endpoint really does, with two short jobs like any others.

WIRE.md 4 is the source of what may differ; nothing is assumed from a name.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from bgresp.api.client import Api
from bgresp.core import schedule
from bgresp.core.errors import ExitCode
from bgresp.core.model import Job, Status
from bgresp.core.request import Request, drafted
from bgresp.core.signals import Cursor, Event, Fault, FaultKind, Signal, Snapshot
from bgresp.core.text import one_line
from bgresp.engine import polling
from bgresp.engine.cancel import cancelled
from bgresp.engine.endpoints import Ability, Capabilities, Finding, Verdict
from bgresp.engine.recorder import Recorder
from bgresp.engine.submit import Submitted, Submitter, error_of
from bgresp.engine.tracker import next_signal

YES: Final = Verdict.YES
NO: Final = Verdict.NO
UNKNOWN: Final = Verdict.UNKNOWN
JSON: Final = "answered with JSON, not events"
# What an endpoint answers that has no such route, or cannot do what was asked.
_NO_ROUTE: Final = frozenset({400, 404, 405, 406, 410, 415, 422, 501})


@dataclass(slots=True)
class Findings:
    """The findings of one probe; `dialect` is the name of what is spoken."""

    dialect: str
    table: dict[Ability, Finding] = field(default_factory=dict)

    def note(self, ability: Ability, verdict: Verdict, detail: str) -> None:
        """Keep a verdict; a later one holds."""
        self.table[ability] = Finding(verdict, one_line(detail, limit=300))

    def absent(self, ability: Ability) -> None:
        """Note that the dialect has no way to ask for it."""
        self.note(ability, NO, f"the dialect {self.dialect} has none")

    def refused(self, ability: Ability, answer: Snapshot | Fault) -> None:
        """Note what came instead; what is no word of the endpoint proves nothing."""
        if isinstance(answer, Snapshot):
            self.note(ability, NO, JSON)
            return
        http = answer.http_status
        is_word = http in _NO_ROUTE or answer.kind is FaultKind.NOT_STREAMABLE
        code = f"HTTP {http}: " if http else ""
        self.note(ability, NO if is_word else UNKNOWN, f"{code}{answer.message}")

    def cut(self, job: Job, *, most: int, whole: bool) -> None:
        """Judge what is said of an answer that may have no more than `most` tokens.

        `whole`: it went to its end all the same.
        """
        used = (job.usage.output_tokens if job.usage else None) or 0
        if job.status is Status.INCOMPLETE:
            found = YES, f"a cut answer is incomplete ({job.incomplete_reason})"
        elif job.status is not Status.COMPLETED:
            found = UNKNOWN, f"the job is {job.status}"
        elif whole:
            found = UNKNOWN, f"max_output_tokens = {most} was ignored"
        elif used >= most:
            found = NO, "a cut answer is called completed"
        else:
            found = UNKNOWN, "the answer was a short one"
        self.note(Ability.TRUNCATION, *found)

    def has(self, ability: Ability) -> bool:
        """Say whether the endpoint was seen to have an ability."""
        found = self.table.get(ability)
        return found is not None and found.verdict is YES


def is_refusal(fault: Fault) -> bool:
    """Say whether an endpoint says that it cannot do what was asked."""
    return fault.http_status in _NO_ROUTE


ENOUGH: Final = 3  # events of the creating stream, before it is left
PATIENCE: Final = 30.0  # for the next sign of a stream


@dataclass(slots=True)
class StreamProbe:
    """The streams of one endpoint; `left` says that one was left before its end."""

    api: Api
    findings: Findings
    left: bool = False

    async def read_some(self, signals: AsyncGenerator[Signal, None]) -> Cursor | None:
        """Read until the job runs and some events came; return the last number."""
        cursor: Cursor | None = None
        count, runs = 0, False
        async with aclosing(signals) as source:
            while count < ENOUGH or not runs:
                signal = await _next(source)
                if not isinstance(signal, Event):
                    return cursor
                count += 1
                cursor = cursor if signal.sequence is None else signal.sequence
                runs |= self._runs(signal)
                if signal.terminal:
                    return cursor
        self.left = True
        return cursor

    def _runs(self, event: Event) -> bool:
        reading = event.reading
        if reading is not None and reading.background is False:
            said = "ignored: the reply says background: false"
            self.findings.note(Ability.BACKGROUND, NO, said)
        return reading is None or reading.status is not Status.QUEUED

    async def later(self, id_: str, cursor: Cursor | None) -> None:
        """Open the stream again after what was read, then without a cursor."""
        if not self.api.can("stream"):
            self.findings.absent(Ability.STREAM_LATER)
            self.findings.absent(Ability.RESUME)
            return
        minds = bool(self.api.endpoint.dialect.streaming.resume)
        if cursor is not None and minds and await self._resumed(id_, cursor):
            return
        first = await self._first_of(id_, None)
        if isinstance(first, Event):
            self.findings.note(Ability.STREAM_LATER, YES, "its events come later too")
        else:
            self.findings.refused(Ability.STREAM_LATER, first)

    async def _resumed(self, id_: str, cursor: Cursor) -> bool:
        """Say whether the stream opened after a cursor; then both are settled."""
        first = await self._first_of(id_, cursor)
        if not isinstance(first, Event):
            self.findings.refused(Ability.RESUME, first)
            return False
        self.findings.note(Ability.STREAM_LATER, YES, "its events come later too")
        number = first.sequence
        if not isinstance(number, int) or not isinstance(cursor, int):
            said = f"began with {number!r} after {cursor!r}"
            self.findings.note(Ability.RESUME, UNKNOWN, said)
        elif number < cursor:
            said = f"the cursor {cursor} is ignored: it began with {number}"
            self.findings.note(Ability.RESUME, NO, said)
        else:
            said = f"went on with {number} after {cursor}"
            self.findings.note(Ability.RESUME, YES, said)
        return True

    async def _first_of(self, id_: str, cursor: Cursor | None) -> Signal:
        async with aclosing(self.api.stream(id_, cursor)) as source:
            return await _next(source)


async def _next(signals: AsyncGenerator[Signal, None]) -> Signal:
    signal = await next_signal(signals, asyncio.timeout(PATIENCE))
    return signal or Fault(FaultKind.IDLE, f"nothing came for {PATIENCE:.0f} s")


NAME: Final = "probe"
COUNT: Final = "Write the numbers from 1 to 300, one on each line, and nothing else."
LAST: Final = "300"
SHORT: Final = 16  # OpenAI takes no smaller max_output_tokens
LONG: Final = 1000  # tokens of an answer that is to be cancelled
TO_THE_END: Final = 180.0  # seconds
YOUNG: Final = 3  # looks at a job that the endpoint may not know yet


@dataclass(slots=True)
class Probe:
    """One probe of one endpoint; `draft` says where jobs go and what they are called.

    `say` is told what happens.
    """

    api: Api
    recorder: Recorder
    draft: Job
    say: Callable[[str], None]
    jobs: list[Job] = field(default_factory=list)
    findings: Findings = field(init=False)
    streams: StreamProbe = field(init=False)

    def __post_init__(self) -> None:
        """Find nothing yet."""
        self.findings = Findings(self.api.endpoint.dialect.name)
        self.streams = StreamProbe(self.api, self.findings)

    async def run(self) -> Capabilities:
        """Make the jobs and look; the first one must be accepted.

        Raises what a submit raises: RefusedError, ConfigError, UnreachableError,
        UnknownOutcomeError, LedgerError.
        """
        submitted, streamed = await self._first()
        cursor = await self._created(submitted, streamed)
        await self._retrieved()
        if self.findings.has(Ability.RETRIEVE):
            await self.streams.later(str(self.jobs[0].id), cursor)
            await self._ended()
            await self._listed()
            await self._cancelled()
            await self._deleted()
        return Capabilities(
            base_url=str(self.draft.base_url),
            dialect=self.api.endpoint.dialect.name,
            model=self.draft.model,
            probed_at=self.recorder.now(),
            jobs=tuple(job.ref for job in self.jobs),
            findings=self.findings.table,
        )

    async def _submit(self, what: str, tokens: int, *, stream: bool) -> Submitted:
        dialect = self.api.endpoint.dialect
        limit = tokens if "max_output_tokens" in dialect.carries else None
        model = self.draft.model
        asked = Request(text=COUNT, model=model, max_output_tokens=limit)
        job = self.draft._replace(labels={NAME: what}, submitted_at=self.recorder.now())
        draft = drafted(job, asked, dialect, stream=stream)
        submitted = await Submitter(self.api, self.recorder, self.say).submit(draft)
        if submitted.interrupted:
            raise asyncio.CancelledError
        if submitted.fault is None:
            self.jobs.append(submitted.job)
            self.say(f"submitted {submitted.job.ref} to test: {what}")
        return submitted

    async def _first(self) -> tuple[Submitted, bool]:
        """Submit the job that is watched; without a stream where that is refused."""
        stream = "stream" in self.api.endpoint.dialect.ops
        submitted = await self._submit("answer", SHORT, stream=stream)
        fault = submitted.fault
        if stream and fault is not None and is_refusal(fault):
            self.findings.refused(Ability.STREAM_CREATE, fault)
            stream = False
            submitted = await self._submit("answer", SHORT, stream=False)
        if submitted.fault is not None:
            raise error_of(submitted)
        return submitted, stream

    async def _created(self, submitted: Submitted, streamed: bool) -> Cursor | None:
        """Judge the reply to the create; read a little where it is a stream."""
        job, cursor = submitted.job, None
        if submitted.signals is not None:
            self.findings.note(Ability.STREAM_CREATE, YES, "its events came at once")
            cursor = await self.streams.read_some(submitted.signals)
        elif streamed:
            self.findings.note(
                Ability.STREAM_CREATE, NO, "answered with JSON, not events"
            )
        elif Ability.STREAM_CREATE not in self.findings.table:
            self.findings.absent(Ability.STREAM_CREATE)
        if job.status.is_terminal:
            said = f"ignored: the create was answered when the job was {job.status}"
            self.findings.note(Ability.BACKGROUND, NO, said)
        elif Ability.BACKGROUND not in self.findings.table:
            self.findings.note(Ability.BACKGROUND, YES, f"accepted as {job.raw_status}")
        return cursor

    async def _retrieved(self) -> None:
        """Ask for the job; an endpoint may need a moment to know it."""
        answer = await self._retrieve(self.jobs[0])
        for _ in range(YOUNG - 1):
            if not isinstance(answer, Fault) or answer.kind is not FaultKind.GONE:
                break
            await asyncio.sleep(1.0)
            answer = await self._retrieve(self.jobs[0])
        if isinstance(answer, Snapshot):
            said = f"it is {answer.reading.raw_status}"
            self.findings.note(Ability.RETRIEVE, YES, said)
            return
        self.findings.refused(Ability.RETRIEVE, answer)
        found = self.findings.table[Ability.RETRIEVE]
        said = f"accepted, but cannot be asked for: {found.detail}"
        self.findings.note(Ability.RETRIEVE, found.verdict, said)

    async def _retrieve(self, job: Job) -> Snapshot | Fault:
        answer = await self.api.retrieve(str(job.id))
        if isinstance(answer, Snapshot):
            heard = self.recorder.heard(job, answer, self.api.endpoint.dialect)
            self.jobs[self.jobs.index(job)] = heard
        return answer

    async def _ended(self) -> None:
        """Wait for the end; judge what is said of an answer that was cut."""
        start = asyncio.get_running_loop().time()
        bounds = self.api.endpoint.dialect.limits.poll
        while not self.jobs[0].status.is_terminal:
            age = asyncio.get_running_loop().time() - start
            if age > TO_THE_END:
                said = f"not over after {TO_THE_END:.0f} s"
                self.findings.note(Ability.TRUNCATION, UNKNOWN, said)
                return
            await asyncio.sleep(schedule.pace(age, bounds=bounds, expect=None))
            await self._retrieve(self.jobs[0])
        self._judge_end(self.jobs[0])

    def _judge_end(self, job: Job) -> None:
        if job.status is Status.CANCELLED and self.streams.left:
            said = "it ended cancelled when its stream was left"
            self.findings.note(Ability.BACKGROUND, NO, said)
        if "max_output_tokens" not in self.api.endpoint.dialect.carries:
            said = f"the dialect {job.dialect} has no max_output_tokens"
            self.findings.note(Ability.TRUNCATION, UNKNOWN, said)
            return
        text = self.recorder.answers.text(job.key, self.api.endpoint.dialect) or ""
        whole = text.rstrip().endswith(LAST)
        self.findings.cut(job, most=SHORT, whole=whole)

    async def _listed(self) -> None:
        if not self.api.can("list"):
            self.findings.absent(Ability.LIST)
            return
        wanted = self.jobs[0]
        found = await polling.find_by_metadata(self.api, {wanted.key: wanted})
        if found.fault is not None:
            self.findings.refused(Ability.LIST, found.fault)
        elif found.ids:
            self.findings.note(Ability.LIST, YES, "the job is found in it by its key")
        else:
            self.findings.note(Ability.LIST, NO, "the job is not found in it")

    async def _cancelled(self) -> None:
        """Cancel a second job twice, where it would run in the background."""
        op = self.api.endpoint.dialect.ops.get("cancel")
        if op is None:
            self.findings.absent(Ability.CANCEL)
            return
        if not self.findings.has(Ability.BACKGROUND):
            self.findings.note(
                Ability.CANCEL, UNKNOWN, "nothing runs in the background"
            )
            return
        submitted = await self._submit("cancel", LONG, stream=False)
        if submitted.fault is not None:
            said = f"a second job was not accepted: {submitted.fault.message}"
            self.findings.note(Ability.CANCEL, UNKNOWN, said)
            return
        verdict = await cancelled(self.api, self.recorder, submitted.job)
        self.jobs[-1] = verdict.job
        if verdict.code is ExitCode.REFUSED:
            self.findings.note(Ability.CANCEL, NO, verdict.message)
        elif verdict.job.status is not Status.CANCELLED:
            self.findings.note(Ability.CANCEL, UNKNOWN, verdict.message)
        else:
            self.findings.note(Ability.CANCEL, YES, "the job is cancelled")
            if op.method != "DELETE":
                await self._cancelled_again(verdict.job)

    async def _cancelled_again(self, job: Job) -> None:
        reply = await self.api.cancel(str(job.id))
        if isinstance(reply, Fault):
            self.findings.refused(Ability.CANCEL_TWICE, reply)
            return
        said = f"the second time it is {reply.reading.raw_status}"
        self.findings.note(Ability.CANCEL_TWICE, YES, said)

    async def _deleted(self) -> None:
        """Delete the jobs that ended; an open one is never deleted."""
        if not self.api.can("delete"):
            self.findings.absent(Ability.DELETE)
            return
        for job in [job for job in self.jobs if job.status.is_terminal]:
            fault = await self.api.delete(str(job.id))
            if fault is not None and fault.kind is not FaultKind.GONE:
                self.findings.refused(Ability.DELETE, fault)
                return
            answer = await self.api.retrieve(str(job.id))
            if isinstance(answer, Fault) and answer.kind is FaultKind.GONE:
                self.findings.note(Ability.DELETE, YES, "the jobs are gone from there")
            else:
                self.findings.note(Ability.DELETE, NO, "the job is still there")
                return
