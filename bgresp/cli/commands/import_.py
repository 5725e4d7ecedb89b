"""`bgresp import`: take ids that this machine did not submit into the ledger."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, BinaryIO, Final, NamedTuple

import typer

from bgresp.cli import errors, inputs, records, refs
from bgresp.cli.context import Context
from bgresp.cli.inputs import pairs
from bgresp.cli.options import Common, JobGroup, JobLabels, JobName, opt
from bgresp.config.files import built_in
from bgresp.config.settings import Flags, resolve
from bgresp.config.urls import is_same_url
from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    ExitCode,
    LedgerError,
    UsageError,
    worst,
)
from bgresp.core.model import Job, Status, check_names
from bgresp.core.text import counted
from bgresp.engine import merge
from bgresp.ledger.journal import MOST

NAMED: Final = 20  # refusals that are told one by one


class Options(NamedTuple):
    """What `import` takes."""

    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID...", help="Response ids; - reads them from stdin."),
    ] = None
    name: JobName = None
    label: JobLabels = None
    group: JobGroup = None
    source: Annotated[
        str | None,
        opt("--from", help="What `list --jsonl` printed elsewhere.", metavar="FILE|-"),
    ] = None


def import_(options: Options, common: Common) -> int:
    """Add ids from elsewhere to the ledger; -p says which endpoint has them.

    An id that the ledger knows already is only printed. --from merges the ledger of
    another machine: of each job the later state holds, and doing it twice changes
    nothing. Answers are not merged: get fetches them from the endpoint.

    Examples:

      bgresp import resp_123 -p work
      ssh node bgresp list --all --jsonl | bgresp import --from -
      bgresp import resp_123 resp_456 --group night
    """
    context = Context.of(common)
    if options.source is not None:
        return _merged(context, options, options.source)
    ids = list(dict.fromkeys(refs.expanded(options.ids or [])))
    _check(ids, options)
    jobs: list[Job] = []
    codes: list[int] = []

    async def adopt() -> int:
        for id_ in ids:
            try:
                jobs.append(await _one(context, id_, options))
            except LedgerError:
                raise
            except BgrespError as error:
                context.tell_error(error)
                codes.append(int(error.code))
        return 0

    context.run(adopt())
    context.report_ledger()
    if jobs:
        records.show_jobs(context, jobs, single=len(ids) == 1)
    return int(worst(codes))


def _merged(context: Context, options: Options, source: str) -> int:

    if options.ids or options.name or options.label or options.group:
        raise UsageError("--from takes no IDs, and no names, labels or groups for them")
    if context.common.json:
        raise UsageError("--from prints jobs as they come: --jsonl, not --json")
    return merged(context, source)


def _check(ids: list[str], options: Options) -> None:
    if not ids:
        raise UsageError("no ID given", hint="bgresp import resp_123 -p PROFILE")
    for id_ in ids:
        refs.check_typed(id_)
    if options.name is not None and len(ids) > 1:
        raise UsageError(f"-n takes one ID, not {len(ids)}")
    labels = pairs(options.label, "-l")
    draft = Job("", Status.SUBMITTING, name=options.name, group=options.group)
    check_names(draft._replace(labels=labels))


async def _one(context: Context, id_: str, options: Options) -> Job:
    known = context.recorder.ledger.by_id(id_)
    job = known or await refs.adopted(context, id_)
    labels = {**job.labels, **pairs(options.label, "-l")}
    named = job._replace(
        name=options.name or job.name,
        group=options.group or job.group,
        labels=labels,
    )
    return job if named == job else context.recorder.ledger.record(named)


@dataclass(slots=True)
class Counts:
    """How many records were read, and what became of them."""

    total: int = 0
    new: int = 0
    changed: int = 0
    refused: int = 0


def merged(context: Context, name: str) -> int:
    """Take every record in; one that is refused is named, and stops no other.

    Raises UsageError where nothing can be read, LedgerError.
    """
    counts = Counts()
    shown = "stdin" if name == inputs.STDIN else name
    with _opened(name) as file:
        for number, line in enumerate(_lines(file, name), 1):
            if not line.strip():
                continue
            counts.total += 1
            try:
                _take(context, line, counts)
            except UsageError as error:
                counts.refused += 1
                if counts.refused <= NAMED:
                    message = f"{name}:{number}: {error.message}"
                    errors.show(context.streams, UsageError(message, hint=error.hint))
    context.report_ledger()
    refused = f", {counts.refused} refused" if counts.refused else ""
    news = f"{counts.new} new here, {counts.changed} with news{refused}"
    context.say(f"{shown}: {counted(counts.total)}, {news}")
    return int(ExitCode.USAGE) if counts.refused else 0


def _take(context: Context, line: bytes, counts: Counts) -> None:
    if len(line) > MOST:
        raise UsageError(f"longer than {MOST >> 20} MiB")
    record = merge.read(line)
    placed = replace(record, job=_placed(context, record.job))
    before, now = merge.take(context.recorder, placed)
    counts.new += before is None
    counts.changed += before is not None and before != now
    if before != now:
        records.show_jobs(context, [now], single=True)


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == inputs.STDIN:
        yield inputs.stdin()
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115  it is closed below
    except OSError as error:
        raise UsageError(f"--from {name}: {error.strerror}") from None
    with file:
        yield file


def _lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield lines; of one that is too long its beginning, longer than MOST."""
    try:
        while line := file.readline(MOST + 1):
            yield line
            while len(line) > MOST and not line.endswith(b"\n"):
                line = file.readline(MOST + 1) or b"\n"
    except OSError as error:
        raise UsageError(f"--from {name}: {error.strerror}") from None


def _placed(context: Context, job: Job) -> Job:
    """Add what a record does not say: how its endpoint is spoken to here."""
    profile = job.profile or ""
    try:
        settings = resolve(Flags(profile=profile), context.environ, context.config)
    except ConfigError:
        table = context.config.profiles.get(profile, {})
        known = {*context.config.dialects, *built_in()}
        spoken = table.get("dialect", profile if profile in known else None)
        return job._replace(dialect=spoken)
    same = is_same_url(settings.base_url, job.base_url)
    return job._replace(
        dialect=settings.dialect.name,
        vars=settings.vars if same else {},
        extra=settings.kept if same else {},
    )
