"""Settle submissions without a known outcome, for verbs that may use the network."""

from dataclasses import dataclass, field

from bgresp.cli import errors
from bgresp.cli.context import Context
from bgresp.cli.endpoints import by_endpoint
from bgresp.config.settings import Settings
from bgresp.core.errors import ConfigError, RefusedError
from bgresp.core.faults import exit_code
from bgresp.core.model import Job
from bgresp.engine.settle import Settling, can_settle, candidates


@dataclass(slots=True)
class Settled:
    """What became of submissions, and an exit code for each thing that went wrong."""

    jobs: list[Job] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)


async def settled(context: Context, *, at: Settings | None = None) -> Settled:
    """Settle the submissions that may be, each at its own endpoint.

    With `at` only that endpoint is asked: another one must not hold up a submit. Where
    nobody is asked a dead submission becomes `unknown`. Raises LedgerError.
    """
    found = Settled()
    unasked: list[Job] = []

    def unconfigured(jobs: list[Job], _: ConfigError) -> None:
        unasked.extend(jobs)

    some = candidates(context.recorder)
    for settings, jobs in by_endpoint(context, some, unconfigured):
        elsewhere = at is not None and settings.identity != at.identity
        if elsewhere or not can_settle(settings.dialect):
            unasked += jobs
            continue
        try:
            await _asked(context, settings, jobs, found)
        except (ConfigError, RefusedError) as error:
            errors.show(context.streams, error)
            found.codes.append(int(error.code))
    nobody = Settling(None, context.recorder, context.say)
    found.jobs += await nobody.settle(unasked)
    return found


async def _asked(
    context: Context, settings: Settings, jobs: list[Job], found: Settled
) -> None:
    async with context.api(settings) as api:
        settling = Settling(api, context.recorder, context.say)
        found.jobs += await settling.settle(jobs)
        found.codes += [int(exit_code(fault)) for fault in settling.faults]
