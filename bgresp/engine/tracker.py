"""Follow one job: perform the machine's actions until it waits or is done."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final

from bgresp.api.client import Api
from bgresp.config.settings import Settings
from bgresp.core import machine, update
from bgresp.core.dialect import Dialect
from bgresp.core.machine import (
    POLL,
    Action,
    Done,
    Follow,
    Policy,
    Poll,
    State,
    Stream,
    Wait,
)
from bgresp.core.model import Job, ResponseError, Status
from bgresp.core.observer import JobProgress, Missing, Observer, Outage
from bgresp.core.output import Answer
from bgresp.core.reading import PassedItems
from bgresp.core.schedule import RETRY_AFTER_CAP
from bgresp.core.signals import Event, Fault, FaultKind, Signal, Snapshot
from bgresp.engine.endpoints import Endpoints, RateLimiter
from bgresp.engine.polling import FirstAnswer, Semaphore
from bgresp.engine.recorder import GroupCommit, Recorder
from bgresp.engine.shown_text import ShownText


@dataclass(frozen=True, slots=True)
class Tools:
    """What trackers of one endpoint share; a `group` syncs what they record."""

    api: Api
    recorder: Recorder
    observer: Observer
    limiter: RateLimiter
    policy: Policy
    jitter: Callable[[], float] = random.random
    streams: Semaphore = field(default_factory=Semaphore)
    outage: Outage = field(default_factory=Outage)
    missing: Missing = field(default_factory=Missing)
    first: FirstAnswer = field(default_factory=FirstAnswer)
    group: GroupCommit | None = None
    is_alone: bool = True  # how one job is followed is worth a word, not how many are


SILENT: Final = 10.0  # a proxy that keeps events back is noticed by then
AFTER_ERROR: Final = 5.0  # an `error` gives the object that it is about so long
MOST_TOGETHER: Final = 1000  # deltas that are shown as one
LATE: Final = 2.0  # an end that was seen elsewhere gives its event so long to arrive


async def next_signal(
    signals: AsyncIterator[Signal], limit: asyncio.Timeout
) -> Signal | None:
    """Return the next signal; None where none came within the limit.

    The end of the stream is Fault "closed".
    """
    try:
        async with limit:
            return await anext(signals)
    except TimeoutError:
        return None
    except StopAsyncIteration:
        return Fault(FaultKind.CLOSED, "the stream ended")


@dataclass(slots=True)
class SilenceTimeout:
    """How long one stream may be silent; times in seconds.

    After `idle` seconds without an event it is given up, and some after an `error`,
    whatever comes but the end. After ten the job is looked
    at, once in a silence: `look` returns the last word on it, None where there is none
    yet. Nothing of the stream is lost by that: an event that comes meanwhile wins.
    """

    idle: float
    look: Callable[[], Awaitable[Snapshot | None]]
    _heard: asyncio.Event = field(default_factory=asyncio.Event)
    _since: float = 0.0
    _limit: asyncio.Timeout | None = None
    _timer: asyncio.TimerHandle | None = None
    _found: Snapshot | None = None
    _until: float | None = None
    _error: BaseException | None = None

    def failing(self) -> None:
        """Take that an `error` came: the end may follow, or nothing."""
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + AFTER_ERROR
            self._wake()

    def heard(self) -> None:
        """Take that something came, and that what it led to is done."""
        self._since = asyncio.get_running_loop().time()
        self._heard.set()

    def stop(self, error: BaseException) -> None:
        """Let who reads the stream raise an error, though nothing may come any more."""
        self._error = error
        self._give_up()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look into silences as long as the stream is read.

        Raises TimeoutError after one that is too long: then there is a `verdict`.
        """
        self.heard()
        watching = asyncio.create_task(self._watch())
        # A look that fails is no news: what comes after the silence tells.
        watching.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with asyncio.timeout(None) as self._limit:
                self._wake()
                yield
        finally:
            watching.cancel()
            if self._timer is not None:
                self._timer.cancel()

    def verdict(self) -> Signal:
        """Return the last word on the job where it was seen, else what silence means.

        Raises what the stream was stopped with.
        """
        if self._error is not None:
            raise self._error
        if self._found is not None:
            return self._found
        if self._until is not None:
            return Fault(FaultKind.CLOSED, "nothing came after an error")
        return Fault(FaultKind.IDLE, f"no event for {self.idle:g} s")

    def _wake(self) -> None:
        """Give the stream up where it was silent for too long; else look again then.

        One timer does: it is not set anew for each event.
        """
        loop, until = asyncio.get_running_loop(), self._until
        most = self._since + self.idle
        most = most if until is None else min(most, until)
        if self._timer is not None:
            self._timer.cancel()
        if most > loop.time():
            self._timer = loop.call_at(most, self._wake)
        else:
            self._give_up()

    def _give_up(self) -> None:
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time())

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            wait = self._since + SILENT - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
                continue
            self._heard.clear()
            found = await self.look()
            if found is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LATE):
                        await self._heard.wait()
                if not self._heard.is_set():
                    self._found = found
                    self._give_up()
                    return
            await self._heard.wait()


