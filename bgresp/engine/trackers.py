"""How jobs of a dialect are followed, and who follows each, at its own endpoint."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from bgresp.api.client import Api
from bgresp.config.settings import Settings
from bgresp.core.dialect import Dialect
from bgresp.core.machine import Policy
from bgresp.core.model import Job, Status
from bgresp.core.observer import JobProgress, Observer
from bgresp.core.signals import Signal
from bgresp.engine.endpoints import Endpoints
from bgresp.engine.rate_limit import RateLimiter, Semaphore
from bgresp.engine.recorder import Recorder
from bgresp.engine.shown_text import ShownText
from bgresp.engine.tracker import Tools, Tracker


def policy(dialect: Dialect, mode: str, interval: float | None = None) -> Policy:
    """Return how jobs of a dialect are followed; `interval` overrides its pace."""
    limits = dialect.limits
    return Policy(
        mode=mode,
        poll=limits.poll,
        tiers=limits.tiers,
        interval=interval,
        max_run=limits.max_run,
        attach=dialect.attach,
        name=f"a {dialect.name} endpoint",
    )


def is_at_rest(job: Job, recorder: Recorder) -> bool:
    """Say whether nobody needs to be asked: saved, or never to be answered."""
    if job.status.is_open:
        return False
    saved = recorder.answers.response_path(job.key)
    return not job.status.is_terminal or saved.exists()


@dataclass(slots=True)
class Trackers:
    """Makes trackers; endpoints that it opens are closed with `stack`.

    `interval` overrides the pace of polls, in seconds. `is_alone`: one job is followed.
    """

    endpoints: Endpoints
    recorder: Recorder
    stack: AsyncExitStack
    observer: Observer
    mode: str = "poll"
    interval: float | None = None
    is_alone: bool = True
    _tools: dict[str, Tools] = field(default_factory=dict)

    def know(self, settings: Settings, api: Api, limiter: RateLimiter) -> None:
        """Use an endpoint that is open already, by the rate limit of its creates."""
        dialect = api.endpoint.dialect
        self._tools[settings.identity] = Tools(
            api,
            self.recorder,
            self.observer,
            limiter,
            policy(dialect, self.mode, self.interval),
            streams=Semaphore() if self.is_alone else Semaphore(dialect.limits.streams),
            is_alone=self.is_alone,
        )

    async def tracker(
        self,
        job: Job,
        shown: ShownText | None = None,
        created: AsyncGenerator[Signal, None] | None = None,
    ) -> Tracker:
        """Return who follows a job, which shows its text as `shown` says.

        `created` is the stream that creating it opened. Raises ConfigError where its
        endpoint cannot be opened.
        """
        settings = self.endpoints.settings_of(job)
        if settings.identity not in self._tools:
            api = await self.stack.enter_async_context(self.endpoints.open(settings))
            self.know(settings, api, RateLimiter(api.endpoint.dialect.limits.rate))
        if job.status.is_terminal:  # unsaved: it may still be fetched
            job = replace(job, status=Status.IN_PROGRESS)
        return Tracker(
            job, self._tools[settings.identity], shown or ShownText(), created
        )

    async def track(self, job: Job) -> Tracker | None:
        """Return who follows a job of a batch; None where it is over and saved.

        The observer is told how it is before it is followed.
        """
        self.observer.changed(job, JobProgress("poll"))
        return None if is_at_rest(job, self.recorder) else await self.tracker(job)
