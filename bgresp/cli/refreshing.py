"""Ask once about jobs, for the verbs that do not wait: status, list --refresh, get."""

from typing import TYPE_CHECKING

from bgresp.cli import errors
from bgresp.cli.context import Context
from bgresp.core.errors import BgrespError, ConfigError, RefusedError
from bgresp.core.model import Job, Status
from bgresp.core.signals import FaultKind, exit_code

if TYPE_CHECKING:
    from bgresp.engine.polling import News


async def refreshed(
    context: Context, jobs: list[Job], *, alone: bool = False
) -> tuple[list[Job], list[int]]:
    """Ask the endpoints once about each job that may have changed.

    Returns the records that hold now, and an exit code for each that was not heard of:
    what is wrong with the settings of one costs the others nothing. Where a job is
    `alone` that is raised: ConfigError, RefusedError.
    """
    worth = [job for job in jobs if _is_worth_asking(context, job)]
    if not worth:
        return jobs, []  # without what speaks HTTP, which takes longer to import

    from bgresp.engine.polling import JobPoller

    found = {job.key: job for job in jobs}
    codes: list[int] = []

    def tell(news: "News") -> None:
        found[news.job.key] = news.job
        if news.fault is not None:
            context.say(f"{news.job.ref}: {news.fault.message}")
            if news.fault.kind is not FaultKind.GONE:  # it is not believed yet
                codes.append(int(exit_code(news.fault)))

    troubles = errors.Troubles(context.streams)

    def failed(some: list[Job], error: BgrespError) -> None:
        if alone:
            raise error
        troubles.add(some, error)

    for settings, some in context.endpoints.grouped(worth, failed):
        try:
            async with context.api(settings) as api:
                poller = JobPoller(api, context.recorder, tell)
                await poller.all(some)
                if poller.doubt is not None:
                    context.say(poller.doubt)
        except (ConfigError, RefusedError) as error:
            failed(some, error)
    return [found[job.key] for job in jobs], [*codes, *troubles.tell()]


def _is_worth_asking(context: Context, job: Job) -> bool:
    """Say whether the endpoint may have news: not of what is over and saved."""
    if job.id is None:
        return False
    if job.status in {Status.CANCELLED, Status.LOST} or job.status.is_open:
        return True
    return not context.recorder.answers.response_path(job.key).exists()
