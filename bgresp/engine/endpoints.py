"""The endpoints of jobs: their settings, what they can do, their pace, an open Api.

A job is asked about with the settings that it was made with. A probe says what an
endpoint can do: a verdict on each ability, and what follows from it.
"""

import asyncio
import math
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
BURST: Final = 10  # requests that idle time saves up
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


class RateLimiter:
    """Requests a second that may pass; 0 lets everything through."""

    __slots__ = ("_held", "_next", "rate")

    def __init__(self, rate: float) -> None:
        """Start with a burst saved up, and nothing held."""
        self.rate = rate
        self._next = -math.inf
        self._held = -math.inf

    async def turn(self) -> None:
        """Wait for one's turn; a hold that comes meanwhile counts too."""
        loop = asyncio.get_running_loop()
        slot = self.slot()
        while slot > loop.time():
            await asyncio.sleep(slot - loop.time())
            slot = self.slot(slot)

    def slot(self, taken: float | None = None) -> float:
        """Take the moment at which one may pass.

        One that was taken before stays, unless a hold came since.
        """
        if taken is not None and taken >= self._held:
            return taken
        return self._take()

    def hold(self, seconds: float) -> None:
        """Let nobody pass for so long: the endpoint asked for it."""
        now = asyncio.get_running_loop().time()
        self._held = max(self._held, now + seconds)

    @property
    def held(self) -> float:
        """Return for how many seconds nobody may pass."""
        return max(0.0, self._held - asyncio.get_running_loop().time())

    def free_at(self) -> float:
        """Return the moment from which the next one may pass, without taking it."""
        if self.rate <= 0:
            return self._held
        spare = asyncio.get_running_loop().time() - (BURST - 1) / self.rate
        return max(self._next, spare, self._held)

    def _take(self) -> float:
        """Take the next free moment; idle time saves up a burst, a hold does not."""
        slot = self.free_at()
        if self.rate > 0:
            self._next = slot + 1.0 / self.rate
        return slot


class PacedQueue:
    """A queue before a limiter, whose first may pass `every` so many seconds.

    Those that wait take no turn of the limiter from others.
    """

    __slots__ = ("_first", "_next", "every", "limiter")

    def __init__(self, limiter: RateLimiter | None = None, every: float = 0.0) -> None:
        """Lead to a limiter, else to none that holds up anybody."""
        self.limiter = limiter or RateLimiter(0.0)
        self.every = every
        self._first = asyncio.Lock()
        self._next = -math.inf

    def rest(self, seconds: float) -> None:
        """Let nobody of this queue pass for so long."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)

    async def turn(self) -> None:
        """Wait for one's turn, in the order of asking."""
        loop = asyncio.get_running_loop()
        async with self._first:
            await asyncio.sleep(max(0.0, self._next - loop.time()))
            await self.limiter.turn()
            self._next = loop.time() + self.every


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
