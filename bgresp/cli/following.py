"""Follow jobs to their end: build trackers, choose who is told, return an exit code.

What moves on a terminal is drawn by a task of the same loop that writes the text, so
that neither tears the other.
"""

import asyncio
import os
import shlex
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import Final, NamedTuple

from bgresp.cli import errors, output, records
from bgresp.cli.context import Context
from bgresp.core.errors import (
    ConfigError,
    ExitCode,
    RefusedError,
    worst,
)
from bgresp.core.model import Job, Status
from bgresp.core.observer import Observer
from bgresp.core.selection import Selector
from bgresp.core.signals import Event, Fault, FaultKind, Signal, exit_code
from bgresp.core.stats import lasted
from bgresp.engine.recorder import GroupCommit
from bgresp.engine.scheduler import Scheduler
from bgresp.engine.shown_text import ShownText
from bgresp.engine.tracker import Tracker, Trackers, conclude, is_at_rest
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.saved import Shown
from bgresp.render.columns import record, summary
from bgresp.render.live import Events, JsonLines, LiveOne, Plain, Quiet

LOOK_AGAIN: Final = 2.0  # seconds between two looks for jobs that came
LOOKED_AT: Final = 500  # jobs, for how long others like them took
REPLAYED_WITHIN: Final = 60.0  # seconds for the events of a job that is over


class FollowOptions(NamedTuple):
    """How to follow; `output`: the file of the answer; `force` lets it replace one.

    `answer`: text to stdout at the end; `array`: of one job too; `tells`: at the end,
    of each job that did not complete, why. `exact`: stdout has to be the answer.
    `follow_new`: which jobs are taken that come meanwhile, after the key `horizon`.
    """

    mode: str = "auto"
    interval: float | None = None
    timeout: float | None = None
    resume: bool = False
    events: bool = False
    fail_fast: bool = False
    any: bool = False
    silent: bool = False
    output: Path | None = None
    force: bool = False
    answer: bool = False
    tells: bool = False
    array: bool = False
    exact: bool = False
    asides: frozenset[str] = frozenset()
    follow_new: Selector | None = None
    horizon: str = ""


