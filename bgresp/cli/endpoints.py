"""Jobs by the endpoint that each was made with."""

from collections.abc import Callable, Iterable

from bgresp.cli.context import Context
from bgresp.config.settings import Settings
from bgresp.core.errors import ConfigError
from bgresp.core.model import Job

Group = tuple[Settings, list[Job]]


def by_endpoint(
    context: Context,
    jobs: Iterable[Job],
    failed: Callable[[list[Job], ConfigError], None] | None = None,
) -> list[Group]:
    """Return jobs in their order, those of one endpoint together.

    Raises ConfigError where a job's endpoint is no longer configured, unless `failed`
    is told instead.
    """
    groups: dict[str, Group] = {}
    for job in jobs:
        try:
            settings = context.settings_of(job)
        except ConfigError as error:
            if failed is None:
                raise
            failed([job], error)
            continue
        groups.setdefault(settings.identity, (settings, []))[1].append(job)
    return list(groups.values())
