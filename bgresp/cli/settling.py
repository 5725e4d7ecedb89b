"""Settle submissions without a known outcome, for verbs that may use the network."""

from dataclasses import dataclass, field

from bgresp.cli import errors
from bgresp.cli.context import Context
from bgresp.cli.endpoints import by_endpoint
from bgresp.config.settings import Settings
from bgresp.core.errors import BgrespError, ConfigError, RefusedError
from bgresp.core.model import Job
from bgresp.engine.asking import exit_code
from bgresp.engine.settle import Settling, can_settle, candidates


@dataclass(slots=True)
class Settled:
    """What became of submissions, and an exit code for each thing that went wrong."""

    jobs: list[Job] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)


async def settled(context: Context, jobs: list[Job] | None = None) -> Settled:
    """Settle submissions, each at its own endpoint; by default all that may be.

    Raises LedgerError.
    """
    found = Settled()

    def failed(_: Job, error: BgrespError) -> None:
        errors.show(context.streams, error, as_json=context.is_json)
        found.codes.append(int(error.code))

    wanted = candidates(context.books) if jobs is None else jobs
    for settings, some in by_endpoint(context, wanted, failed):
        try:
            await _at(context, settings, some, found)
        except (ConfigError, RefusedError) as error:
            failed(some[0], error)
    return found


async def _at(
    context: Context, settings: Settings, jobs: list[Job], found: Settled
) -> None:
    if not can_settle(settings.dialect):
        found.jobs += await Settling(None, context.books, context.say).settle(jobs)
        return
    async with context.api(settings) as api:
        settling = Settling(api, context.books, context.say)
        found.jobs += await settling.settle(jobs)
        found.codes += [int(exit_code(fault)) for fault in settling.faults]
