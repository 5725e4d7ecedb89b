"""Text in cells is measured as it is seen, and figures are written one way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.model import EndedWith, Job, Status
from bgresp.core.stats import grouping, stats_of
from bgresp.core.text import one_line
from bgresp.render.charts import Axis, BarChart
from bgresp.render.columns import column, reason, told_of
from bgresp.render.table import (
    Painter,
    cut,
    fitting,
    money,
    number,
    padded,
    width_of,
)
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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "-"), (0.0, "0.000000"), (0.25, "0.250000")),
        *((1.0, "1.00"), (1234.5, "1,234.50")),
    ],
)
def test_money_is_written_one_way(value: float | None, text: str) -> None:
    """What costs less than one is rounded to nothing, or more has six digits."""
    assert text == money(value)


def test_a_span_in_json_has_milliseconds() -> None:
    """A machine reads the digits that a float happens to have."""
    job = Job("k", Status.COMPLETED, submitted_at=0.0, finished_at=12.3456789)
    assert 12.346 == column("took").plain(job)


def test_why_a_job_ended_is_no_fault_of_asking() -> None:
    """An unplugged cable is told as why a job failed, or an empty failure as news."""
    for status in Status:
        job = Job("k", status, last_error="the network is down")
        assert ("the network is down" if status is Status.LOST else "") == reason(job)
        empty = job._replace(
            ended_with=EndedWith.NOTHING, told="without text: it is so"
        )
        assert (status is Status.COMPLETED) is bool(told_of(empty))


@pytest.mark.parametrize(
    ("status", "times", "bar"),
    [
        (Status.QUEUED, (0.0, None, None), "░░░░░░░░░▶"),
        (Status.IN_PROGRESS, (2.0, 5.0, None), "  ░░░████▶"),
        (Status.COMPLETED, (2.0, 5.0, 8.0), "  ░░░███"),
        (Status.COMPLETED, (2.0, None, 8.0), "  ██████"),
        (Status.COMPLETED, (10.0, 10.0, 10.0), "         █"),
        (Status.COMPLETED, (10.0, None, 10.0), "         █"),
        (Status.COMPLETED, (9.8, 9.9, 9.9), "         ░"),
    ],
)
def test_a_bar_tells_of_waiting_and_running(
    status: Status, times: tuple[float, float | None, float | None], bar: str
) -> None:
    """A job that waits looks as if it ran, or a short one at the end is not seen."""
    begun, started, finished = times
    job = Job("k", status, submitted_at=begun)
    job = job._replace(started_at=started, finished_at=finished)
    assert bar == Axis(0.0, 10.0, 10).bar(job, 10.0)


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
