"""The endpoints of jobs: their settings, what they were seen to do, and an open Api.

A job is asked about with the settings that it was made with. A probe says what an
endpoint can do: a verdict on each ability, and what follows from it.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from bgresp.api.client import Api
from bgresp.config.secret import with_secret
from bgresp.config.settings import Machine, Settings, of_job
from bgresp.core.dialect import Dialect
from bgresp.core.endpoint import Endpoint
from bgresp.core.errors import ConfigError
from bgresp.core.model import Job
from bgresp.core.times import rfc3339, unix
from bgresp.ledger import saved

SCHEMA: Final = "bgresp.probe/1"
Group = tuple[Settings, list[Job]]


class Ability(StrEnum):
    """What WIRE.md 4 says must be detected and never assumed."""

    BACKGROUND = "background"
    RETRIEVE = "retrieve"
    STREAM_CREATE = "stream_create"
    STREAM_LATER = "stream_later"
    RESUME = "resume"
    CANCEL = "cancel"
    CANCEL_TWICE = "cancel_twice"
    DELETE = "delete"
    LIST = "list"
    TRUNCATION = "truncation"


class Verdict(StrEnum):
    """Whether an endpoint has an ability."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Finding(NamedTuple):
    """A verdict and what was seen."""

    verdict: Verdict
    detail: str


UNTRIED: Final = Finding(Verdict.UNKNOWN, "not tried")
_NOT_PROBED: Final[Mapping[Ability, Finding]] = {}


class Capabilities(NamedTuple):
    """What a probe found out about one base URL spoken to in one dialect."""

    base_url: str
    dialect: str
    model: str | None = None
    probed_at: float | None = None
    jobs: tuple[str, ...] = ()
    findings: Mapping[Ability, Finding] = _NOT_PROBED

    def of(self, ability: Ability) -> Finding:
        """Return what was found about an ability."""
        return self.findings.get(ability, UNTRIED)

    def lacks(self, ability: Ability) -> bool:
        """Say whether the endpoint was seen not to have an ability."""
        return self.of(ability).verdict is Verdict.NO

    @property
    def strands_jobs(self) -> bool:
        """Say whether it takes background jobs and never tells of them again."""
        return self.lacks(Ability.RETRIEVE) and not self.lacks(Ability.BACKGROUND)

    def to_dict(self) -> dict[str, Any]:
        """Return the form that is kept, and that scripts read."""
        return {
            "schema": SCHEMA,
            "base_url": self.base_url,
            "dialect": self.dialect,
            "model": self.model,
            "probed_at": rfc3339(self.probed_at),
            "jobs": list(self.jobs),
            "abilities": {str(name): self.of(name)._asdict() for name in Ability},
        }

    @classmethod
    def read(cls, raw: Any) -> Self | None:
        """Read a card that was kept; None where it is none, or of another version."""
        if not isinstance(raw, Mapping) or raw.get("schema") != SCHEMA:
            return None
        told = raw.get("abilities")
        table = told if isinstance(told, Mapping) else {}
        findings = {name: _finding(table.get(name)) for name in Ability}
        return cls(
            base_url=str(raw.get("base_url")),
            dialect=str(raw.get("dialect")),
            probed_at=unix(raw.get("probed_at")),
            findings={name: found for name, found in findings.items() if found},
        )


def _finding(raw: Any) -> Finding | None:
    if not isinstance(raw, Mapping) or raw.get("verdict") not in set(Verdict):
        return None
    return Finding(Verdict(raw["verdict"]), str(raw.get("detail", "")))


def applied(dialect: Dialect, card: Capabilities) -> Dialect:
    """Return a dialect without what its endpoint was seen not to do.

    No card gives an endpoint more than its dialect says. Where no cursor is minded, a
    stream is read from its start: what was seen before is dropped by its number.
    """
    gone = {"cancel"} if card.lacks(Ability.CANCEL) else set()
    streaming = dialect.streaming
    if card.lacks(Ability.STREAM_LATER):
        streaming = streaming._replace(attach="never")
        if card.lacks(Ability.STREAM_CREATE):
            gone.add("stream")
    if card.lacks(Ability.RESUME):
        streaming = streaming._replace(resume="")
    ops = {name: op for name, op in dialect.ops.items() if name not in gone}
    return dialect._replace(ops=ops, streaming=streaming)


def as_probed(state: Path, settings: Settings) -> Settings:
    """Return settings without what a probe saw that their endpoint cannot do."""
    kept = saved.load_probed(state, settings.base_url, settings.dialect.name)
    card = Capabilities.read(kept)
    if card is None:
        return settings
    return settings._replace(dialect=applied(settings.dialect, card))


class Endpoints:
    """Endpoints as this machine's configuration knows them.

    `local` starts the endpoint of this machine that some settings mean; it returns its
    base URL and its key. `warn` is told, once, of a key that is no one's but root's to
    read; `trace` of each request.
    """

    __slots__ = ("_settings", "_warned", "local", "machine", "state", "trace", "warn")

    def __init__(
        self,
        machine: Machine,
        state: Path,
        local: Callable[[Settings], tuple[str, str | None]],
        warn: Callable[[str], None] = lambda _: None,
        *,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        """Know what this machine configures; no job was asked for yet."""
        self.machine = machine
        self.state = state
        self.local = local
        self.warn = warn
        self.trace = trace
        self._warned: set[str] = set()
        self._settings: dict[str, Settings] = {}

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
        key = settings.key_source.read(self.machine.environ, settings.hidden)
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
            trace=self.trace,
        )
        try:
            yield api
        finally:
            await api.aclose()
