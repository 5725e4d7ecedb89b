"""`bgresp import --from FILE`: what another machine's `list --jsonl` printed."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from bgresp.cli import inputs
from bgresp.cli.context import Context
from bgresp.config.files import built_in
from bgresp.config.settings import Flags, resolve
from bgresp.core.errors import ConfigError, UsageError
from bgresp.core.model import Job
from bgresp.engine import merging


def merged(context: Context, name: str) -> int:
    """Take every record in; first the whole file is checked.

    Raises UsageError that names the line, LedgerError.
    """
    total = new = changed = 0
    with _opened(name) as file:
        for _ in _jobs(file, name):
            total += 1
        file.seek(0)
        for job in _jobs(file, name):
            before, now = merging.take(context.books, _placed(context, job))
            new += before is None
            changed += before is not None and before != now
            if before != now:
                context.show_jobs([now], single=True)
    context.report_ledger()
    shown = "stdin" if name == inputs.STDIN else name
    context.say(f"{shown}: {total} jobs, {new} new here, {changed} with news")
    return 0


def _jobs(file: BinaryIO, name: str) -> Iterator[Job]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            yield merging.read(line)
        except UsageError as error:
            said = f"{name}:{number}: {error.message}"
            raise UsageError(said, hint=error.hint) from None


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    """Open the file to be read twice; stdin is copied."""
    if name != inputs.STDIN:
        try:
            with Path(name).open("rb") as file:
                yield file
        except OSError as error:
            raise UsageError(f"--from {name}: {error.strerror}") from None
        return
    if sys.stdin is None:
        raise UsageError("stdin is closed")
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.seek(0)
        yield copy


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
    same = settings.base_url == job.base_url
    return replace(
        job,
        dialect=settings.dialect.name,
        vars=settings.vars if same else {},
        extra=settings.kept if same else {},
    )
