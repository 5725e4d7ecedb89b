"""Text in cells is measured as it is seen, and figures are written one way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.model import Status
from bgresp.core.stats import grouping, stats_of
from bgresp.core.text import one_line
from bgresp.render.charts import BarChart
from bgresp.render.table import Painter, cut, fitting, number, padded, width_of
from tests.render.jobs import JOBS, screen

SAFE = st.text(max_size=30).map(one_line)
PLAIN = Painter(colour=False, unicode=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "-"), (0, "0"), (999, "999"), (2000, "2,000"), (99_999, "99,999")),
        *((100_000, "100.0k"), (1_234_567, "1.2M"), (8.9e9, "8.9G")),
    ],
)
def test_a_figure_is_written_one_way(value: float | None, text: str) -> None:
    """Up to 100,000 a count is exact; beyond, it has a unit; unknown is a dash."""
    assert text == number(value)


@given(SAFE, st.integers(1, 20))
def test_what_is_cut_fits_and_begins_the_same(text: str, width: int) -> None:
    """A cut text is never wider than its room, and only a cut one has the mark."""
    short = cut(text, width)
    assert width_of(short) <= width
    assert short == text or short.endswith("…")
    cell = PLAIN.cell(text, width)
    assert width == width_of(cell)


@given(SAFE, st.integers(0, 40))
def test_ascii_is_measured_without_rich_as_with_it(text: str, more: int) -> None:
    """The short way to a width gives what Rich gives."""
    from rich.cells import cell_len

    assert cell_len(text) == width_of(text)
    assert cell_len(text) + more == width_of(padded(text, cell_len(text) + more))


def test_no_blank_stands_before_the_mark() -> None:
    """A text that is cut between two words ends with the word."""
    assert "ab…" == cut("ab cdef", 4)


def test_a_field_without_room_is_left_out() -> None:
    """A narrow line drops a whole field, and never the gap alone."""
    fields = [[("ab", "")], [("much too long", "")], [("cd", "1")]]
    assert [("ab", ""), ("  ", ""), ("cd", "1")] == fitting(fields, 6)
    assert [("ab", "")] == fitting(fields, 5)


def test_the_bar_of_what_waits_can_be_seen() -> None:
    """A bar has its status's colour, but a dim one would be no bar."""
    target, out = screen(80)
    target.colour = True
    jobs = [job for job in JOBS if job.status in {Status.QUEUED, Status.FAILED}]
    BarChart(target, "status").show(stats_of(jobs, grouping("status", str), "status"))
    shown = out.getvalue().decode()
    assert "\x1b[36m█" in shown
    assert "\x1b[31m█" in shown
    assert "\x1b[2m█" not in shown
