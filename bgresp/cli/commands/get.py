"""`bgresp get`: the answer, from disk, else fetched."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from bgresp.cli import output, records, refs
from bgresp.cli.context import Context
from bgresp.cli.options import Annotated, Common, Refs, Replace, opt
from bgresp.cli.output import PARTS
from bgresp.core.dialect import first_at
from bgresp.core.errors import ConfigError, ExitCode, RefusedError, UsageError, worst
from bgresp.core.model import Job, Status
from bgresp.core.output import Answer, Media, first_code_block
from bgresp.core.text import parse_json, printable
from bgresp.render.streams import Streams, as_json

JSON_PARTS: Final = frozenset({"data", "usage", "error", "request", "raw"})
INDENTED: Final = frozenset({"data", "usage", "error"})  # of these we write the JSON
CODE: Final = "code block"  # what -x asks for, said as a part
SGR: Final = r"(\x1b\[[0-9;]*m)"
APART: Final = frozenset({"usage", "error", "request"})  # kept beside the answer


class Options(NamedTuple):
    """What `get` takes."""

    part: Annotated[
        str,
        opt("--part", help=" ".join(PARTS) + "."),
    ] = "text"
    extract: Annotated[
        bool,
        opt("-x", "--extract", help="Print only the first code block of the text."),
    ] = False
    pretty: Annotated[
        bool, opt("--pretty", help="Draw Markdown on a terminal; a pipe gets the text.")
    ] = False
    output: Annotated[
        str | None,
        opt("-o", "--output", help="Write it to FILE.", metavar="FILE"),
    ] = None
    out_dir: Annotated[
        str | None,
        opt(
            "--out-dir", help="Write each to a file in DIR (or -o DIR/).", metavar="DIR"
        ),
    ] = None
    force: Replace = False


def get(which: Refs, options: Options, common: Common) -> int:
    """Print answers: from disk where they are saved, else from the endpoint.

    Examples:

      bgresp get @last
      bgresp get resp_123 --part usage
      bgresp get @last -x > script.py
      bgresp get --group questions --out-dir answers
    """
    context = Context.of(common)
    options = _checked(options)
    target = output.target(
        options.output, force=options.force and options.out_dir is None
    )
    choice = refs.chosen(context, which, default="@last")
    news = _fetched(context, choice)
    codes = news.codes
    jobs = [context.with_ending(job) for job in news.jobs]
    if not codes and not refs.require_some(context, jobs, which):
        return 0
    if options.output is not None and len(jobs) != 1:
        raise UsageError(
            f"-o takes one job, not {len(jobs)}",
            hint="-o DIR/ takes several; or one REF each, or --jsonl",
        )
    codes += _gone(context, choice, jobs, options.part)
    if which.group is not None:
        jobs = in_order_of_rows(jobs)
    if options.out_dir is not None:
        codes += _write_files(context, jobs, options, by_group=which.group is None)
    shows_records = context.is_json or common.quiet or bool(common.fields)
    if shows_records:
        _show_records(context, jobs, choice.single)
    elif options.out_dir is None:
        codes += _show_parts(context, jobs, options, target=target)
    if options.part != "text" and not shows_records:
        # Of a job that completed it is the answer whether the part is there.
        jobs = [job for job in jobs if job.status is not Status.COMPLETED]
    # A job that was not heard of is told already, and counts by its fault alone.
    jobs = [
        job
        for job in jobs
        if job.key not in news.unheard
        or not (job.status.is_open or context.answers.owes(job))
    ]
    for job in jobs:
        records.say_why(context, job)
    return _worst(codes, jobs)


def _worst(codes: list[int], jobs: list[Job]) -> int:
    """Return the exit code of what went wrong, and of jobs as they are known to be."""
    return int(worst([*codes, *(int(job.exit_code) for job in jobs)]))


def _checked(options: Options) -> Options:
    """Take -o DIR/ as --out-dir DIR, and -x as a part.

    Raises UsageError where there is no such part, two options say what is wanted, or
    two where it goes.
    """
    if options.part not in PARTS:
        raise UsageError(f"no part {options.part!r}", hint="one of " + " ".join(PARTS))
    if options.extract and options.part != "text":
        raise UsageError("--part and -x exclude each other")
    if options.extract:
        options = options._replace(part=CODE)
    if options.output is None or not options.output.endswith(os.sep):
        if options.output is not None and options.out_dir is not None:
            raise UsageError("-o and --out-dir exclude each other")
        return options
    if options.out_dir is not None:
        raise UsageError("-o and --out-dir exclude each other")
    return options._replace(output=None, out_dir=options.output)


def in_order_of_rows(jobs: list[Job]) -> list[Job]:
    """Return jobs as their rows were submitted, a retried row's where its first is."""
    first: dict[str, str] = {}
    ordered = sorted(jobs, key=lambda job: job.key)
    for job in ordered:
        first.setdefault(job.row or job.key, job.key)
    return sorted(ordered, key=lambda job: (first[job.row or job.key], job.key))


