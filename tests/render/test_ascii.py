"""A terminal that has no signs but those of ASCII still sees bars and cuts."""

from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.model import Job, Status
from bgresp.render.charts import Timeline
from bgresp.render.columns import Look, Times
from tests.render.jobs import screen


def drawn(name: str, *, unicode: bool) -> str:
    """Draw a job that waited for ten seconds and ran for thirty."""
    target, out = screen(60)
    target.unicode = unicode
    job = Job(
        key="K" * 26,
        name=name,
        status=Status.COMPLETED,
        submitted_at=0.0,
        started_at=10.0,
        finished_at=40.0,
    )
    look = Look(40.0, Times.RELATIVE, terminal=True)
    Timeline(target, look).show([job])
    return out.getvalue().decode("utf-8")


def test_bars_in_ascii() -> None:
    """A timeline without unicode is full of replacement signs."""
    text = drawn("nightly", unicode=False)
    assert text.isascii()
    assert ".#" in text
    assert "░█" in drawn("nightly", unicode=True)


@given(st.text(max_size=80))
def test_a_line_keeps_its_length(line: str) -> None:
    """A sign of ASCII takes more cells, or fewer, than what it stands for."""
    bars = "".join(char if char in "░█▶…▉▌▏▕" else "x" for char in line)
    target, out = screen(60)
    target.unicode = False
    target.draw(f"{bars}|")
    assert len(bars) + 2 == len(out.getvalue())
