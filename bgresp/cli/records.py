"""Jobs told: as rows, ids, JSON or JSON Lines on stdout; on stderr, how they stand."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from bgresp.cli.context import Context
from bgresp.core.errors import ConfigError, ExitCode
from bgresp.core.model import Job, Status
from bgresp.core.text import counted, one_line
from bgresp.render.streams import as_json

if TYPE_CHECKING:
    from bgresp.render.columns import Look, Times

TITLED: Final = 500  # jobs of a table whose prompts are read
SPELLED: Final = 10  # open jobs that are named at the end; more are counted
LONGEST_TITLE: Final = 96  # characters of a prompt as a title


def show_jobs(context: Context, jobs: list[Job], *, single: bool) -> None:
    """Print jobs in the asked mode: ids, JSON, JSON Lines, or rows."""
    if not show_as_data(context, jobs, single=single):
        from bgresp.render.columns import DEFAULT
        from bgresp.render.table import STEPS, Table

        wanted = context.common.wanted_fields()
        columns, steps = (wanted, ()) if wanted else (DEFAULT, STEPS)
        how = look(context, titled=[] if wanted else jobs, texts_of=jobs)
        Table(context.streams, how, columns, steps).show(jobs)


def show_as_data(context: Context, jobs: list[Job], *, single: bool) -> bool:
    """Print jobs as ids, JSON or JSON Lines; say whether one of them was asked."""
    wanted = context.common.wanted_fields()
    if context.common.quiet:
        for job in jobs:
            context.streams.line(job.ref)
    elif context.is_json:
        from bgresp.render.columns import record

        has_text = "text" in wanted
        show(
            context,
            [
                record(job, wanted, text=context.text_of(job) if has_text else None)
                for job in jobs
            ],
            single=single,
        )
    return context.common.quiet or context.is_json


def show(context: Context, records: list[dict[str, Any]], *, single: bool) -> None:
    """Print records: an object for exactly one, else an array; or one a line."""
    if context.common.jsonl:
        for record in records:
            context.streams.raw(as_json(record).encode("ascii") + b"\n")
    else:
        value = records[0] if single and len(records) == 1 else records
        text = as_json(value, indented=context.streams.out_is_terminal)
        context.streams.raw(text.encode("ascii") + b"\n")


def print_document(context: Context, record: dict[str, str]) -> None:
    """Print the text that is a record's last field; where JSON is asked, the record."""
    if context.is_json:
        wanted = context.common.wanted_fields() or tuple(record)
        show(context, [{name: record[name] for name in wanted}], single=True)
    else:
        *_, text = record.values()
        context.streams.answer(text)


def list_planned(context: Context, jobs: list[Job], what: str) -> int:
    """List what --dry-run would have done to jobs; return the exit code."""
    show_jobs(context, jobs, single=False)
    if not context.is_json:
        context.say(f"nothing was done; {what} {counted(len(jobs))}")
    return 0


def look(
    context: Context,
    times: "Times | None" = None,
    *,
    titled: Iterable[Job] = (),
    texts_of: Iterable[Job] = (),
) -> "Look":
    """Return how rows are written now; `titled` jobs by short ids on a terminal.

    `texts_of` are jobs whose answers --fields may ask for.
    """
    from bgresp.render.columns import Look

    terminal = context.streams.out_is_terminal
    titles = titles_of(context, [*titled]) if terminal else {}
    if "text" in context.common.wanted_fields():
        texts = {job.key: context.text_of(job) for job in texts_of}
        titles = {k: {"text": one_line(t)} for k, t in texts.items() if t}
    return Look(context.now, times, terminal=terminal, titles=titles)


