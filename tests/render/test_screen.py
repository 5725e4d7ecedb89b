"""Lines below a text that grows: wherever its cursor was moved, the text goes on."""

import pytest

from bgresp.render.screen import Screen
from tests.render.screens import Shown

TEXT = "x" * 30
STATUS = "[in progress]"


def pinned(shown: Shown) -> Screen:
    """Show a text with a status line below it."""
    screen = Screen(shown.streams())
    screen.pin([STATUS])
    screen.text(TEXT)
    assert [TEXT, STATUS] == shown.lines
    return screen


def place(shown: Shown) -> tuple[int, int]:
    """Return the cursor's column and row."""
    return shown.screen.cursor.x, shown.screen.cursor.y


def test_the_cursor_rests_at_the_end_of_the_text() -> None:
    """A resize, which moves the cursor with what it stands in, takes it from a line of ours."""
    shown = Shown(40, 24)
    screen = pinned(shown)
    assert (30, 0) == place(shown)
    for lines in (["another"], ["one", "two"], ["one", "changed"], [STATUS]):
        screen.pin(lines)
        assert [TEXT, *lines] == shown.lines
        assert (30, 0) == place(shown)


def rewrap(shown: Shown, columns: int) -> None:
    """Resize as terminals do: the text is wrapped anew, its cursor goes with it.

    The place that was saved stays where it was.
    """
    saved = list(shown.screen.savepoints)
    shown.resize(columns, shown.rows)
    status = f"\x1b7\r\n{STATUS}\x1b8".encode()
    shown.screen.reset()
    shown._parser.feed(TEXT.encode() + status)
    shown.screen.savepoints = saved


def typed(shown: Shown, keys: str) -> None:
    """Echo keys where the cursor is, as a terminal does that was not hushed."""
    shown._parser.feed(keys.encode())


@pytest.mark.parametrize("columns", [16, 20, 29, 60])
def test_a_text_goes_on_where_a_resize_has_moved_it(columns: int) -> None:
    """After a resize the text goes on where its end was before."""
    shown = Shown(40, 24)
    screen = pinned(shown)
    rewrap(shown, columns)
    screen.pin([STATUS])
    screen.text(" and more\n")
    alone = Shown(columns, 24)
    alone.streams().answer(f"{TEXT} and more\n")
    assert [*alone.lines, STATUS] == shown.lines
    screen.close()
    assert alone.lines == shown.lines


@pytest.mark.parametrize("columns", [16, 20, 29])
def test_a_narrowed_terminal_keeps_its_text(columns: int) -> None:
    """A status line is drawn over a text of which nobody knows where it ends."""
    shown = Shown(40, 24)
    screen = pinned(shown)
    rewrap(shown, columns)
    screen.pin([STATUS])
    alone = Shown(columns, 24)
    alone.streams().answer(TEXT)
    assert alone.lines == shown.lines[: len(alone.lines)]
    assert place(alone) == place(shown)


def test_a_text_goes_on_where_it_was_though_somebody_typed() -> None:
    """Keys that were typed move the text that comes, or stay in it."""
    shown = Shown(40, 24)
    screen = pinned(shown)
    typed(shown, "abc")
    screen.text(" and more")
    assert [f"{TEXT} and more", STATUS] == shown.lines
    typed(shown, "abc")
    screen.pin([STATUS, "another"])
    screen.text("\n")
    assert [f"{TEXT} and more", STATUS, "another"] == shown.lines
