"""Who follows the jobs of a batch: each at its own endpoint, silently."""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from bgresp.api.client import Api
from bgresp.cli.context import Context
from bgresp.config.settings import Settings
from bgresp.core.model import Job, Status
from bgresp.core.states import Policy
from bgresp.engine.gate import Gate
from bgresp.engine.pen import Pen
from bgresp.engine.tracker import Tools, Tracker
from bgresp.render.lines import Quiet


@dataclass(slots=True)
class Trackers:
    """Makes trackers; endpoints that it opens are closed with `stack`."""

    context: Context
    stack: AsyncExitStack
    _tools: dict[str, Tools] = field(default_factory=dict)

    def know(self, settings: Settings, api: Api, gate: Gate) -> None:
        """Use an endpoint that is open already, through the gate of its creates."""
        limits = api.endpoint.dialect.limits
        policy = Policy(
            mode="poll",
            poll=limits.poll,
            tiers=limits.tiers,
            max_run=limits.max_run,
        )
        quiet = Quiet(self.context.streams)
        tools = Tools(api, self.context.books, quiet, gate, policy)
        self._tools[settings.identity] = tools

    async def track(self, job: Job) -> Tracker | None:
        """Return who follows a job; None where it is over, and its answer saved."""
        ended = not job.status.is_open
        books = self.context.books
        if ended and not job.status.is_terminal:
            return None
        if ended and books.answers.response_path(job.key).exists():
            return None
        settings = self.context.settings_of(job)
        if settings.identity not in self._tools:
            api = await self.stack.enter_async_context(self.context.api(settings))
            self.know(settings, api, Gate(api.endpoint.dialect.limits.rate))
        asked = replace(job, status=Status.IN_PROGRESS) if ended else job
        return Tracker(asked, self._tools[settings.identity], Pen())
