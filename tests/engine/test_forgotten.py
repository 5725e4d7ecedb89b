"""Of a job that was forgotten nothing comes back, whoever still follows it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bgresp.core.model import Job, Status
from bgresp.core.signals import Fault, FaultKind
from bgresp.engine.cancel import Dropping
from bgresp.engine.recorder import Recorder
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.saved import Answers
from tests.cli.ledger import picture
from tests.endpoint import dialect
from tests.scripted import snapshot

DONE = snapshot("completed", "Four.")


def followed(state: Path) -> tuple[Recorder, Job]:
    """Have a job that another process follows: it has read it, and noted its text."""
    recorder = Recorder.at(state)
    with recorder.ledger.submitting(Job("", submitted_at=recorder.now())) as job:
        recorder.answers.save_request(job.key, b"{}")
    return recorder, recorder.ledger.record(
        job._replace(id="resp_1", status=Status.QUEUED)
    )


def of(state: Path, job: Job) -> list[str]:
    return [name for name in picture(state) if job.key in name]


class Late(Ledger):
    """A ledger in which another process saves an answer before a job's line is gone."""

    def forget(self, job: Job) -> None:
        """Forget a job, a moment too late."""
        Answers(self.state).save_response(job.key, b"{}")
        super().forget(job)


def test_an_answer_that_is_saved_while_a_job_is_dropped_goes_too(state: Path) -> None:
    """Whoever saved an answer between the files and the line leaves it for ever."""
    recorder, job = followed(state)
    late = Recorder(Late(state), recorder.answers)
    assert 0 == Dropping(late, print, lambda _, error: error.code).here([job])
    assert [] == of(state, job)


@pytest.mark.parametrize("compacted", [False, True])
def test_an_answer_is_not_saved(state: Path, *, compacted: bool) -> None:
    """News of a forgotten job brings back an answer, a note or the job itself."""
    recorder, job = followed(state)
    watching, late = recorder.progress(job.key), recorder.progress(job.key)
    watching.note("Fo", 1)
    another = Recorder.at(state)
    another.answers.forget(job.key)
    another.ledger.forget(job)
    if compacted:
        another.ledger.compact()
    done = recorder.heard(job, DONE, dialect(), text="Four.")
    assert Status.COMPLETED is done.status
    for progress in (watching, late):
        progress.note("ur.", 2)
        progress.end(5)
    fault = Fault(FaultKind.GONE, "gone", http_status=404)
    news: list[Callable[[], Job]] = [
        lambda: recorder.unheard(job, fault),
        lambda: recorder.lost(job, fault),
        lambda: recorder.at_cursor(job, 7),
    ]
    for tell in news:
        tell()
    assert [] == of(state, job)
    assert [] == list(Recorder.at(state).ledger.newest())


def test_what_belongs_to_no_record_is_swept(state: Path) -> None:
    """A file of no job stays for ever, or one of a job, or of nobody's, is removed."""
    recorder, job = followed(state)
    recorder.heard(job, DONE, dialect())
    _, gone = followed(state)
    recorder.ledger.forget(gone)
    recorder.answers.save_response(gone.key, b"{}")
    recorder.answers.save_streamed_text(gone.key, "x")
    recorder.answers.notices(gone.key, "completed")
    recorder.answers.save_request(f"00{job.key[2:]}", b"{}")
    foreign = state / "responses" / "notes of mine.json"
    foreign.write_text("mine")
    assert 5 == recorder.ledger.sweep()
    assert [] == of(state, gone)
    assert 2 == len(of(state, job))
    assert foreign.exists()
    assert 0 == recorder.ledger.sweep()


def test_what_a_killed_process_began_is_swept(state: Path) -> None:
    """An answer half written by a process that was killed stays for ever."""
    recorder, _ = followed(state)
    old, new = (state / "responses" / f".tmp-{n:016x}" for n in (1, 2))
    for path in (old, new):
        path.write_bytes(b"what was asked to be forgotten")
    long_ago = recorder.ledger.now() - 2 * 86_400
    os.utime(old, (long_ago, long_ago))
    with (state / "ledger.jsonl").open("ab") as file:
        file.write(b"a doubt\n")
    assert 1 == recorder.ledger.sweep()
    assert (False, True) == (old.exists(), new.exists())


def test_what_may_be_of_a_damaged_job_is_not_swept(state: Path) -> None:
    """The answer of a job whose line cannot be read goes with it."""
    recorder, job = followed(state)
    recorder.heard(job, DONE, dialect())
    followed(state)
    path = state / "ledger.jsonl"
    sound, damaged = (
        job.key.encode() + b'","status":',
        job.key.encode() + b'","statu_":',
    )
    path.write_bytes(path.read_bytes().replace(sound, damaged))
    recorder.answers.save_response(f"00{job.key[2:]}", b"{}")
    for sweeps in (0, 1):
        assert sweeps == Recorder.at(state).ledger.sweep()
        assert 2 == len(of(state, job))
        Recorder.at(state).ledger.set_aside()
