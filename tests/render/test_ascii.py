"""What signs a terminal has is told by its locale; bars and cuts need none."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.model import Job, Status
from bgresp.render.charts import Timeline
from bgresp.render.columns import Look, Times
from bgresp.render.streams import Streams, features
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


@pytest.mark.parametrize(
    ("environ", "unicode"),
    [
        ({}, True),
        ({"LANG": "C"}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),  # Python's own, by PEP 538
        ({"LANG": "POSIX", "LC_CTYPE": "C.UTF-8"}, False),
        ({"LANG": "de_DE", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LANG": "C", "LC_ALL": "en_US.utf8"}, True),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "C"}, False),
    ],
)
def test_the_locale_says_which_signs_there_are(
    environ: dict[str, str], unicode: bool
) -> None:
    """A terminal without UTF-8 is drawn on with signs that it does not have."""
    assert unicode is features({"TERM": "xterm", **environ}).unicode


def test_a_sign_whose_selector_comes_later_is_whole() -> None:
    """An emoji that a stream parted is escaped on a terminal."""
    out = io.BytesIO()
    target = Streams(out, None, out_is_terminal=True)
    for piece in ("a\u2764", "\ufe0f", "\ufe0f"):
        target.answer(piece)
    assert "a\u2764\ufe0f\\u{fe0f}" == out.getvalue().decode()


@pytest.mark.parametrize(("terminal", "json"), [(True, True), (False, False)])
def test_no_bell_rings_for_a_machine(terminal: bool, json: bool) -> None:
    """A control stands in lines that a program reads, or a log."""
    err = io.BytesIO()
    target = Streams(None, err, err_is_terminal=terminal)
    target.err_is_json = json
    target.ring()
    assert b"" == err.getvalue()
    target.err_is_json, target.err_is_terminal = False, True
    target.ring()
    assert b"\a" == err.getvalue()
