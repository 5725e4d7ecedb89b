"""What was heard is written down so that a later word never takes text away."""

from pathlib import Path

import pytest

from bgresp.core.model import Status
from tests.endpoint import dialect
from tests.scripted import job, recorder_at, snapshot

LONG, SHORT = "the whole answer", "the whole"


@pytest.mark.parametrize("word", ["completed", "incomplete"])
def test_a_shorter_answer_never_replaces_a_longer_one(state: Path, word: str) -> None:
    """A final answer with less text than the saved one takes text away (promise 5)."""
    recorder, spoken = recorder_at(state), dialect()
    first = snapshot(word, LONG)
    told = recorder.heard(job(), first, spoken)
    told = recorder.heard(told, snapshot("completed", SHORT), spoken)
    assert (LONG, first.raw) == (
        recorder.answers.text(told.key, spoken),
        recorder.answers.response(told.key),
    )
    assert Status.COMPLETED is told.status


def test_a_longer_answer_replaces_a_shorter_one(state: Path) -> None:
    """The first answer stays though a fuller one, or a newer one as long, was told."""
    recorder, spoken = recorder_at(state), dialect()
    told = recorder.heard(job(), snapshot("incomplete", SHORT), spoken)
    told = recorder.heard(told, snapshot("completed", LONG), spoken)
    assert LONG == recorder.answers.text(told.key, spoken)
    again = snapshot("completed", LONG, model="named-later")
    recorder.heard(told, again, spoken)
    assert again.raw == recorder.answers.response(told.key)


def test_streamed_text_is_not_replaced_by_an_answer_without_any(state: Path) -> None:
    """An object that carries no text takes away what the events told."""
    recorder, spoken = recorder_at(state), dialect()
    told = recorder.heard(job(), snapshot("completed"), spoken, text=LONG)
    assert LONG == recorder.answers.text(told.key, spoken)
    recorder.heard(told, snapshot("completed"), spoken)
    recorder.heard(told, snapshot("completed", SHORT), spoken)
    assert LONG == recorder.answers.text(told.key, spoken)