def _write_files(
    context: Context, jobs: list[Job], options: Options, *, by_group: bool
) -> Iterator[int]:
    """Write a part of each job to a file; yield an exit code for each without it.

    Of a row that was retried the newest answer is kept.
    """
    from bgresp.batch.files import Folder

    suffix = ".json" if options.part in JSON_PARTS else ".txt"
    folder = Folder.made(str(options.out_dir), suffix=suffix, by_group=by_group)
    for job in sorted(jobs, key=lambda job: job.key):
        try:
            found = _part(context, job, options.part)
        except RefusedError as error:
            context.tell_error(error)
            yield int(error.code)
            continue
        if isinstance(found, tuple) and found:
            target = folder.path / folder.name_of(job)
            target.parent.mkdir(exist_ok=True)
            stem = target.with_suffix("")
            yield from output.write_media(context, job, stem, found, force=True)
        elif found and not isinstance(found, tuple):
            folder.add(job, found)
        else:
            yield from _say_missing(context, job, options.part)


def _gone(
    context: Context, choice: refs.Choice, jobs: list[Job], part: str
) -> Iterator[int]:
    """Tell of answers that are to be had no more; yield an exit code for each."""
    asked = {job.key: job.checked_at for job in choice.jobs}
    for job in jobs:
        heard = job.checked_at != asked.get(job.key)
        if heard and part not in APART and context.answers.owes(job):
            yield int(records.say_gone(context, job))


def _fetched(context: Context, choice: refs.Choice) -> refs.Refreshed:
    """Return the jobs, asked about where their answer is not on disk."""
    answers = context.answers
    if not choice.foreign and all(
        answers.response_path(job.key).exists() or job.id is None for job in choice.jobs
    ):
        return refs.Refreshed(choice.jobs, [])
    return refs.ask_about(context, choice)


def _show_records(context: Context, jobs: list[Job], single: bool) -> None:
    wanted = context.common.wanted_fields()
    if context.common.quiet:
        for job in jobs:
            context.streams.line(job.ref)
        return
    jobs = [job for job in jobs if not job.status.is_open]
    if not context.is_json:
        records.show_jobs(context, jobs, single=single)
        return
    from bgresp.render.columns import record

    rows = []
    for job in jobs:
        text = context.text_of(job)
        has = text is not None or not context.answers.owes(job)
        rows.append(record(job, wanted, text=(text or "") if has else None))
    if rows or not single:
        records.show(context, rows, single=single)


def _show_parts(
    context: Context, jobs: list[Job], options: Options, *, target: Path | None
) -> list[int]:
    """Print a part of each job; return an exit code for each that has no such part."""
    codes = []
    for job in jobs:
        try:
            found = _part(context, job, options.part)
            if options.part in INDENTED and isinstance(found, str):
                found = _indented(context, found) if target is None else found
        except RefusedError as error:
            context.tell_error(error)
            codes.append(int(error.code))
            continue
        if not found:
            codes += _say_missing(context, job, options.part)
        elif target is not None and isinstance(found, tuple):
            force = options.force
            codes += output.write_media(context, job, target, found, force=force)
        elif isinstance(found, tuple):
            output.print_text(context.streams, output.media_lines(found))
        elif target is not None:
            output.write_file(target, found, force=options.force)
        else:
            if len(jobs) > 1:
                _say_whose(context.streams, job)
            if options.part == "text" and not isinstance(found, bytes):
                _print_answer(context, job, found, pretty=options.pretty)
            else:
                output.print_text(context.streams, found)
    return codes


