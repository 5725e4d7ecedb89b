"""`bgresp batch`: one job a row of a manifest."""

import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final, NamedTuple

import typer

from bgresp.batch.files import (
    STDIN,
    Folder,
    Results,
    RowDrafts,
    Source,
    delimiter_of,
    from_disk,
    from_thread,
)
from bgresp.cli import inputs, records
from bgresp.cli.context import Context
from bgresp.cli.inputs import (
    Shape,
    ask_for_webhook,
    check_webhook,
    labels,
    request_of,
)
from bgresp.cli.options import Common, Notify, opt, seconds
from bgresp.config.profiles import destination
from bgresp.config.settings import Settings
from bgresp.core import times
from bgresp.core.errors import UsageError, worst
from bgresp.core.manifest import Row, RowReading, Shard, shard
from bgresp.core.model import Job
from bgresp.core.request import Draft, checked_prompt
from bgresp.render.streams import as_json

if TYPE_CHECKING:
    # What sends is imported where rows are sent: help and completions read all verbs.
    from bgresp.batch.rows import BatchPlan, RowDecision, Rules
    from bgresp.cli.batch_output import BatchOutput
    from bgresp.engine.endpoints import PacedQueue
    from bgresp.engine.tracker import Trackers

WAITING: Final = 1000  # rows in flight where their ends are waited for
PATIENCE: Final = 3600.0  # seconds that the endpoint may make a row wait
AGAIN: Final = "the same command again goes on: it skips rows that have a job"
CHANGED: Final = ("refuse", "resubmit", "skip")


class Options(NamedTuple):
    """What `batch` takes."""

    manifest: Annotated[
        str,
        typer.Argument(
            metavar="MANIFEST",
            help="JSON Lines, CSV or TSV (by its name), a request a row; - is stdin.",
        ),
    ]
    csv: Annotated[bool, opt("--csv", help="Read it as CSV, whatever its name.")] = (
        False
    )
    prompt: Annotated[
        str | None,
        opt(
            "--prompt",
            help="The prompt of each row, with its fields: {{column}}.",
            metavar="STR|@FILE",
        ),
    ] = None
    id: Annotated[
        str | None,
        opt(
            "--id",
            help="The field that names a row (id); row: its number.",
            metavar="COLUMN",
        ),
    ] = None
    group: Annotated[
        str | None,
        opt(
            "--group",
            help="The group of its jobs; else the manifest's name.",
            metavar="G",
        ),
    ] = None
    label: Annotated[
        list[str] | None,
        opt("-l", "--label", help="A label for each row (repeat).", metavar="K=V"),
    ] = None
    shard: Annotated[
        str | None, opt("--shard", help="Only the Ith of N parts.", metavar="I/N")
    ] = None
    limit: Annotated[
        int | None, opt("--limit", help="Submit N rows at most.", metavar="N")
    ] = None
    in_flight: Annotated[
        int | None,
        opt(
            "--in-flight",
            help="N rows at once; with --wait until they end.",
            metavar="N",
        ),
    ] = None
    rate: Annotated[
        str | None,
        opt("--rate", help="Submit at most so fast: 30/m, 2/s.", metavar="N/UNIT"),
    ] = None
    max_failures: Annotated[
        int | None,
        opt("--max-failures", help="Stop after N rows failed.", metavar="N"),
    ] = None
    changed: Annotated[
        str,
        opt(
            "--changed",
            help="Of a row whose request is another now: refuse, resubmit or skip.",
            metavar="HOW",
        ),
    ] = "refuse"
    retry_failed: Annotated[
        bool, opt("--retry-failed", help="Submit rows again that did not complete.")
    ] = False
    wait: Annotated[bool, opt("--wait", help="Wait until every row has ended.")] = False
    results: Annotated[
        str | None,
        opt(
            "--results", help="Wait; append a line a row to FILE.", metavar="FILE.jsonl"
        ),
    ] = None
    out_dir: Annotated[
        str | None,
        opt("--out-dir", help="Wait; write a file a row into DIR.", metavar="DIR"),
    ] = None
    allow_empty: Annotated[
        bool, opt("--allow-empty", help="A manifest without rows is no error.")
    ] = False
    dry_run: Annotated[
        bool, opt("--dry-run", help="Check and count; send nothing.")
    ] = False
    allow_outside: Annotated[
        bool,
        opt("--allow-outside", help="Let rows name files beyond MANIFEST's folder."),
    ] = False
    no_keep_prompt: Annotated[
        bool, opt("--no-keep-prompt", help="Keep no copy of the requests.")
    ] = False
    expect: Annotated[
        str | None,
        opt("--expect", help="How long a row is expected to take.", metavar="D"),
    ] = None
    stream: Annotated[
        bool | None, opt("--stream/--no-stream", help="Create them streamable.")
    ] = None
    notify: Notify = None

    @property
    def waits(self) -> bool:
        """Say whether the rows' ends are waited for."""
        return self.wait or self.results is not None or self.out_dir is not None


