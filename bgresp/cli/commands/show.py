"""`bgresp show`: what a job was asked, how it went, what it answered, what is next."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Final, NamedTuple

from bgresp.cli import records, refs
from bgresp.cli.context import Context
from bgresp.cli.options import Common, Refs, opt
from bgresp.core.model import EndedWith, Job
from bgresp.core.request import StoredRequest
from bgresp.core.selection import longest, queue_time, run_time
from bgresp.core.text import one_line
from bgresp.core.times import brief, local, rfc3339
from bgresp.render.columns import FIELDS, record, told_of
from bgresp.render.columns import reason as reason_of
from bgresp.render.table import (
    BOLD,
    GAP,
    STATUS_STYLES,
    Painter,
    money,
    number,
    show_rows,
    width_of,
)

LOOKED_AT: Final = 1000  # newer jobs, for one that tries this one again
LINES: Final = 6  # of a prompt that is not asked for in full
NAMES: Final = 14  # cells that the names of the facts take
LEAST: Final = 5  # lines of an answer, however low the window is


class Options(NamedTuple):
    """What `show` takes."""

    full: Annotated[
        bool, opt("--full", help="The whole prompt and answer on a terminal, too.")
    ] = False


def show(which: Refs, options: Options, common: Common) -> int:
    """Show a job: what was asked, how it went, what it answered; asks no endpoint.

    Examples:

      bgresp show
      bgresp show nightly --full
      bgresp show @last --json | jq -r .prompt
    """
    context = Context.of(common, (*FIELDS, "prompt"))
    choice = refs.chosen(context, which, default="@last")
    jobs = list(records.priced(context, map(context.with_ending, choice.known())))
    if not refs.require_some(context, jobs, which):
        return 0
    if context.is_json or common.quiet or common.fields:
        _show_records(context, jobs, single=choice.single)
        return 0
    for count, job in enumerate(jobs):
        if count:
            context.streams.line("")
        _show(context, job, full=options.full)
    return 0


def _show_records(context: Context, jobs: list[Job], *, single: bool) -> None:
    """Print records with what was asked and answered, as far as it is kept."""
    if context.common.quiet:
        records.show_jobs(context, jobs, single=single)
        return
    wanted = context.common.wanted_fields()
    whole = []
    for job in jobs:
        told = {**record(job), "prompt": context.request_of(job).prompt}
        told["text"] = context.text_of(job)
        more = record(job, tuple(set(wanted) - set(told)))
        whole.append({name: {**told, **more}[name] for name in wanted or told})
    records.show(context, whole, single=single)


def _show(context: Context, job: Job, *, full: bool) -> None:
    """Write the view of a job: rows with its facts, the prompt, the answer, what next.

    On a terminal prompt and answer are cut to a screen, unless they are to be `full`.
    """
    streams, asked = context.streams, context.request_of(job)
    painter = Painter.of_answers(streams)
    if streams.out_is_terminal:
        _head(context, job, painter)
    else:
        streams.line(f"id\t{job.ref}")
    rows = [*_facts(context, job), *_request_rows(asked)]
    show_rows(streams, [[name, value] for name, value in rows if value])
    cuts = streams.out_is_terminal and not full
    if asked.prompt is not None:
        _block(context, "prompt", asked.prompt, LINES if cuts else None, job)
    text = context.text_of(job)
    if text:
        wide = max(1, streams.width)
        above = sum(1 + (NAMES + width_of(value)) // wide for _, value in rows if value)
        left = streams.size()[1] - above - 3 * LINES
        _block(context, "answer", text, max(LEAST, left) if cuts else None, job)
    following = _next(context, job, has_text=bool(text))
    if following:
        streams.line("")
        show_rows(streams, [["next", following]])


def _head(context: Context, job: Job, painter: Painter) -> None:
    """Write the id, the name and the status, on lines of their own where narrow."""
    pieces = [
        (painter.safe(job.ref), BOLD),
        (painter.safe(job.name or ""), ""),
        (job.status.value, STATUS_STYLES[job.status]),
    ]
    found = [piece for piece in pieces if piece[0]]
    fits = width_of(GAP.join(text for text, _ in found)) <= context.streams.width
    painted = [painter.painted(text, style) for text, style in found]
    for line in [GAP.join(painted)] if fits else painted:
        context.streams.draw(line)


def _block(context: Context, name: str, text: str, limit: int | None, job: Job) -> None:
    """Write a text below its name, so many lines of it at most."""
    streams, lines = context.streams, text.rstrip("\n").split("\n")
    streams.line("")
    painter = Painter.of_answers(streams)
    streams.draw(painter.painted(name, BOLD))
    shown = lines if limit is None or len(lines) <= limit + 1 else lines[:limit]
    streams.answer("\n".join(shown) + "\n")
    if len(shown) < len(lines):
        how = f"bgresp show {job.quoted} --full"
        streams.line(f"({number(len(lines) - len(shown))} more lines: {how})")


def _facts(context: Context, job: Job) -> Iterator[tuple[str, str]]:
    """Yield what is known of a job: where it runs, how it went, what it cost."""
    if not context.streams.out_is_terminal:
        yield "name", job.name or ""
        yield "status", job.status.value
    yield "reason", reason_of(job) or job.last_error or told_of(job)
    yield "endpoint", f"{job.base_url or ''}, profile {job.profile or '-'}"
    asked = job.wanted_model or ""
    answered = f", answered by {job.model}" if job.model not in {asked, None} else ""
    yield "model", asked + answered
    row = f"row {job.row}" if job.row else ""
    yield "group", ", ".join(filter(None, (job.group, row)))
    labels = ",".join(f"{k}={v}" for k, v in sorted(job.labels.items()))
    yield "labels", labels
    when = _for_people if context.streams.out_is_terminal else rfc3339
    yield "submitted", _dated(job.submitted_at or job.created_at, when)
    queued, ran = queue_time(job), run_time(job)
    yield (
        "started",
        _dated(job.started_at, when, f"queued {brief(queued)}" if queued else None),
    )
    took = longest(job)
    exact = "took " if job.took_exact else "noticed: took at most "
    span = None if took is None else f"{exact}{brief(took)}"
    if span and ran is not None:
        span += f", ran {brief(ran)}"
    yield "ended", _dated(job.finished_at, when, span)
    yield "cancel", _dated(job.cancel_requested_at, when, "asked for")
    yield "tokens", _tokens(job)
    cost = job.usage.cost if job.usage else None
    yield "cost", "" if cost is None else money(cost)
    yield "kept until", _dated(job.expires_at, when)
    yield "follows", job.previous_id or ""
    yield "retry of", _ref_of(context, job.retry_of)
    yield "retried as", _retried(context, job)


def _tokens(job: Job) -> str:
    usage = job.usage
    if usage is None or usage.total_tokens is None:
        return ""
    parts = {"in": usage.input_tokens, "out": usage.output_tokens}
    told = [f"{number(count)} {name}" for name, count in parts.items() if count]
    return ": ".join(filter(None, (number(usage.total_tokens), ", ".join(told))))


def _for_people(moment: float) -> str:
    return local(moment)[:19].replace("T", " ")


def _dated(moment: float | None, when: Any, more: str | None = None) -> str:
    if moment is None:
        return ""
    return ", ".join(filter(None, (str(when(moment)), more)))


def _request_rows(asked: StoredRequest) -> Iterator[tuple[str, str]]:
    yield "instructions", one_line(asked.instructions or "", limit=400)
    yield "attached", ", ".join(asked.attachments)
    yield "options", asked.options


def _ref_of(context: Context, key: str | None) -> str:
    job = context.ledger.by_key(key) if key else None
    return job.ref if job is not None else key or ""


def _retried(context: Context, job: Job) -> str:
    """Return the newest job that tried this one again, as far as one looks."""
    for newer in islice(context.ledger.newest(), LOOKED_AT):
        if newer.key <= job.key:
            break
        if newer.retry_of == job.key:
            return newer.ref
    return ""


def _next(context: Context, job: Job, *, has_text: bool) -> str:
    """Return the command to type next; nothing of a job that is done."""
    if job.status.is_unsettled:
        return f"bgresp resolve {job.quoted}"
    if job.status.is_open:
        return f"bgresp watch {job.quoted}"
    if job.ended_with in {EndedWith.CALLS, EndedWith.APPROVAL}:
        return f"bgresp get {job.quoted} --part tools"
    if job.status.exit_code and context.answers.request(job.key) is not None:
        return f"bgresp retry {job.quoted}"
    if context.answers.owes(job) and not has_text:
        return f"bgresp get {job.quoted}"
    return ""