def _indented(context: Context, found: str) -> str:
    """Return JSON as a person reads it, on a terminal."""
    if not context.streams.out_is_terminal:
        return found
    return as_json(json.loads(found), indented=True)


def _print_answer(context: Context, job: Job, text: str, *, pretty: bool) -> None:
    """Print a text as it is; on a terminal drawn as Markdown, where that is wanted."""
    streams = context.streams
    if not streams.out_is_terminal or not (pretty or _is_pretty(context, job)):
        output.print_text(streams, text)
        return
    from bgresp.cli.commands.help_ import drawn

    for line in drawn(printable(text), width=streams.width, colour=streams.colour):
        # A Markdown entity may stand for what was escaped before it was drawn.
        pieces = re.split(SGR, line)
        shown = (p if re.fullmatch(SGR, p) else printable(p) for p in pieces)
        streams.draw("".join(shown))


def _is_pretty(context: Context, job: Job) -> bool:
    """Say whether the profile of a job wants its answers drawn."""
    try:
        table = context.config.profiles.get(job.profile or "", {})
    except ConfigError:
        return False  # an answer that is here is shown, whatever the files say
    return bool(table.get("pretty", False))


def _say_missing(context: Context, job: Job, part: str) -> list[int]:
    """Say that a finished job has no such part; return its exit code."""
    if job.status is not Status.COMPLETED:
        return []
    if context.answers.owes(job) and part not in APART:
        return []  # it was never fetched: that is said of it
    from bgresp.render.columns import told_of

    told = told_of(job)
    if part != "text":
        context.say(f"{job.ref} has no {part}" + (f": {told}" if told else ""))
        return [int(ExitCode.NO_ANSWER)]
    return []


def _say_whose(streams: Streams, job: Job) -> None:
    """Say on stderr whose text comes now, where a person would see no border.

    As `head` does of several files; what stdout gets is the same everywhere.
    """
    if not streams.together:
        return
    from bgresp.render.table import DIM, Painter

    painter = Painter.of_talk(streams)
    name = f" {painter.safe(job.name)}" if job.name else ""
    head = f"==> {printable(job.ref)}{name} <=="
    streams.control(painter.painted(head, DIM) + "\n")


def _part(
    context: Context, job: Job, part: str
) -> str | bytes | tuple[Media, ...] | None:
    """Return a part of a saved answer; None while there is none.

    Raises RefusedError where the answer is to be JSON and is not.
    """
    saved = context.answers
    if part in {"request", "raw"}:
        return saved.request(job.key) if part == "request" else saved.response(job.key)
    if part == "error":
        return as_json(job.error.to_dict()) if job.error is not None else None
    if part == "usage":
        return _usage(context, job)
    answer = context.answers.answer(job.key, context.dialect_of(job)) or Answer()
    if job.status is Status.LOST:  # of one that was cut off there may be a beginning
        answer = answer.with_text(context.answers.streamed_text(job.key) or "")
    if part == "data":
        return _data(job, answer)
    if part == "tools":
        waiting = (*answer.calls, *answer.approvals)
        return "\n".join(as_json(call.to_dict()) for call in waiting)
    found: Any = (
        getattr(answer, part) if part != CODE else first_code_block(answer.text)
    )
    return "\n".join(map(as_json, found)) if part == "citations" else found


def _usage(context: Context, job: Job) -> str | None:
    """Return the endpoint's own object, else what the record has of it."""
    raw = context.answers.response(job.key)
    if raw is not None:
        with suppress(ValueError, RecursionError):
            where = context.dialect_of(job).items.usage
            usage = first_at(json.loads(raw), where)
            if isinstance(usage, dict):
                return as_json(usage)
    return as_json(job.usage.to_dict()) if job.usage is not None else None


def _data(job: Job, answer: Answer) -> str | None:
    """Return an answer that is JSON on one line; one without text has none.

    Of several messages it may be the last that is JSON. Raises RefusedError.
    """
    if not answer.text:
        return None
    try:
        return as_json(parse_json(answer.text))
    except ValueError as error:
        with suppress(ValueError):
            return as_json(parse_json(answer.last_text))
        raise RefusedError(
            f"the answer of {job.ref} is not JSON ({str(error)[:80]})",
            hint=f"bgresp get {job.quoted} has its text",
        ) from None
