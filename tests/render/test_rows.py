"""Jobs as rows and drawings: whole ids everywhere, and what fits."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from bgresp.core.model import RECORD_FIELDS, Job, Status
from bgresp.core.stats import WAYS, grouping, stats_of
from bgresp.core.text import one_line
from bgresp.core.times import rfc3339
from bgresp.render.charts import BarChart, Timeline
from bgresp.render.columns import COLUMNS, FIELDS, TIMELINE, WIDE, Look, Times, record
from bgresp.render.streams import Streams
from bgresp.render.table import CUTS, Table, cut, flowed
from tests.anyjob import JOBS as ANY_JOB
from tests.golden import Golden
from tests.render.jobs import JOBS, NOW, screen

WIDTHS = st.integers(2, 100)
Show = Callable[[Streams, Look], None]


def day(moment: float) -> str:
    return str(rfc3339(moment))[:10]


SHOWN: dict[str, Show] = {
    "table": lambda streams, look: Table(streams, look).show(JOBS),
    "wide": lambda streams, look: Table(streams, look, WIDE, CUTS).show(JOBS),
    "fields": lambda streams, look: Table(
        streams, look, ("status", "submitted_at", "usage", "reason"), ()
    ).show(JOBS),
    "timeline": lambda streams, look: Timeline(streams, look).show(list(JOBS)),
    **{
        f"stats-{by}": lambda streams, _, by=by: BarChart(streams, by).show(  # type: ignore[misc]
            stats_of(JOBS, grouping(by, day), by)
        )
        for by in WAYS
    },
}


@pytest.mark.parametrize("what", SHOWN)
def test_on_a_terminal(golden: Golden, what: str) -> None:
    """At 40, 80 and 200 columns each text is the one that was looked at."""
    pages = []
    for width in (40, 80, 200):
        streams, out = screen(width)
        SHOWN[what](streams, Look(NOW, terminal=True))
        pages.append(f"== {width} columns\n{out.getvalue().decode()}")
    golden(f"rows/{what}", "\n".join(pages))


def test_a_timeline_tells_noticed_ends() -> None:
    """A bar says how long a job took though its end was only noticed."""
    ended = Job("k", Status.COMPLETED, submitted_at=NOW - 60, finished_at=NOW - 30)
    streams, out = screen(80)
    jobs = [ended._replace(noticed=True), ended]
    Timeline(streams, Look(NOW, terminal=True)).show(jobs)
    _, noticed, told, _ = out.getvalue().decode().splitlines()
    assert (" ≤ 30s", "  30s") == (noticed[-6:], told[-5:])


@pytest.mark.parametrize("times", [None, *Times])
@pytest.mark.parametrize("columns", [WIDE, TIMELINE], ids=["wide", "timeline"])
def test_in_a_pipe(
    golden: Golden,
    monkeypatch: pytest.MonkeyPatch,
    columns: tuple[str, ...],
    times: Times | None,
) -> None:
    """Tab-separated, whole, and dated in UTC unless --time says otherwise."""
    streams, out = screen(40, terminal=False)
    Table(streams, Look(NOW, times), columns).show(JOBS)
    if times is not Times.LOCAL:  # the zone is the machine's
        name = "wide" if columns is WIDE else "timeline"
        golden(f"rows/pipe-{name}-{times or 'auto'}", out.getvalue().decode())
    for line, job in zip(out.getvalue().decode().splitlines(), JOBS, strict=True):
        assert len(columns) == len(line.split("\t"))
        assert job.ref == line.split("\t")[0]


@given(st.lists(ANY_JOB, max_size=8), st.integers(1, 250))
def test_an_id_is_never_cut(jobs: list[Job], width: int) -> None:
    """However narrow the terminal, each id stands there whole, its status beside it."""
    streams, out = screen(width)
    Table(streams, Look(NOW, terminal=True)).show(jobs)
    text = out.getvalue().decode()
    for job in jobs:
        cell = COLUMNS["id"].cell(job, Look(NOW))
        assert cell in text
        assert job.status.value in text


@given(st.lists(ANY_JOB, max_size=8), st.sampled_from((40, 80, 200)))
def test_a_table_fits(jobs: list[Job], width: int) -> None:
    """No line is wider than the terminal, but for a word of it that is."""
    streams, out = screen(width)
    look = Look(NOW, terminal=True)
    Table(streams, look).show(jobs)
    Table(streams, look, WIDE, CUTS).show(jobs)
    Table(streams, look, ("labels", "id", "usage", "reason"), ()).show(jobs)
    Timeline(streams, look).show(jobs)
    for line in out.getvalue().decode().splitlines():
        refs = {COLUMNS["id"].cell(job, Look(NOW)) for job in jobs}
        assert cell_len(line) <= width or line in refs or _overflows(line, width)


def _overflows(line: str, width: int) -> bool:
    return any(cell_len(word) > width - 2 for word in line.split())


def test_a_long_name_takes_no_column_away() -> None:
    """One name is cut, at its end, before any row loses a column; a pipe has it whole.

    A name is shorter than 24 cells only where the table would else lose its age.
    """
    jobs = [JOBS[4]._replace(name="short"), JOBS[4]._replace(name="n" * 200)]
    short, long = screen(114), screen(114)
    for (streams, _), shown in ((short, jobs[:1]), (long, jobs)):
        Table(streams, Look(NOW, terminal=True)).show(shown)
    heads = [
        out.getvalue().decode().splitlines()[0].split() for _, out in (short, long)
    ]
    assert heads[0] == heads[1]
    assert "n" * 7 + "…" in long[1].getvalue().decode()
    streams, out = screen(40, terminal=False)
    Table(streams, Look(NOW)).show(jobs)
    assert "n" * 200 in out.getvalue().decode()


@given(st.text(min_size=1, max_size=40), st.lists(st.text(max_size=50)), WIDTHS)
def test_what_is_folded_stays_whole(first: str, others: list[str], width: int) -> None:
    """Folded fields fit the width, but for long words, and lose only white space."""
    fields = [one_line(field) for field in (first, *others)]
    lines = flowed(fields, width)
    assert all(cell_len(x) <= width or _overflows(x, width) for x in lines)
    assert "".join("".join(fields).split()) == "".join("".join(lines).split())


@given(st.text(min_size=1, max_size=40), st.integers(2, 30))
def test_a_cut_text_is_as_wide_as_it_may_be(text: str, width: int) -> None:
    """A text that is cut says so, and takes no cell more than it was given."""
    found = cut(text, width)
    assert cell_len(found) <= width or found == text
    assert (found == text) or found.endswith("…")


@given(ANY_JOB)
def test_fields_are_the_same_for_json_and_rows(job: Job) -> None:
    """Each field can be asked for as JSON and as a column, and keeps its order."""
    found = record(job, FIELDS, text="x")
    assert list(FIELDS) == list(found)
    assert {name: job.to_record()[name] for name in RECORD_FIELDS} == {
        name: found[name] for name in RECORD_FIELDS
    }
    streams, _ = screen(80, terminal=False)
    cells = Table(streams, Look(NOW), FIELDS).cells(job)
    assert len(FIELDS) == len(cells)
    assert not any("\t" in cell or "\n" in cell for cell in cells)
