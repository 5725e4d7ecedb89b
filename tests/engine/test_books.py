"""What was heard is written down so that a later word never takes text away."""

from pathlib import Path

import pytest

from bgresp.core.model import Status
from tests.endpoint import dialect
from tests.scripted import books_at, job, snapshot

LONG, SHORT = "the whole answer", "the whole"


@pytest.mark.parametrize("word", ["completed", "incomplete"])
def test_a_shorter_answer_never_replaces_a_longer_one(state: Path, word: str) -> None:
    """A final answer with less text than the saved one takes text away (promise 5)."""
    books, spoken = books_at(state), dialect()
    first = snapshot(word, LONG)
    told = books.heard(job(), first, spoken)
    told = books.heard(told, snapshot("completed", SHORT), spoken)
    assert (LONG, first.raw) == (
        books.text(told.key, spoken),
        books.answers.response(told.key),
    )
    assert Status.COMPLETED is told.status


def test_a_longer_answer_replaces_a_shorter_one(state: Path) -> None:
    """The first answer stays though a fuller one, or a newer one as long, was told."""
    books, spoken = books_at(state), dialect()
    told = books.heard(job(), snapshot("incomplete", SHORT), spoken)
    told = books.heard(told, snapshot("completed", LONG), spoken)
    assert LONG == books.text(told.key, spoken)
    again = snapshot("completed", LONG, model="named-later")
    books.heard(told, again, spoken)
    assert again.raw == books.answers.response(told.key)


def test_streamed_text_is_not_replaced_by_an_answer_without_any(state: Path) -> None:
    """An object that carries no text takes away what the events told."""
    books, spoken = books_at(state), dialect()
    told = books.heard(job(), snapshot("completed"), spoken, text=LONG)
    assert LONG == books.text(told.key, spoken)
    books.heard(told, snapshot("completed"), spoken)
    books.heard(told, snapshot("completed", SHORT), spoken)
    assert LONG == books.text(told.key, spoken)
