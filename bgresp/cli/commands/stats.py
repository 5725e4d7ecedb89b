"""`bgresp stats`: the jobs as figures and bars."""

from collections.abc import Iterable
from typing import Annotated, Any, Final, NamedTuple

from bgresp.cli import records, refs
from bgresp.cli.context import Context
from bgresp.cli.options import OUTPUT, Common, Refs, chosen_word, opt
from bgresp.core.errors import UsageError
from bgresp.core.model import Job
from bgresp.core.stats import DEFAULT, FIELDS, NONE, Stats, grouping, stats_of
from bgresp.core.text import one_line
from bgresp.core.times import local, rfc3339
from bgresp.render.columns import UNTOLD, Times

SCHEMA: Final = "bgresp.stats/1"


class Options(NamedTuple):
    """What `stats` takes."""

    by: Annotated[
        str,
        opt(
            "--by",
            help="Group by status day model label label=K profile group.",
            metavar="WHAT",
            panel=OUTPUT,
        ),
    ] = "status"
    time: Annotated[
        str,
        opt("--time", help="Days are local or utc.", metavar="HOW", panel=OUTPUT),
    ] = "local"


def stats(which: Refs, options: Options, common: Common) -> int:
    """Count jobs, tokens, and how long they were queued and ran; asks no endpoint.

    All jobs, or those that are selected. Bars on a terminal; rows in a pipe.

    Examples:

      bgresp stats
      bgresp stats --by day --since 30d
      bgresp stats --by model --json | jq '.groups[] | [.value, .run_p95]'
    """
    context = Context.of(common, FIELDS)
    times = chosen_word(Times, options.time, "--time")
    if times is Times.RELATIVE:
        raise UsageError("--time takes utc or local for days")
    written = local if times is Times.LOCAL else _utc
    groups_of = grouping(options.by, lambda moment: written(moment)[:10])
    jobs = records.priced(context, _jobs(context, which))
    found = stats_of(jobs, groups_of, options.by)
    context.report_ledger()
    _show(context, found, options.by)
    if found.total.noticed:
        count = found.total.noticed
        context.say(
            f"{count} of {found.total.jobs} are left out of the durations: {UNTOLD}"
        )
    return 0


def _utc(moment: float) -> str:
    return rfc3339(moment) or NONE


def _jobs(context: Context, which: Refs) -> Iterable[Job]:
    """Return the jobs, one after the other: a ledger is never held whole."""
    if which.refs:
        return refs.chosen(context, which).known()
    selector = which.selector(context.common, now=context.now)
    return refs.selected(context, selector)


def _show(context: Context, found: Stats, by: str) -> None:
    wanted = context.common.wanted_fields()
    rows = [_cut(group.row(), wanted) for group in found.groups]
    if context.common.jsonl:
        records.show(context, rows, single=False)
    elif context.common.json:
        total = _cut(found.total.row(), wanted)
        whole = {"schema": SCHEMA, "by": by, "total": total, "groups": rows}
        records.show(context, [whole], single=True)
    elif context.common.quiet:
        for group in found.groups:
            context.streams.line(one_line(group.value))
    elif context.streams.out_is_terminal and not wanted:
        from bgresp.render.charts import BarChart

        BarChart(context.streams, by).show(found)
    else:
        for row in rows:
            cells = (row[name] for name in wanted or DEFAULT)
            context.streams.line("\t".join(map(_cell, cells)))


def _cut(row: dict[str, Any], wanted: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in wanted} if wanted else row


def _cell(value: Any) -> str:
    return NONE if value is None else one_line(str(value))
