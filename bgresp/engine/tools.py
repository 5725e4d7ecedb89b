"""What the trackers of one endpoint share."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from bgresp.api.client import Api
from bgresp.core.machine import Policy
from bgresp.core.observer import Observer
from bgresp.core.outage import Outage
from bgresp.engine.books import Books
from bgresp.engine.gate import Gate, Permits


@dataclass(frozen=True, slots=True)
class Tools:
    """What trackers of one endpoint share."""

    api: Api
    books: Books
    observer: Observer
    gate: Gate
    policy: Policy
    jitter: Callable[[], float] = random.random
    streams: Permits = field(default_factory=Permits)
    outage: Outage = field(default_factory=Outage)
    is_alone: bool = True  # how one job is followed is worth a word, not how many are