def conclude(job: Job, answer: Answer, shown: ShownText, observer: Observer) -> None:
    """Show what is left of the final text, and tell the observer that this was all.

    Where what was shown is no beginning of it, nothing more is shown: the saved answer
    is right, and a note says how to get it.
    """
    text = answer.text
    rest = shown.settle(text, answer.plain)
    if rest is None:
        message = "what was shown is not how the answer begins"
        observer.note(job, f"{message}: bgresp get {job.quoted}")
    elif rest:
        observer.text(job, rest)
        shown.wrote(rest)
    if shown.earlier.ended:
        return
    if job.status is Status.COMPLETED and not text and job.usage is None:
        # A gateway that lost its upstream says so: BerriAI/litellm#36275.
        observer.note(job, "completed, but empty and without usage: it may be lost")
    if rest is not None and text and not text.endswith("\n"):
        observer.end_line(job)
    observer.ended(job, text)
    shown.end()


def _with_reason(
    final: Event | Snapshot, error: ResponseError | None
) -> Event | Snapshot:
    """Let an `error` event be the reason of a job that failed without another."""
    reading = final.reading
    if error is None or reading is None or reading.status is not Status.FAILED:
        return final
    return final._replace(reading=reading._replace(error=reading.error or error))


UNKNOWN_AGE: Final = 3600.0  # seconds: a job that nobody dated is polled slowly
SOON: Final = 1e-6  # less than that is the clock's grain, not a wait