def titles_of(context: Context, jobs: list[Job]) -> dict[str, dict[str, str]]:
    """Return by key what a terminal calls jobs: "id", a short one, and "name".

    That is the row or the first words of the prompt of a job that has no name; of
    very many jobs prompts are not read.
    """
    shorts = context.ledger.shortened(jobs)
    found = {key: {"id": short} for key, short in shorts.items()}
    for job in jobs[:TITLED]:
        if job.name is None:
            words = job.row or context.request_of(job).prompt
            if words:
                said = one_line(words, limit=LONGEST_TITLE)
                title = said if job.row else f'"{said}"'
                found.setdefault(job.key, {})["name"] = title
    return found


def priced(context: Context, jobs: Iterable[Job]) -> Iterator[Job]:
    """Yield jobs with their cost, where their profile has `prices`."""
    from bgresp.core import stats

    try:
        profiles = context.config.profiles
    except ConfigError:
        profiles = {}  # what is known is shown, whatever the files say
    for job in jobs:
        table = profiles.get(job.profile or "", {})
        yield stats.priced(job, table.get("prices", {}))


def say_why_over(context: Context, jobs: Iterable[Job]) -> None:
    """Say why jobs that are over did not complete."""
    for job in jobs:
        if not job.status.is_open:
            say_why(context, job)


def say_open(context: Context, jobs: Iterable[Job]) -> None:
    """Say which jobs are open yet."""
    left = [job for job in jobs if job.status.is_open]
    if len(left) > SPELLED:
        context.say(f"{len(left)} jobs are still open: bgresp watch")
        return
    for job in left:
        again = f"bgresp watch {job.quoted} --resume"
        context.say(f"{job.ref} is still {job.status.value}: {again}")


def say_failed(context: Context, jobs: Iterable[Job]) -> None:
    """Say what to type where jobs of one group did not complete."""
    from bgresp.engine.resubmit import to_retry

    failed = to_retry(context.recorder, jobs, lost=False)
    groups = {job.group for job in failed}
    if len(groups) == 1 and (group := groups.pop()):
        import shlex

        again = f"bgresp retry --failed --group {shlex.quote(group)}"
        context.say(f"{len(failed)} did not complete: {again}")


def say_told(context: Context, jobs: Iterable[Job]) -> None:
    """Say which jobs completed, but not with a text: a board does not show that."""
    from bgresp.render.columns import told_of

    found = [job for job in jobs if told_of(job)]
    if len(found) > SPELLED:
        context.say(
            f"{len(found)} ended other than in text: bgresp list --fields id,ended_with"
        )
        return
    for job in found:
        context.say(f"{job.ref} {job.status.value} {told_of(job)}")


def say_why(context: Context, job: Job) -> None:
    """Say how a job stands where its text alone would not tell."""
    if job.status.is_open:
        context.say(f"{job.ref} is {job.status.value}: bgresp watch {job.quoted}")
    elif job.status.is_unsettled:
        context.say(f"{job.ref} is {standing(job)}")
    elif job.status is not Status.COMPLETED:
        from bgresp.render.columns import summary

        again = f"bgresp retry {job.quoted}"
        if job.status is Status.LOST:  # it may still answer: a retry may pay twice
            again = f"bgresp status {job.quoted} asks again"
        context.say(f"{job.ref} {summary(job)} ({again})")
    elif job.told:
        from bgresp.render.columns import told_of

        if said := told_of(job):
            context.say(f"{job.ref} {job.status.value} {said}")


def standing(job: Job) -> str:
    """Return how a job stands that has no text; of an unknown outcome, what to do."""
    if not job.status.is_unsettled:
        from bgresp.render.columns import summary

        return summary(job)
    message = "no answer, its submit has no known outcome"
    return f"{job.status.value}: {message} (bgresp resolve {job.quoted})"


def say_gone(context: Context, job: Job) -> ExitCode:
    """Say that a job's answer was never fetched and is to be had no more."""
    again = context.answers.request(job.key) is not None
    context.say(
        f"{job.ref} is {job.status.value}, but its answer is not here and the endpoint "
        "no longer has it" + (f" (bgresp retry {job.quoted})" if again else "")
    )
    return ExitCode.LOST