@dataclass(slots=True)
class Following:
    """Some jobs being followed by one invocation."""

    context: Context
    options: FollowOptions
    single: bool
    observer: Observer = field(init=False)
    trackers: list[Tracker] = field(default_factory=list)
    _final: dict[str, Job | None] = field(default_factory=dict)  # None: followed
    _unasked: dict[str, ExitCode] = field(default_factory=dict)
    _trackers: Trackers | None = None

    async def run(
        self,
        jobs: list[Job],
        opened: AsyncGenerator[Signal, None] | None = None,
    ) -> int:
        """Follow the jobs and return the exit code.

        The list is emptied: of each job only the latest record is held. `opened` is
        the stream that creating a single job opened.
        """
        jobs[:] = map(self.context.with_ending, jobs)
        self.context.detached = _how_to_go_on(jobs)
        self.observer = self._observer(jobs)
        self.observer.start(jobs)
        ended_early = False
        try:
            async with AsyncExitStack() as stack:
                is_over = await self._prepare(jobs, opened, stack)
                if not is_over:
                    async with (
                        asyncio.timeout(self.options.timeout),
                        moving(self.observer),
                    ):
                        await self._follow()
        except TimeoutError:
            ended_early = True
        finally:
            self.observer.stop()
        self._final.update((each.job.key, each.job) for each in self.trackers)
        final = [job for job in self._final.values() if job is not None]
        if ended_early:
            records.say_open(self.context, final)
        self._deliver(final)
        if not (self.single or self.options.silent or self.context.common.quiet):
            records.say_failed(self.context, final)
            if self.context.streams.animated:
                records.say_told(self.context, final)
        return self._exit_code(final)

    async def _prepare(
        self,
        jobs: list[Job],
        opened: AsyncGenerator[Signal, None] | None,
        stack: AsyncExitStack,
    ) -> bool:
        """Make trackers of the jobs that go on; say whether one of the others ends all.

        The list is emptied.
        """
        left, alone, is_over = [], len(jobs) == 1, False
        self._final = {job.key: job for job in jobs}
        for job in jobs:
            if self._is_at_rest(job):
                if self.options.events and self.single:
                    await self._replay(job, stack)
                self._conclude(job)
                is_over |= self._ends_it(job)
            else:
                left.append(job)
        jobs.clear()
        if not left and self.options.follow_new is None:
            return is_over  # what is saved needs no configuration
        mode = self.options.mode
        recorder = self.context.recorder
        trackers = self._trackers = Trackers(
            self.context.endpoints,
            recorder,
            stack,
            self.observer,
            mode="poll" if mode == "auto" and self.options.silent else mode,
            interval=self.options.interval,
            is_alone=self.single,
            group=None if self.single else GroupCommit(recorder.ledger.path),
        )
        troubles = errors.Troubles(self.context.streams)
        for job in left:
            try:
                tracker = await trackers.tracker(job, created=opened)
            except (ConfigError, RefusedError) as error:
                if alone:
                    raise
                troubles.add([job], error)
                self._unasked[job.key] = error.code
                continue
            tracker.place = self._shown_text(job)
            self.trackers.append(tracker)
            self._final[job.key] = None
        troubles.tell()
        return is_over

    async def _follow(self) -> None:
        """Follow the jobs to their end, or with those that come until it is left."""
        scheduler = Scheduler(self._connections(), self._has_ended)
        if self.options.follow_new is None or self._trackers is None:
            await scheduler.run(self.trackers)
            return
        for tracker in self.trackers:
            scheduler.join(tracker)
        coming = asyncio.create_task(
            self._join_new(scheduler, self._trackers, self.options.follow_new)
        )
        coming.add_done_callback(lambda _: scheduler.close())  # it failed
        try:
            await scheduler.follow()
        finally:
            coming.cancel()
            with suppress(asyncio.CancelledError):
                await coming

    async def _join_new(
        self, scheduler: Scheduler, trackers: Trackers, selector: Selector
    ) -> None:
        """Let jobs join that come into the ledger, as soon as they are submitted.

        Also those that were on their way to the endpoint when this began.
        """
        ledger, horizon = self.context.ledger, self.options.horizon
        shown = (job for job in self._final.values() if job is not None)
        waiting = {job.key for job in shown if job.status.is_unsettled}
        while True:
            fresh = list(_newer(ledger, horizon))
            horizon = max([horizon, *(job.key for job in fresh)])
            coming = {job.key for job in fresh if selector.matches(job)}
            waiting |= coming - self._final.keys()
            known = filter(None, map(ledger.by_key, sorted(waiting)))
            ready = [job for job in known if not job.status.is_unsettled]
            for job in ready:
                waiting.discard(job.key)
                self._final[job.key] = job
                tracker = await trackers.track(self.context.with_ending(job))
                if tracker is not None:
                    self.trackers.append(tracker)
                    scheduler.connections = self._connections()
                    scheduler.join(tracker)
            await asyncio.sleep(LOOK_AGAIN)

    async def _replay(self, job: Job, stack: AsyncExitStack) -> None:
        """Show the events that an endpoint has of a finished job, or say so."""
        endpoints, count = self.context.endpoints, 0
        try:
            api = await stack.enter_async_context(
                endpoints.open(endpoints.settings_of(job))
            )
        except (ConfigError, RefusedError) as error:
            self.observer.note(job, f"its events were not asked for: {error.message}")
            return
        why = "cannot be streamed"
        if api.can("stream") and job.id is not None:
            with suppress(TimeoutError):
                async with (
                    asyncio.timeout(REPLAYED_WITHIN),
                    aclosing(api.stream(job.id, None)) as signals,
                ):
                    async for signal in signals:
                        if not isinstance(signal, Event):
                            why = signal.message if isinstance(signal, Fault) else why
                            break
                        self.observer.event(job, signal.raw)
                        count += 1
                        if signal.terminal:
                            break
        if not count:
            self.observer.note(job, f"the endpoint has no events of it: {why}")

    def _is_at_rest(self, job: Job) -> bool:
        return is_at_rest(job, self.context.recorder)

    def _has_ended(self, tracker: Tracker) -> bool:
        """Take that a job is over; say whether that ends all of it."""
        self.context.ended(tracker.job)
        return self._ends_it(tracker.job)

    def _conclude(self, job: Job) -> None:
        self.context.ended(job)
        if not (self.single or self.context.common.jsonl):
            self.observer.ended(job, "")  # nobody is shown ten thousand texts
            return
        answer = self.context.answers.answer(job.key, self.context.dialect_of(job))
        if answer is not None:
            shown = self._shown_text(job) or ShownText()
            if shown.earlier.ended:
                message = f"{summary(job)}; nothing is new (bgresp get {job.quoted})"
                self.observer.note(job, message)
            conclude(job, answer, shown, self.observer)
            return
        self.observer.note(job, records.standing(job))

    def _shown_text(self, job: Job) -> ShownText | None:
        """Return where in the text to start, noting how far we come if it is shown."""
        shows = self.single and not (self.options.silent or self.options.events)
        if not shows or self.options.output is not None:
            return None
        recorder = self.context.recorder
        shown = recorder.shown(job.key) if self.options.resume else Shown()
        if shown.text and not shown.ended:
            self.observer.note(job, f"goes on after {len(shown.text)} characters")
        return ShownText(recorder.progress(job.key), shown)

    def _observer(self, jobs: list[Job]) -> Observer:
        """Return who is told of the jobs, by the terminal and the output options."""
        streams, common = self.context.streams, self.context.common
        options = self.options
        if options.silent or common.quiet or common.json:
            return Quiet(streams)
        if options.events:
            return Events(streams)
        if common.jsonl:
            return JsonLines(streams, common.wanted_fields())
        to_stdout = self.single and options.output is None
        if not streams.animated:
            return Plain(streams, to_stdout, options.asides)
        if self.single and jobs:
            where = f"in {options.output}" if options.output is not None else ""
            return LiveOne(streams, to_stdout, where, options.asides)
        from bgresp.render.board import LiveMany

        return LiveMany(
            streams,
            durations=durations(self.context, jobs),
            titled=partial(records.titles_of, self.context),
        )

    def _connections(self) -> int:
        limits = [t.tools.api.endpoint.dialect.limits for t in self.trackers]
        return max((limit.connections for limit in limits), default=1)

    def _ends_it(self, job: Job) -> bool:
        bad = not job.status.is_open and job.status.exit_code != 0
        return self.options.any or (self.options.fail_fast and bad)

    def _deliver(self, jobs: list[Job]) -> None:
        """Write what comes at the end: JSON records, ids, the file."""
        common = self.context.common
        if self.options.output is not None:
            self._write_output(jobs[0])
        if common.json or (common.jsonl and self.options.silent):
            wanted = common.wanted_fields()
            found = [record(j, wanted, text=self.context.text_of(j)) for j in jobs]
            single = self.single and not self.options.array
            records.show(self.context, found, single=single)
        elif self.options.answer:
            for job in jobs:
                output.print_text(self.context.streams, self.context.text_of(job))
        elif common.quiet and not self.options.silent:
            for job in jobs:
                self.context.streams.line(job.ref)
        # What is lost may still answer: how to ask is always said.
        lost = [job for job in jobs if job.status is Status.LOST]
        records.say_why_over(self.context, jobs if self.options.tells else lost)

    def _write_output(self, job: Job) -> None:
        path, text = self.options.output, self.context.text_of(job)
        if path is not None and text:
            again = f"the answer is kept: bgresp get {job.quoted} -o FILE"
            output.write_file(path, text, force=self.options.force, hint=again)
        elif path is not None and job.status.is_terminal:
            self.context.say(f"{path} is not written: {job.ref} has no text")

    def _exit_code(self, jobs: list[Job]) -> int:
        if self.options.any:
            jobs = [job for job in jobs if not job.status.is_open] or jobs
        troubles = errors.Troubles(self.context.streams)
        faults = {
            t.job.key: found
            for t in self.trackers
            if (found := _fault_codes(self.context, t, troubles))
        }
        troubles.tell()
        faults |= {key: [code] for key, code in self._unasked.items()}
        if self.options.exact and any(
            t.place is not None and t.place.differs for t in self.trackers
        ):
            return int(ExitCode.INTERNAL)
        codes = [faults.get(job.key) or [job.exit_code] for job in jobs]
        return int(worst(int(code) for some in codes for code in some))


