"""Settings without what `doctor --probe` saw that an endpoint cannot do."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bgresp.config.settings import Settings

PROBE: Final = "probe"  # in a job's `extra`: a probe made it, so it is not @last


def as_probed(state: Path, settings: "Settings") -> "Settings":
    """Return settings by the card of their endpoint; as they are without one."""
    from bgresp.core.capabilities import applied
    from bgresp.ledger import cards

    card = cards.load(state, settings.base_url, settings.dialect.name)
    if card is None:
        return settings
    return replace(settings, dialect=applied(settings.dialect, card))
