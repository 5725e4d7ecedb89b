"""What stands behind the time in a job's row of the board."""

from typing import Final

from rich.cells import cell_len

from bgresp.core.model import Job
from bgresp.render.lines import reason
from bgresp.render.paint import DIM, STYLES, Brush, Piece, fitting, number

TOKENS: Final = 12  # cells of that column
LEAST: Final = 12  # cells in which a part of a reason is worth it
GAP: Final = 2


def behind(job: Job, brush: Brush, room: int, *, is_named: bool) -> list[Piece]:
    """Return tokens, why it ended so, and the id of a job that has a name too.

    Where there is no room for all, the reason is cut, then the tokens go, then the id.
    """
    tokens = job.usage.total_tokens if job.usage else None
    spent = [(f"{number(tokens)} tokens".rjust(TOKENS), DIM)] if tokens else []
    ident, why = brush.safe(job.ref), brush.safe(reason(job))
    named = [(ident, DIM)] if is_named else []
    if not why:
        return fitting([[("", "")], spent, named], room)
    left = room - GAP - (cell_len(ident) + GAP) * is_named
    if left < min(LEAST, cell_len(why)):
        named, left = [], room - GAP
    if cell_len(why) > left:
        why = brush.cell(why, left) if left >= LEAST else ""
    if cell_len(why) + GAP + TOKENS > left:
        spent = []
    told = [(why, STYLES[job.status])] if why else []
    return fitting([[("", "")], spent, told, named], room)
