"""How jobs are followed, and who follows those of a batch, where each is."""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from bgresp.api.client import Api
from bgresp.cli.context import Context
from bgresp.config.settings import Settings
from bgresp.core.dialect import Dialect
from bgresp.core.machine import Policy
from bgresp.core.model import Job, Status
from bgresp.core.observer import JobProgress, Observer
from bgresp.engine.rate_limit import RateLimiter
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


def opened(job: Job) -> Job:
    """Return a job as one to ask about: what ended unsaved may still be fetched."""
    ended = job.status.is_terminal
    return replace(job, status=Status.IN_PROGRESS) if ended else job


@dataclass(slots=True)
class Trackers:
    """Makes trackers; endpoints that it opens are closed with `stack`.

    `observer` is told of each job as it is before it is followed, too.
    """

    context: Context
    stack: AsyncExitStack
    observer: Observer
    _tools: dict[str, Tools] = field(default_factory=dict)

    def know(self, settings: Settings, api: Api, limiter: RateLimiter) -> None:
        """Use an endpoint that is open already, through the limiter of its creates."""
        how = policy(api.endpoint.dialect, "poll")
        tools = Tools(api, self.context.recorder, self.observer, limiter, how)
        self._tools[settings.identity] = tools

    async def track(self, job: Job) -> Tracker | None:
        """Return who follows a job; None where it is over, and its answer saved."""
        self.observer.changed(job, JobProgress("poll"))
        if is_at_rest(job, self.context.recorder):
            return None
        settings = self.context.settings_of(job)
        if settings.identity not in self._tools:
            api = await self.stack.enter_async_context(self.context.api(settings))
            self.know(settings, api, RateLimiter(api.endpoint.dialect.limits.rate))
        return Tracker(opened(job), self._tools[settings.identity], ShownText())
