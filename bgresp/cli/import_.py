"""`bgresp import`: take ids that this machine did not submit into the ledger."""

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from bgresp.cli import errors, refs
from bgresp.cli.adopting import adopted
from bgresp.cli.context import Context
from bgresp.cli.inputs import pairs
from bgresp.cli.options import Common, opt
from bgresp.core.errors import BgrespError, LedgerError, UsageError, worst
from bgresp.core.model import Job, Status, check_names


@dataclass(frozen=True, slots=True)
class Options:
    """What `import` takes."""

    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID...", help="Response ids; - reads them from stdin."),
    ] = None
    name: Annotated[
        str | None, opt("-n", "--name", help="A name to find it by.", metavar="NAME")
    ] = None
    label: Annotated[
        list[str] | None, opt("-l", "--label", help="A label (repeat).", metavar="K=V")
    ] = None
    group: Annotated[
        str | None, opt("--group", help="A group to put it in.", metavar="G")
    ] = None
    source: Annotated[
        str | None,
        opt("--from", help="What `list --jsonl` printed elsewhere.", metavar="FILE|-"),
    ] = None


def import_(options: Options, common: Common) -> int:
    """Take ids from elsewhere into the ledger; -p says which endpoint has them.

    An id that the ledger knows already is only printed. --from merges the ledger of
    another machine: of each job the further state holds; a second time
    changes nothing. Answers stay there: get fetches them from the endpoint.

    Examples:

      bgresp import resp_123 -p work
      ssh node bgresp list --all --jsonl | bgresp import --from -
      bgresp import resp_123 resp_456 --group night
    """
    from bgresp.cli.running import run

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
                errors.show(context.streams, error)
                codes.append(int(error.code))
        return 0

    run(context, adopt())
    context.report_ledger()
    if jobs:
        context.show_jobs(jobs, single=len(ids) == 1)
    return int(worst(codes))


def _merged(context: Context, options: Options, source: str) -> int:
    from bgresp.cli.merging import merged

    if options.ids or options.name or options.label or options.group:
        raise UsageError("--from takes no IDs, and no names, labels or groups for them")
    if context.common.json:
        raise UsageError("--from prints jobs as they come: --jsonl")
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
    check_names(replace(draft, labels=labels))


async def _one(context: Context, id_: str, options: Options) -> Job:
    known = context.recorder.ledger.by_id(id_)
    job = known or await adopted(context, id_)
    labels = {**job.labels, **pairs(options.label, "-l")}
    named = replace(
        job,
        name=options.name or job.name,
        group=options.group or job.group,
        labels=labels,
    )
    return job if named == job else context.recorder.ledger.record(named)