def _newer(ledger: Ledger, horizon: str) -> Iterator[Job]:
    """Yield the jobs whose keys come after one, newest first."""
    return takewhile(lambda job: job.key > horizon, ledger.newest())


def _fault_codes(
    context: Context, tracker: Tracker, troubles: errors.Troubles
) -> list[int]:
    """Return the codes of a fault that ended the following of a job."""
    fault, job = tracker.fault, tracker.job
    if context.ledger.is_forgotten(job.key):
        context.say(f"{job.ref} was forgotten meanwhile: its answer is not kept")
        return [] if job.status.is_terminal else [ExitCode.NO_SUCH_JOB]
    owes = context.answers.owes(job)
    if fault is None or not tracker.done:
        return [ExitCode.NOT_FINISHED] if owes else []
    if not owes and (job.status.is_terminal or job.status is Status.LOST):
        return []
    if owes and fault.kind is FaultKind.GONE:
        return [records.say_gone(context, job)]
    if fault.kind is FaultKind.IDLE:
        # It runs longer than its endpoint lets any job run.
        context.say(f"{job.ref}: {fault.message}")
        return [ExitCode.NOT_FINISHED]
    troubles.unheard(job, fault)
    return [exit_code(fault)]


def _how_to_go_on(jobs: list[Job]) -> str:
    """Return what to type after leaving."""
    if len(jobs) == 1:
        return f"the job goes on: bgresp watch {jobs[0].quoted} --resume"
    groups = {job.group for job in jobs}
    one = groups.pop() if len(groups) == 1 else None
    which = f" --group {shlex.quote(one)}" if one else ""
    return f"the jobs go on: bgresp watch{which}"


