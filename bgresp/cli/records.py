"""What a command prints of jobs and other records: rows, ids, JSON, JSON Lines."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from bgresp.cli.context import Context
from bgresp.core.errors import ConfigError
from bgresp.core.model import Job
from bgresp.core.text import counted, one_line
from bgresp.render.streams import as_json

if TYPE_CHECKING:
    from bgresp.render.columns import Look, Times

TITLED: Final = 500  # jobs of a table whose prompts are read
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
