"""What is wrong with a ledger, in a line; nobody is asked."""

from collections.abc import Callable
from typing import Final

from bgresp.ledger.ledger import Ledger

Say = Callable[[str], None]
NAMED: Final = 3


def report_bad(ledger: Ledger, say: Say) -> bool:
    """Name the first lines that cannot be read; say whether there are any."""
    count, bad = ledger.first_bad(NAMED)
    if not bad:
        return False
    places = ", ".join(place for place, _ in bad)
    more = f" and {count - NAMED} more" if count > NAMED else ""
    kept = "kept as it is, the other lines are fine"
    say(f"{places}{more}: cannot be read ({bad[0][1]}); {kept}")
    return True


def report_dead(ledger: Ledger, say: Say) -> None:
    """Name submissions that died before their outcome was known."""
    dead = [job.key for job in ledger.unsettled() if ledger.is_dead(job)]
    if not dead:
        return
    names = ", ".join(dead[:3])
    more = f" and {len(dead) - 3} more" if len(dead) > 3 else ""
    are = "submit has" if len(dead) == 1 else "submits have"
    how = f"(bgresp resolve {dead[0]})"
    say(f"{len(dead)} {are} no known outcome: {names}{more} {how}")
