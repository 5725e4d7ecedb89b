"""One invocation of `bgresp batch`: look the manifest over, then send its rows."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Final

from bgresp.batch.decision import RowDecision, Rules, changed, look_up
from bgresp.batch.manifest import RowDrafts, Source, from_disk, from_thread
from bgresp.batch.results import Results
from bgresp.batch.rows import BatchPlan, Rows
from bgresp.cli import manifests
from bgresp.cli.batch import Options
from bgresp.cli.batchdesk import BatchDesk
from bgresp.cli.context import Context
from bgresp.cli.inputs import labels
from bgresp.cli.options import seconds
from bgresp.cli.request_options import Shape, request_of
from bgresp.config.effective import destination
from bgresp.config.settings import Settings
from bgresp.core import times
from bgresp.core.errors import worst
from bgresp.core.model import Job
from bgresp.core.request import Draft
from bgresp.engine.keyed import Keyed
from bgresp.engine.rate_limit import PacedQueue, RateLimiter
from bgresp.engine.settle import Settling
from bgresp.engine.submit import Submitter
from bgresp.engine.trackers import Trackers
from bgresp.render.streams import as_json

WAITING: Final = 1000  # rows in flight where their ends are waited for
PATIENCE: Final = 3600.0
AGAIN: Final = "the same command again goes on: rows that have their job are skipped"


@dataclass(slots=True)
class Batching:
    """What one invocation works with."""

    context: Context
    options: Options
    settings: Settings
    source: Source
    drafts: RowDrafts
    rules: Rules
    desk: BatchDesk
    every: float = 0.0
    counts: dict[RowDecision, int] = field(default_factory=dict)

    @classmethod
    def of(cls, context: Context, options: Options, shape: Shape) -> "Batching":
        """Read the options.

        Raises UsageError, ConfigError, NoSuchJobError.
        """
        group = manifests.group(options)
        manifests.check_there(options)
        settings = context.settings(model=shape.model, keyed=not options.dry_run)
        request = request_of(context, shape, settings)
        stream = settings.stream if options.stream is None else options.stream
        record = Job(
            key="",
            group=group,
            labels=labels(context.environ, options.label),
            profile=settings.profile,
            base_url=settings.base_url,
            dialect=settings.dialect.name,
            vars=settings.vars,
            expect=seconds(options.expect),
            extra=settings.kept,
        )
        drafts = RowDrafts(
            record,
            request,
            settings.dialect,
            lambda row: manifests.prompt(row, options),
            stream=stream,
            keep=not options.no_keep_prompt,
        )
        return cls(
            context,
            options,
            settings,
            manifests.source(options, tuple(request.variables)),
            drafts,
            Rules(options.changed, retry_failed=options.retry_failed),
            BatchDesk(context),
            times.every(options.rate) if options.rate else 0.0,
        )

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Open what the answers are written to, and have it for ourselves.

        Raises UsageError, NotFinishedError, LedgerError.
        """
        options, ledger = self.options, self.context.recorder.ledger
        with ExitStack() as until_done:
            if options.retry_failed:
                # `retry --failed` at the same time would pay for a job twice.
                until_done.enter_context(ledger.claim("retry --failed"))
            if options.results is not None:
                path = manifests.results_file(options.results)
                until_done.enter_context(ledger.claim(f"results:{path}"))
                self.desk.results = until_done.enter_context(Results.at(path))
            if options.out_dir is not None:
                self.desk.folder = manifests.out_dir(options.out_dir)
            yield

    # ---- looking it over ---------------------------------------------------

    def survey(self) -> None:
        """Check every row before the first is sent; a stream is checked as it comes."""
        if manifests.is_read_twice(self.options):
            for _ in self._looked_over():
                pass

    def dry_run(self) -> int:
        """Count what would be sent, and print the first request; write nothing."""
        size, first = 0, None
        for number, draft in enumerate(self._looked_over(), 1):
            if number <= (self.options.limit or number):
                first = first or draft.body
                size += len(as_json(draft.body))
        if first is not None:
            self.context.show_records([first], single=True)
        for line in self._counted(size):
            self.context.say(line)
        return 0

    def _counted(self, size: int) -> Iterator[str]:
        count = {decision: self.counts.get(decision, 0) for decision in RowDecision}
        where = destination(self.settings, self.context.environ)
        send, keep = count[RowDecision.SEND], count[RowDecision.KEEP]
        unsure = count[RowDecision.UNSURE]
        sends = min(send, self.options.limit or send)
        yield (
            f"nothing was sent; {sends} of {sum(count.values())} rows "
            f"({size / 1e6:.1f} MB) would go to {where}"
        )
        if keep:
            yield f"{keep} rows have their job"
        if unsure:
            yield f"{unsure} rows have a job whose outcome is unknown"

    def _looked_over(self) -> Iterator[Draft]:
        """Check rows, and yield those that would be sent."""
        recorder = self.context.recorder
        for line, row in self.source.rows():
            with self.source.naming(line):
                draft = self.drafts.draft(row)
                decision, _ = look_up(recorder, self.rules, draft.job)
                if decision is RowDecision.CHANGED:
                    raise changed(draft.job)
            self.counts[decision] = self.counts.get(decision, 0) + 1
            if decision is RowDecision.SEND:
                yield draft

    # ---- sending -----------------------------------------------------------

    async def run(self) -> int:
        """Send the rows, wait where asked, and return the exit code."""
        self.context.detached = AGAIN
        async with AsyncExitStack() as stack:
            api = await stack.enter_async_context(self.context.api(self.settings))
            self.context.note_endpoint(self.settings)
            await self.context.settle(at=self.settings)
            queue = self._queue()
            submitter = Submitter(
                api, self.context.recorder, self._say, queue=queue, patience=PATIENCE
            )
            told = self.desk.audience(self.counts, self.options)
            trackers = Trackers(
                self.context.endpoints, self.context.recorder, stack, told
            )
            trackers.know(self.settings, api, queue.limiter)
            rows = Rows(
                Keyed(
                    submitter,
                    Settling(api, self.context.recorder, self._say),
                    again=lambda old, new: (
                        self.rules.decision(old, new) is RowDecision.SEND
                    ),
                ),
                self.desk,
                self._plan(trackers),
            )
            self.desk.rows = rows
            try:
                async with self.desk.shown():
                    await rows.run(self._drafts())
            finally:
                self.desk.close(self.source.name, AGAIN)
        self.context.report_ledger()
        return int(worst(rows.counts.codes))

    def _plan(self, trackers: Trackers) -> BatchPlan:
        options = self.options
        connections = self.settings.dialect.limits.connections
        usual = WAITING if options.waits else connections
        in_flight = options.in_flight or usual
        return BatchPlan(
            self.rules,
            posts=min(connections, in_flight),
            in_flight=in_flight,
            limit=options.limit,
            max_failures=options.max_failures,
            track=trackers.track if options.waits else None,
        )

    def _queue(self) -> PacedQueue:
        """Return the way to the endpoint: --rate counts on from an earlier run."""
        rate = self.settings.dialect.limits.rate
        rate += 1 / self.every if self.every and rate else 0.0
        queue = PacedQueue(RateLimiter(rate))
        queue.every = self.every
        newest = next(self.context.recorder.ledger.newest(), None)
        if newest is not None and newest.submitted_at is not None:
            passed = max(0.0, self.context.now - newest.submitted_at)
            queue.rest(self.every - passed)
        return queue

    async def _drafts(self) -> AsyncGenerator[Draft, None]:
        rows = self.source.rows()
        on_disk = manifests.is_read_twice(self.options)
        async with aclosing(from_disk(rows) if on_disk else from_thread(rows)) as lines:
            async for line, row in lines:
                with self.source.naming(line):
                    draft = self.drafts.draft(row)
                yield draft

    def _say(self, message: str) -> None:
        """Pass on what a submit says, until we leave: then one line says it all."""
        if not self.desk.is_leaving:
            self.context.say(message)
