"""Of a job that was forgotten nothing comes back, whoever still follows it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bgresp.core.model import Job, Status
from bgresp.core.signals import Fault, FaultKind
from bgresp.engine.books import Books
from tests.cli.books import picture
from tests.endpoint import dialect
from tests.scripted import snapshot

DONE = snapshot("completed", "Four.")


def followed(state: Path) -> tuple[Books, Job]:
    """Have a job that another process follows: it has read it, and noted its text."""
    books = Books.at(state)
    with books.ledger.submitting(Job("", submitted_at=books.now())) as job:
        books.answers.save_request(job.key, b"{}")
    return books, books.ledger.record(replace(job, id="resp_1", status=Status.QUEUED))


def of(state: Path, job: Job) -> list[str]:
    return [name for name in picture(state) if job.key in name]


@pytest.mark.parametrize("compacted", [False, True])
def test_an_answer_is_not_saved(state: Path, *, compacted: bool) -> None:
    """News of a forgotten job brings back an answer, a note or the job itself."""
    books, job = followed(state)
    watching, late = books.progress(job.key), books.progress(job.key)
    watching.note("Fo", 1)
    another = Books.at(state)
    another.answers.forget(job.key)
    another.ledger.forget(job)
    if compacted:
        another.ledger.compact()
    done = books.heard(job, DONE, dialect(), text="Four.")
    assert Status.COMPLETED is done.status
    for progress in (watching, late):
        progress.note("ur.", 2)
        progress.end(5)
    fault = Fault(FaultKind.GONE, "gone", http_status=404)
    news: list[Callable[[], Job]] = [
        lambda: books.unheard(job, fault),
        lambda: books.lost(job, fault),
        lambda: books.at_cursor(job, 7),
    ]
    for tell in news:
        tell()
    assert [] == of(state, job)
    assert [] == list(Books.at(state).ledger.newest())


def test_what_belongs_to_no_record_is_swept(state: Path) -> None:
    """A file of no job stays for ever, or one of a job, or of nobody's, is removed."""
    books, job = followed(state)
    books.heard(job, DONE, dialect())
    _, gone = followed(state)
    books.ledger.forget(gone)
    books.answers.save_response(gone.key, b"{}")
    books.answers.save_text(gone.key, "x")
    books.answers.notices(gone.key)
    books.answers.save_request(f"00{job.key[2:]}", b"{}")
    foreign = state / "responses" / "notes of mine.json"
    foreign.write_text("mine")
    assert 5 == books.ledger.sweep()
    assert [] == of(state, gone)
    assert 2 == len(of(state, job))
    assert foreign.exists()
    assert 0 == books.ledger.sweep()


def test_what_may_be_of_a_damaged_job_is_not_swept(state: Path) -> None:
    """The answer of a job whose line cannot be read goes with it."""
    books, job = followed(state)
    books.heard(job, DONE, dialect())
    followed(state)
    path = state / "ledger.jsonl"
    sound, damaged = (
        job.key.encode() + b'","status":',
        job.key.encode() + b'","statu_":',
    )
    path.write_bytes(path.read_bytes().replace(sound, damaged))
    books.answers.save_response(f"00{job.key[2:]}", b"{}")
    for sweeps in (0, 1):
        assert sweeps == Books.at(state).ledger.sweep()
        assert 2 == len(of(state, job))
        Books.at(state).ledger.set_aside()
