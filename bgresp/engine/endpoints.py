"""The endpoints of jobs: the settings that each was made with, and an open Api."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bgresp.api.client import Api
from bgresp.config.secret import with_secret
from bgresp.config.settings import Machine, Settings, of_job
from bgresp.core.capabilities import applied
from bgresp.core.dialect import Endpoint
from bgresp.core.errors import ConfigError
from bgresp.core.model import Job
from bgresp.ledger import saved

Group = tuple[Settings, list[Job]]


def as_probed(state: Path, settings: Settings) -> Settings:
    """Return settings without what a probe saw that their endpoint cannot do."""
    card = saved.load_probed(state, settings.base_url, settings.dialect.name)
    if card is None:
        return settings
    return replace(settings, dialect=applied(settings.dialect, card))


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Endpoints as this machine's configuration knows them.

    `local` starts the endpoint of this machine that some settings mean; it returns its
    base URL and its key. `warn` is told, once, of a key that is no one's but root's to
    read.
    """

    machine: Machine
    state: Path
    local: Callable[[Settings], tuple[str, str | None]]
    warn: Callable[[str], None] = lambda _: None
    _warned: set[str] = field(default_factory=set)
    _settings: dict[str, Settings] = field(default_factory=dict)

    def settings_of(self, job: Job) -> Settings:
        """Return the settings that a job was made with.

        Raises ConfigError.
        """
        kept = map(job.extra.get, ("key_source", "profile_url", "dialects"))
        who = (job.profile, job.base_url, job.dialect, *kept)
        made_with = repr((*who, sorted(job.vars.items())))
        if made_with not in self._settings:
            found = of_job(job, self.machine)
            self._settings[made_with] = as_probed(self.state, found)
        return self._settings[made_with]

    def grouped(
        self,
        jobs: Iterable[Job],
        failed: Callable[[list[Job], ConfigError], None] | None = None,
    ) -> list[Group]:
        """Return jobs in their order, those of one endpoint together.

        Raises ConfigError where a job's endpoint is no longer configured, unless
        `failed` is told instead.
        """
        groups: dict[str, Group] = {}
        for job in jobs:
            try:
                settings = self.settings_of(job)
            except ConfigError as error:
                if failed is None:
                    raise
                failed([job], error)
                continue
            groups.setdefault(settings.identity, (settings, []))[1].append(job)
        return list(groups.values())

    @asynccontextmanager
    async def open(self, settings: Settings) -> AsyncIterator[Api]:
        """Open the endpoint of some settings; the local one is started when needed.

        Raises ConfigError.
        """
        base_url = settings.base_url
        warning = settings.key_source.warning
        if warning is not None and warning not in self._warned:
            self._warned.add(warning)
            self.warn(warning)
        key = settings.key_source.read(self.machine.environ)
        if settings.is_local:
            base_url, key = self.local(settings)
        api = Api(
            Endpoint(
                profile=settings.profile,
                base_url=base_url,
                dialect=settings.dialect,
                vars=settings.vars,
                key=key,
                headers=settings.headers,
                webhook=with_secret(settings.webhook, self.machine.environ),
                key_is_kept=settings.key_source.kind in {"env", "file"},
            ),
            say=self.warn,
        )
        try:
            yield api
        finally:
            await api.aclose()