def durations(
    context: Context, jobs: Iterable[Job] = (), *, model: str | None = None
) -> tuple[float, ...]:
    """Return the seconds that the newest jobs of these models took, where told."""
    models = {model, *(job.wanted_model for job in jobs)}
    newest = islice(context.ledger.newest(), LOOKED_AT)
    exact = (job for job in newest if job.took_exact and job.wanted_model in models)
    return tuple(seconds for job in exact if (seconds := lasted(job)) is not None)


@asynccontextmanager
async def moving(observer: Observer | None) -> AsyncIterator[None]:
    """Let an observer that has a period tick while something is done.

    Ctrl-Z takes a live view away before the process stops, and going on draws it again.
    """
    if observer is None or observer.period is None:
        yield
        return
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(_tick(observer, observer.period))
    minds = signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL and observer.is_drawn
    if minds:
        loop.add_signal_handler(signal.SIGTSTP, _pause, observer)
    try:
        yield
    finally:
        if minds:
            loop.remove_signal_handler(signal.SIGTSTP)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _pause(observer: Observer) -> None:
    observer.pause()
    os.kill(os.getpid(), signal.SIGSTOP)
    observer.tick()


async def _tick(observer: Observer, period: float) -> None:
    while True:
        await asyncio.sleep(period)
        observer.tick()
