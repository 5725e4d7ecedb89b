"""`bgresp import --from FILE`: what another machine's `list --jsonl` printed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from bgresp.cli import errors, inputs
from bgresp.cli.context import Context
from bgresp.config import trust
from bgresp.config.files import built_in
from bgresp.config.settings import Flags, resolve
from bgresp.core.errors import ConfigError, ExitCode, UsageError
from bgresp.core.model import Job
from bgresp.engine import merge
from bgresp.ledger.journal import MOST

NAMED: Final = 20  # refusals that are told one by one


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
                    said = f"{name}:{number}: {error.message}"
                    errors.show(context.streams, UsageError(said, hint=error.hint))
    context.report_ledger()
    refused = f", {counts.refused} refused" if counts.refused else ""
    news = f"{counts.new} new here, {counts.changed} with news{refused}"
    context.say(f"{shown}: {counts.total} jobs, {news}")
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
        context.show_jobs([now], single=True)


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == inputs.STDIN:
        if sys.stdin is None:
            raise UsageError("stdin is closed")
        yield sys.stdin.buffer
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
        return replace(job, dialect=spoken)
    same = trust.is_same(settings.base_url, job.base_url)
    return replace(
        job,
        dialect=settings.dialect.name,
        vars=settings.vars if same else {},
        extra=settings.kept if same else {},
    )
