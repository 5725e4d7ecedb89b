"""What is wrong with a ledger, in a line; nobody is asked."""

from collections.abc import Callable

from bgresp.ledger.ledger import Ledger

Say = Callable[[str], None]


def report_bad(ledger: Ledger, say: Say) -> None:
    """Name the lines that cannot be read."""
    bad = ledger.bad
    places = ", ".join(place for place, _ in bad[:5])
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    kept = "kept as it is, the other lines are fine"
    say(f"{places}{more}: cannot be read ({bad[0][1]}); {kept}")


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
