"""A job that was forgotten stays so, whatever is heard of it and however it is read."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bgresp.core.errors import LedgerError
from bgresp.core.model import Job, Status
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.upkeep import REMEMBERED

SMALL: dict[str, Any] = {"run_bytes": 1, "seal_bytes": 1}


def ledgers(state: Path) -> Iterator[Ledger]:
    """Open it as the next processes do: from its index, from its lines, compacted."""
    yield Ledger(state)
    for path in (state / "index").glob("*"):
        if path.is_file():
            path.unlink()
    yield Ledger(state)
    Ledger(state).compact()
    yield Ledger(state)


def submitted(ledger: Ledger, **fields: str) -> Job:
    with ledger.submitting(Job(key="", **fields)) as draft:  # type: ignore[arg-type]
        pass
    return ledger.record(draft._replace(id="resp_1", status=Status.IN_PROGRESS))


@pytest.mark.parametrize("sizes", [{}, SMALL], ids=["tail", "sealed"])
def test_news_does_not_revive_a_forgotten_job(
    state: Path, sizes: dict[str, Any]
) -> None:
    """A watcher that still runs brings a job back that a person dropped."""
    ledger = Ledger(state, **sizes)
    job = submitted(ledger, name="n")
    ledger.forget(job)
    size = ledger.path.stat().st_size
    for late in (ledger, Ledger(state, **sizes)):
        late.record(job._replace(status=Status.COMPLETED))
    assert size == ledger.path.stat().st_size
    for one in ledgers(state):
        assert [] == [*one.newest(), *one.open_jobs()]
        assert (None, None, None) == (
            *(one.by_key(job.key), one.by_id("resp_1"), one.by_name("n")),
        )


@pytest.mark.parametrize("sizes", [{}, SMALL], ids=["tail", "sealed"])
@pytest.mark.parametrize("stale", [Status.SUBMITTING, Status.IN_PROGRESS, Status.LOST])
def test_a_tombstone_holds_whatever_its_rank(
    state: Path, sizes: dict[str, Any], stale: Status
) -> None:
    """What is dropped by an old record of it is back with its answer's."""
    ledger = Ledger(state, **sizes)
    job = submitted(ledger, submit_key="k")
    ledger.record(job._replace(status=Status.COMPLETED))
    Ledger(state, **sizes).forget(job._replace(status=stale))
    for one in ledgers(state):
        assert [] == list(one.newest())
        assert one.by_key(job.key) is None
        kept = one.by_submit_key("k")
        assert kept is not None
        assert ("resp_1", True) == (kept.id, kept.is_forgotten)


@pytest.mark.parametrize("sizes", [{}, SMALL], ids=["tail", "sealed"])
def test_a_forgotten_row_is_known_with_its_request(
    state: Path, sizes: dict[str, Any]
) -> None:
    """A batch sends a forgotten row again, or takes another request for it."""
    ledger = Ledger(state, **sizes)
    job = submitted(ledger, group="g", row="1", request_sha256="d" * 64)
    ledger.forget(job)
    for one in ledgers(state):
        kept = one.by_row("g", "1")
        assert kept is not None
        assert ("resp_1", "d" * 64) == (kept.id, kept.request_sha256)
        assert one.by_row("another", "1") is None


@pytest.mark.parametrize("crash", [0, 1, 2, 3])
def test_a_compaction_that_dies_brings_no_job_back(
    state: Path, monkeypatch: pytest.MonkeyPatch, crash: int
) -> None:
    """A tombstone that is old enough goes before the lines that it stands for."""
    clock = [1.7e9]
    ledger = Ledger(state, now=lambda: clock[0], **SMALL)
    with ledger.submitting(Job(key="", name="n")) as draft:
        pass
    job = ledger.record(draft._replace(status=Status.REJECTED))
    ledger.forget(job)
    submitted(ledger)  # seals what stands before it
    clock[0] += 2 * REMEMBERED
    replaced, left = os.replace, [crash]

    def dies(*paths: Any, **more: Any) -> None:
        left[0] -= str(paths[1]).endswith(".jsonl")
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "full")
        replaced(*paths, **more)

    monkeypatch.setattr(os, "replace", dies)
    with suppress(LedgerError):
        Ledger(state, now=lambda: clock[0], **SMALL).compact()
    monkeypatch.undo()
    again = Ledger(state, now=lambda: clock[0], **SMALL)
    assert ["resp_1"] == [job.id for job in again.newest()]
    assert again.by_key(job.key) is None