def batch(options: Options, shape: Shape, common: Common) -> int:
    """Submit a background response for each row of a manifest; print the ids in order.

    The same command again goes on where it was stopped, killed or cut off: a row that
    has its job is not submitted again. Other options are defaults for the rows.

    Examples:

      bgresp batch questions.jsonl -m gpt-5
      bgresp batch questions.jsonl --results answers.jsonl --rate 30/m
      bgresp batch people.csv --id row --prompt 'Write to {{name}} about {{topic}}.'
    """
    context = Context.of(common, rows=False)
    context.notify(options.notify)
    ask_for_webhook(context, shape)
    _check(options)
    batching = Batching.of(context, options, shape)
    if options.dry_run:
        return batching.dry_run()
    with batching.ready():
        batching.survey()
        return context.run(batching.run())


def _check(options: Options) -> None:
    for name, count in (
        ("--in-flight", options.in_flight),
        ("--max-failures", options.max_failures),
        ("--limit", options.limit),
    ):
        if count is not None and count < 1:
            raise UsageError(f"{name} takes 1 or more")
    if options.changed not in CHANGED:
        raise UsageError("--changed takes refuse, resubmit or skip")


@dataclass(slots=True)
class Batching:
    """What one invocation works with."""

    context: Context
    options: Options
    settings: Settings
    source: Source
    drafts: RowDrafts
    rules: "Rules"
    output: "BatchOutput"
    every: float = 0.0
    has_schema: bool = False
    counts: "dict[RowDecision, int]" = field(default_factory=dict)

    @classmethod
    def of(cls, context: Context, options: Options, shape: Shape) -> "Batching":
        """Read the options.

        Raises UsageError, ConfigError, NoSuchJobError.
        """
        from bgresp.batch.rows import Rules
        from bgresp.cli.batch_output import BatchOutput

        group = _group(options)
        _check_there(options)
        settings = context.settings(model=shape.model, keyed=not options.dry_run)
        if not options.dry_run:
            check_webhook(context, settings)
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
            lambda row: _prompt(row, options),
            stream=stream,
            keep=not options.no_keep_prompt,
        )
        return cls(
            context,
            options,
            settings,
            _source(options, tuple(request.variables)),
            drafts,
            Rules(options.changed, retry_failed=options.retry_failed),
            BatchOutput(context),
            times.every(options.rate) if options.rate else 0.0,
            has_schema=shape.schema is not None,
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
                path = _results_file(options.results)
                until_done.enter_context(ledger.claim(f"results:{path}"))
                self.output.results = until_done.enter_context(Results.at(path))
            if options.out_dir is not None:
                self.output.folder = Folder.made(
                    options.out_dir, suffix=".json" if self.has_schema else ".txt"
                )
            yield

    # ---- looking it over ---------------------------------------------------

    def survey(self) -> None:
        """Check every row before the first is sent; a stream is checked as it comes."""
        if _is_read_twice(self.options):
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
            records.show(self.context, [first], single=True)
        for line in self._counted(size):
            self.context.say(line)
        return 0

    def _counted(self, size: int) -> Iterator[str]:
        from bgresp.batch.rows import RowDecision

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
        from bgresp.batch.rows import RowDecision, changed, look_up
        from bgresp.engine.recorder import check_whole

        recorder, decision = self.context.recorder, RowDecision.SEND
        is_first = not recorder.ledger.may_have(str(self.drafts.job.group))
        if is_first:  # each row is looked up again when it is sent
            check_whole(recorder)
        for line, row in self.source.rows():
            with self.source.naming(line):
                draft = self.drafts.draft(row)
                if not is_first:
                    decision, _ = look_up(recorder, self.rules, draft.job)
                if decision is RowDecision.CHANGED:
                    raise changed(draft.job)
            self.counts[decision] = self.counts.get(decision, 0) + 1
            if decision is RowDecision.SEND:
                yield draft

    # ---- sending -----------------------------------------------------------

    async def run(self) -> int:
        """Send the rows, wait where asked, and return the exit code."""
        from bgresp.batch.rows import RowDecision, Rows
        from bgresp.engine.recorder import GroupCommit
        from bgresp.engine.resubmit import Keyed
        from bgresp.engine.settle import Settling
        from bgresp.engine.submit import Submitter
        from bgresp.engine.tracker import Trackers

        self.context.detached = AGAIN
        async with AsyncExitStack() as stack:
            api = await stack.enter_async_context(self.context.api(self.settings))
            self.context.note_endpoint(self.settings)
            await self.context.settle(at=self.settings)
            queue = self._queue()
            recorder = self.context.recorder
            submitter = Submitter(
                api, recorder, self._say, queue=queue, patience=PATIENCE
            )
            submitter.group = group = GroupCommit(recorder.ledger.path)
            told = self.output.audience(
                self.counts,
                limit=self.options.limit,
                waits=self.options.waits,
                model=self.drafts.request.model,
            )
            trackers = Trackers(
                self.context.endpoints,
                self.context.recorder,
                stack,
                told,
                group=group,
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
                self.output,
                self._plan(trackers),
            )
            self.output.rows = rows
            try:
                async with self.output.shown():
                    await rows.run(self._drafts())
            finally:
                self.output.close(self.source.name, AGAIN)
        self.context.report_ledger()
        return int(worst(rows.counts.codes))

    def _plan(self, trackers: "Trackers") -> "BatchPlan":
        from bgresp.batch.rows import BatchPlan

        options = self.options
        connections = self.settings.dialect.limits.connections
        # A row whose job is being synced leaves its connection to another.
        usual = WAITING if options.waits else 2 * connections
        in_flight = options.in_flight or usual
        return BatchPlan(
            self.rules,
            posts=min(connections, in_flight),
            in_flight=in_flight,
            limit=options.limit,
            max_failures=options.max_failures,
            track=trackers.track if options.waits else None,
        )

    def _queue(self) -> "PacedQueue":
        """Return the way to the endpoint: --rate counts on from an earlier run."""
        from bgresp.engine.endpoints import PacedQueue, RateLimiter

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
        on_disk = _is_read_twice(self.options)
        async with aclosing(from_disk(rows) if on_disk else from_thread(rows)) as lines:
            async for line, row in lines:
                with self.source.naming(line):
                    draft = self.drafts.draft(row)
                yield draft

    def _say(self, message: str) -> None:
        """Pass on what a submit says, until we leave: then one line says it all."""
        if not self.output.is_leaving:
            self.context.say(message)


def _source(options: "Options", variables: tuple[str, ...]) -> Source:
    """Return where the rows come from.

    Raises UsageError.
    """
    name, prompt = options.manifest, options.prompt
    template = inputs.text_or_file(prompt, "--prompt") if prompt is not None else None
    is_stdin = name == inputs.STDIN
    return Source(
        STDIN if is_stdin else name,
        _stdin if is_stdin else lambda: _opened(name),
        RowReading(options.id, template, variables),
        delimiter_of(name, csv=options.csv),
        shard(options.shard) if options.shard else Shard(),
        allow_empty=options.allow_empty,
    )


def _check_there(options: "Options") -> None:
    """Refuse a manifest that cannot be read.

    Raises UsageError.
    """
    name = options.manifest
    # The writer of a fifo would take us for its reader.
    if name != inputs.STDIN and not Path(name).is_fifo():
        _opened(name).close()


def _opened(name: str) -> BinaryIO:
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None


def _is_read_twice(options: "Options") -> bool:
    """Say whether a manifest can be checked whole before its rows are sent."""
    return options.manifest != inputs.STDIN and Path(options.manifest).is_file()


def _group(options: "Options") -> str:
    """Return the group of a batch: rows are found again by it.

    Raises UsageError.
    """
    chosen = options.group
    if chosen is None:
        path = Path(options.manifest)
        if options.manifest != inputs.STDIN and not path.exists():
            raise UsageError(f"{path}: no such file")
        if not _is_read_twice(options):
            raise UsageError(
                "a manifest that is not a file needs --group",
                hint="rows are found again by their group and id",
            )
        chosen = path.stem
    if not chosen.strip() or not chosen.isprintable():
        raise UsageError("--group: must be printable text")
    return chosen


def _prompt(row: Row, options: "Options") -> str | None:
    """Read the prompt of a row; a file is named from where the manifest lies.

    Raises UsageError that names the field.
    """
    if row.text is not None:
        return checked_prompt(row.text, "text")
    if row.file is None:
        return None
    folder = "."
    if options.manifest != inputs.STDIN:
        folder = os.path.dirname(options.manifest) or "."  # noqa: PTH120  a Path would make ./- be stdin
    path = os.path.join(folder, row.file)  # noqa: PTH118
    if not options.allow_outside and not _is_within(folder, path):
        raise UsageError(
            f"file: {row.file!r} lies outside {folder!r}, the folder of the rows",
            hint="--allow-outside lets rows name files anywhere",
        )
    try:
        return inputs.prompt(path)
    except UsageError as error:
        hint = error.hint if os.path.exists(path) else ""  # noqa: PTH110  never raises
        raise UsageError(f"file: {error.message}", hint=hint) from None


def _is_within(folder: str, path: str) -> bool:
    """Say whether a file is really below a folder: a manifest may be a stranger's."""
    try:
        return Path(path).resolve().is_relative_to(Path(folder).resolve())
    except (OSError, ValueError, RuntimeError):  # a NUL, a circle of links
        return True  # reading it tells why


def _stdin() -> BinaryIO:
    inputs.stdin()
    return open(0, "rb", closefd=False)  # its rows are read in a thread, which closes


def _results_file(name: str) -> Path:
    """Return where --results go.

    Raises UsageError.
    """
    path = Path(name)
    if not path.parent.is_dir():
        raise UsageError(f"--results {name}: there is no directory {path.parent}")
    if path.exists() and not path.is_file():
        raise UsageError(f"--results {name}: is not a file")
    return path.resolve()