@dataclass(slots=True, eq=False)
class Tracker:
    """One job on its way to its answer.

    Many wait at the same time: what only a stream needs is made when one is read.
    """

    job: Job
    tools: Tools
    place: ShownText | None = None  # in its text; None while nobody needed one
    opened: AsyncGenerator[Signal, None] | None = None
    follow: Follow = field(init=False)
    action: Action = field(init=False)
    fault: Fault | None = None
    done: bool = False
    _born: float = 0.0  # by the loop's clock
    _reconnects: int = 0
    _heard_at: float | None = None
    _retry_at: float | None = None
    _slot: float | None = None
    _passed: PassedItems | None = None
    _deltas: list[Event] | None = None
    _ticket: asyncio.Future[None] | None = None

    @property
    def shown(self) -> ShownText:
        """Return what was shown of its text."""
        self.place = place = self.place or ShownText()
        return place

    @property
    def _streamed(self) -> str:
        """Return the text that events told."""
        return "" if self.place is None else self.place.streamed

    @property
    def _dialect(self) -> Dialect:
        return self.tools.api.endpoint.dialect

    def begin(self) -> None:
        """Decide the first action; call within the running loop."""
        age = UNKNOWN_AGE
        if self.job.submitted_at is not None:
            age = max(0.0, self.tools.recorder.now() - self.job.submitted_at)
        self._born = asyncio.get_running_loop().time() - age
        cursor = None if self.place is None else self.place.start_cursor
        job = self.job
        if job.cursor != cursor:
            job = job._replace(cursor=cursor)
        self.follow, self.action = machine.begin(job, self.tools.policy)
        why = self.follow.streams_ruled_out if self.tools.is_alone else None
        if why and self.tools.policy.mode == "auto":
            self._note(f"polling: {why}")

    async def turn(self) -> None:
        """Act until the machine wants to wait, or is done.

        With a group its owner calls `finish` then, which needs no connection.
        """
        while not isinstance(self.action, Wait | Done):
            refused = None
            if self.opened is None:
                if self.tools.first.refused is None and not self._may_ask():
                    return
                refused = await self.tools.first.turn()
            if refused is not None:
                self.hear(refused)
            elif isinstance(self.action, Stream) and self.tools.streams.try_acquire():
                try:
                    await self._stream(self.action)
                finally:
                    self.tools.streams.release()
            else:  # where every stream is taken a poll tells as well
                await self._poll()
        await self.synced()
        if isinstance(self.action, Done):
            if self.tools.group is None:
                await self.finish()
        elif isinstance(self.action, Wait):
            self.tools.api.waits(self.action.seconds, self.job.ref)

    async def synced(self) -> None:
        """Wait until what was recorded on the way is on disk. Raises LedgerError."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None and self.tools.group is not None:
            await self.tools.group.synced(ticket)

    def resume(self) -> None:
        """Go on after a wait."""
        if isinstance(self.action, Wait):
            self.action = self.action.then

    def reserve(self) -> float:
        """Take a slot of the limiter, unless one is held that no hold came after."""
        self._slot = self.tools.limiter.slot(self._slot)
        return self._slot

    def _may_ask(self) -> bool:
        """Take a slot of the limiter; a wait for it needs no task, nor a connection."""
        wait = self.reserve() - asyncio.get_running_loop().time()
        if wait > SOON and isinstance(self.action, Stream | Poll):
            self.action = Wait(wait, self.action)
            return False
        self._slot = None
        return True

    async def _stream(self, action: Stream) -> None:
        signals = self.opened
        if signals is None:
            id_, after = str(self.job.id), action.starting_after
            signals = self.tools.api.stream(id_, after, self.job.include)
        first = self._reconnects == 0 and self.follow.seen == 0
        if first or action.starting_after is None:
            self.shown.restart(replayed=action.starting_after is None)
        self.opened = None
        idle = self.tools.api.endpoint.dialect.streaming.idle_events
        silence = SilenceTimeout(idle, self._ask_beside)
        try:
            async with aclosing(signals) as source:
                self.action = await self._read(source, silence)
        finally:
            self._show_deltas()

    async def _read(
        self, source: AsyncIterator[Signal], silence: SilenceTimeout
    ) -> Action:
        """Take signals until the machine answers one.

        Deltas that arrive together are shown together, as soon as nothing more is there
        to be read: then the loop turns.
        """
        last: Signal = Fault(FaultKind.CLOSED, "the stream ended")
        try:
            async with silence.watching():
                async for signal in source:
                    if self._put_off(signal, silence):
                        continue
                    self._show_deltas()
                    if isinstance(signal, Event) and signal.error is not None:
                        silence.failing()
                    answer = self._step(signal)
                    if answer is not None:
                        return answer
                    silence.heard()
        except TimeoutError:
            last = silence.verdict()
        self._show_deltas()
        return self._step(last) or POLL

    def _put_off(self, signal: Signal, silence: SilenceTimeout) -> bool:
        """Put a delta off until the others that came with it are there; say if so."""
        if type(signal) is not Event:
            return False
        deltas = self._deltas
        if deltas is not None:
            last = deltas[-1]
            if signal.part != last.part or len(deltas) >= MOST_TOGETHER:
                return False
            if not machine.is_next_delta(signal, last.sequence):
                return False
        else:
            policy, follow = self.tools.policy, self.follow
            if not machine.is_next_delta(signal, follow.cursor) or not (
                machine.goes_on(follow, signal, policy=policy, now=self._age())
            ):
                return False
            asyncio.get_running_loop().call_soon(self._deltas_are_there, silence)
            deltas = self._deltas = []
        deltas.append(signal)
        return True

    def _deltas_are_there(self, silence: SilenceTimeout) -> None:
        """Show deltas while the stream is waited for; its reader raises what fails."""
        try:
            self._show_deltas()
        except BaseException as error:  # noqa: BLE001  raised again by who reads
            silence.stop(error)
        silence.heard()

    def _show_deltas(self) -> None:
        """Take the deltas that were put off, as one."""
        events, self._deltas = self._deltas, None
        if events is None:
            return
        self.follow = machine.gone_on(self.follow, events)
        self._answered()
        for event in events:
            self.tools.observer.event(self.job, event.raw)
        self._show(self.shown.take(events, self.follow.cursor))
        self.tools.observer.moved(self.job, self.view)

    def _show(self, fresh: str, refused: str = "") -> None:
        if refused:
            self.tools.observer.refusal(self.job, refused)
        if fresh:
            self.tools.observer.text(self.job, fresh)
        if fresh or refused:
            self.shown.wrote(fresh, refused)

    async def _ask_beside(self) -> Snapshot | None:
        """Ask once beside a stream that is silent; return what ends it."""
        await self.tools.limiter.turn()
        news = await self._retrieved()
        if news.retry_after is not None:
            self.tools.limiter.hold(min(news.retry_after, RETRY_AFTER_CAP))
        if isinstance(news, Fault) or not machine.is_whole(news):
            return None
        return news

    async def _poll(self) -> None:
        self.hear(await self._retrieved())

    async def _retrieved(self) -> Snapshot | Fault:
        return await self.tools.api.retrieve(str(self.job.id), self.job.include)

    def hear(self, signal: Snapshot | Fault) -> None:
        """Take what a question about the job came to, whoever asked it."""
        self.action = self._step(signal) or POLL

    def _step(self, signal: Signal) -> Action | None:
        asked = None if isinstance(signal, Event) else signal.retry_after
        if asked is not None:
            self.tools.limiter.hold(min(asked, RETRY_AFTER_CAP))
        self.tools.first.came(signal)
        before, policy = self.follow, self.tools.policy
        if isinstance(signal, Event):
            passed = self._passed = self._passed or PassedItems()
            passed.add(self._dialect.streaming, signal)
            if signal.terminal:
                streamed, dialect = self.shown.streamed, self._dialect
                signal = passed.joined(dialect, signal, streamed)
        if isinstance(signal, Fault) and signal.kind is FaultKind.GONE:
            signal, policy = self._doubted(signal)
        self.follow, answer = machine.step(
            before,
            signal,
            policy=policy,
            jitter=self.tools.jitter(),
            now=self._age(),
        )
        if not isinstance(signal, Fault):
            self._answered()
        if isinstance(signal, Event):
            self._take_event(before, signal)
        elif isinstance(signal, Snapshot):
            if not signal.reading.status.is_terminal:
                self._heard(signal)
        else:
            self._take_fault(before, signal, answer)
        return answer

    def _doubted(self, gone: Fault) -> tuple[Fault, Policy]:
        """Return what a 404 means, and how long it is doubted.

        Under another key than the job's it says nothing; of several jobs at once, that
        rather the endpoint is another one.
        """
        policy, job, endpoint = self.tools.policy, self.job, self.tools.api.endpoint
        wrong = self.tools.recorder.another_key(job, endpoint, gone)
        if wrong is not None:
            return wrong, policy
        many = self.tools.missing.add(job.key)
        over = update.MISSED_TOGETHER if many else update.MISSED_ALONE
        if update.is_expired(job, now=self.tools.recorder.now()):
            over = 0.0
        elif said := self.tools.missing.to_tell(endpoint.host):
            self._note(said)
        return gone, replace(policy, gone_over=over)

    def _answered(self) -> None:
        self.tools.missing.found(self.job.key)
        now = self._heard_at = asyncio.get_running_loop().time()
        self._retry_at = None
        if again := self.tools.outage.answered(self.job.key, now):
            self._note(again)

    def _take_event(self, before: Follow, event: Event) -> None:
        if self.follow.seen == before.seen:
            return
        self.tools.observer.event(self.job, event.raw)
        if self.follow.gaps > before.gaps:
            self.shown.missed()
        refused = self.shown.take_refusal(event)
        self._show(self.shown.take([event], self.follow.cursor), refused)
        if event.reading is not None and not event.reading.status.is_terminal:
            self._heard(event)
        elif self.follow.held is event and self.follow.state is not State.ENDED:
            self._keep(event)
        else:
            self.tools.observer.moved(self.job, self.view)

    def _keep(self, event: Event) -> None:
        """Save an answer before its endpoint, which may not store it, is asked."""
        dialect, text = self._dialect, self.shown.streamed
        seen = self.job._replace(cursor=self.follow.cursor)
        self.job = self.tools.recorder.heard(seen, event, dialect, text=text)

    def _heard(self, news: Event | Snapshot) -> None:
        """Record a change of status; a mere repetition is not worth a line."""
        reading = news.reading
        if reading is None:
            return
        job, word = self.job, reading.raw_status
        same = reading.status is job.status or not reading.known
        waited = job.status is Status.IN_PROGRESS and reading.status is Status.QUEUED
        lags = reading.status.rank < job.status.rank  # behind the end that it streamed
        known = (same and word == job.raw_status) or lags
        if known or (waited and isinstance(news, Event)):
            self.tools.observer.moved(job, self.view)  # an event may be a replay
            return
        if not reading.known:
            self._note(f"the endpoint says {word!r}, which is taken for running")
        group = self.tools.group
        self.job = self.tools.recorder.heard(job, news, self._dialect, group=group)
        self._ticket = None if group is None else group.ticket()
        self.tools.observer.changed(self.job, self.view)

    def _take_fault(self, before: Follow, fault: Fault, answer: Action | None) -> None:
        self.fault = fault
        now = asyncio.get_running_loop().time()
        if isinstance(answer, Done):
            self.tools.outage.left(self.job.key)
            if answer.status is not Status.LOST:
                self.tools.missing.found(self.job.key)
            return
        if before.state is State.STREAMING and self.follow.state is State.POLLING:
            why = self.follow.streams_ruled_out or "the stream keeps breaking"
            self._note(f"polling: {why}")
        elif fault.kind is FaultKind.CLOSED and self.follow.cuts <= 1:
            self._reconnects += 1
        elif fault.kind not in {FaultKind.CLOSED, FaultKind.GONE}:
            said = self.tools.outage.failed(self.job.key, fault, now)
            if said is not None:
                self._note(said)
        if isinstance(answer, Wait):
            self._retry_at = now + answer.seconds
            self.tools.observer.moved(self.job, self.view)

    async def finish(self) -> None:
        """Save the last word, if there is one, and tell of it.

        Then no answer is held: of many jobs all trackers are kept. Raises LedgerError.
        """
        done = self.action
        if not isinstance(done, Done):
            return
        self.done = True
        await self._end(done)
        self.action = Done(status=done.status, fault=done.fault)
        if self.follow.held is not None:
            self.follow = replace(self.follow, held=None)
        self._passed = None
        if self.place is not None:
            self.place.let_go()

    async def _end(self, done: Done) -> None:
        if done.final is not None:
            await self._conclude(done.final)
        elif done.fault is not None:
            self.fault = done.fault
            if done.status is Status.LOST:
                job = self.job._replace(error=self.job.error or self.follow.error)
                self._keep_received()
                self.job = self.tools.recorder.lost(job, done.fault)
                self.tools.observer.changed(self.job, self.view)

    def _keep_received(self) -> None:
        """Keep what came of an answer whose end is to be had no more."""
        text = self._streamed
        if text and self.tools.recorder.received(self.job, text):
            said = f"{len(text)} characters of its answer came: bgresp get"
            self._note(f"{said} {self.job.quoted}")

    async def _conclude(self, final: Event | Snapshot) -> None:
        dialect = self._dialect
        streamed = self._streamed
        recorder, group = self.tools.recorder, self.tools.group
        seen = self.job._replace(cursor=self.follow.cursor)
        final = _with_reason(final, self.follow.error)
        if group is None:
            self.job = recorder.heard(seen, final, dialect, text=streamed)
        else:
            hear = recorder.heard_with
            self.job = await hear(group, seen, final, dialect, text=streamed)
        told = final.reading.answer if final.reading else Answer()
        if not told.text:
            told = recorder.answers.answer(self.job.key, dialect) or told
        if isinstance(final, Snapshot) and final.unread is not None:
            how = f"bgresp get {self.job.quoted} --part raw"
            self._note(f"the answer is {final.unread}: kept as it came, {how}")
        conclude(self.job, told, self.place or ShownText(), self.tools.observer)

    def detach(self) -> None:
        """Keep what is known before leaving; the job goes on."""
        if self.place is not None:
            self.place.flush(sync=True)
        if not self.done and self.follow.cursor is not None:
            self.job = self.tools.recorder.at_cursor(self.job, self.follow.cursor)

    @property
    def view(self) -> JobProgress:
        """Return how following stands, for people."""
        place = self.place
        return JobProgress(
            mode="stream" if self.follow.state is State.STREAMING else "poll",
            characters=0 if place is None else place.characters,
            deltas=0 if place is None else place.deltas,
            reconnects=self._reconnects,
            last_event_at=self._heard_at,
            retry_at=self._retry_at,
        )

    def _note(self, message: str) -> None:
        self.tools.observer.note(self.job, message)

    def _age(self) -> float:
        """Return the job's age: by the wall clock once, then by the loop's."""
        return asyncio.get_running_loop().time() - self._born


def policy(dialect: Dialect, mode: str, interval: float | None = None) -> Policy:
    """Return how jobs of a dialect are followed; `interval` overrides its pace."""
    limits = dialect.limits
    return Policy(
        mode=mode,
        poll=limits.poll,
        tiers=limits.tiers,
        interval=interval,
        max_run=limits.max_run,
        attach=dialect.attach,
        name=f"a {dialect.name} endpoint",
    )


def is_at_rest(job: Job, recorder: Recorder) -> bool:
    """Say whether nobody needs to be asked: saved, or never to be answered."""
    if job.status.is_open:
        return False
    saved = recorder.answers.response_path(job.key)
    return not job.status.is_terminal or saved.exists()


@dataclass(slots=True)
class Trackers:
    """Makes trackers; endpoints that it opens are closed with `stack`.

    `interval` overrides the pace of polls, in seconds. `is_alone`: one job is followed.
    A `group` syncs what is recorded of several.
    """

    endpoints: Endpoints
    recorder: Recorder
    stack: AsyncExitStack
    observer: Observer
    mode: str = "poll"
    interval: float | None = None
    is_alone: bool = True
    group: GroupCommit | None = None
    _tools: dict[str, Tools] = field(default_factory=dict)

    def know(self, settings: Settings, api: Api, limiter: RateLimiter) -> None:
        """Use an endpoint that is open already, by the rate limit of its creates."""
        dialect = api.endpoint.dialect
        self._tools[settings.identity] = Tools(
            api,
            self.recorder,
            self.observer,
            limiter,
            policy(dialect, self.mode, self.interval),
            streams=Semaphore() if self.is_alone else Semaphore(dialect.limits.streams),
            group=self.group,
            is_alone=self.is_alone,
        )

    async def tracker(
        self,
        job: Job,
        shown: ShownText | None = None,
        created: AsyncGenerator[Signal, None] | None = None,
    ) -> Tracker:
        """Return who follows a job, which shows its text as `shown` says.

        `created` is the stream that creating it opened. Raises ConfigError where its
        endpoint cannot be opened.
        """
        settings = self.endpoints.settings_of(job)
        if settings.identity not in self._tools:
            api = await self.stack.enter_async_context(self.endpoints.open(settings))
            self.know(settings, api, RateLimiter(api.endpoint.dialect.limits.rate))
        if job.status.is_terminal:  # unsaved: it may still be fetched
            job = job._replace(status=Status.IN_PROGRESS)
        return Tracker(job, self._tools[settings.identity], shown, created)

    async def track(self, job: Job) -> Tracker | None:
        """Return who follows a job of a batch; None where it is over and saved.

        The observer is told how it is before it is followed.
        """
        self.observer.changed(job, JobProgress("poll"))
        return None if is_at_rest(job, self.recorder) else await self.tracker(job)
