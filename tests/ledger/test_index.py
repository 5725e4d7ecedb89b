"""The read side answers as a fold of the whole journal would, whatever was derived."""

import random
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgresp.core.model import Job, Status
from bgresp.core.selection import Selector
from bgresp.core.update import merge
from bgresp.ledger import journal
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.line import decode

NAMES = ("nightly", "weekly", "a b", "ü%20", "-" * 80)
GROUPS = ("night", "day")
OUTCOMES = (Status.UNKNOWN, Status.REJECTED, Status.IN_PROGRESS)


def folded(state: Path) -> dict[str, Job]:
    """Fold the files from end to end: the reference."""
    every = everything(state).items()
    return {key: job for key, job in every if "forgotten" not in job.extra}


def everything(state: Path) -> dict[str, Job]:
    """Fold the files from end to end, what was forgotten included."""
    jobs: dict[str, Job] = {}
    paths = [*sorted((state / "sealed").glob("*.jsonl")), state / "ledger.jsonl"]
    for path in paths:
        for line in journal.read(path):
            job = decode(line.raw).job
            if job is not None:
                old = jobs.get(job.key)
                jobs[job.key] = merge(old, job) if old else job
    return jobs


def filled(state: Path, seed: int, steps: int, **sizes: Any) -> Ledger:
    """Write a random history: submits, news, forgetting, a second writer."""
    rng = random.Random(seed)
    ledgers = [Ledger(state, **sizes), Ledger(state, **sizes)]
    keys: list[str] = []
    for step in range(steps):
        ledger = rng.choice(ledgers)
        if not keys or rng.random() < 0.4:
            draft = Job(
                key="",
                name=rng.choice([*NAMES, None]),
                group=rng.choice([*GROUPS, None]),
                row=rng.choice(["1", "2", None]),
                submit_key=rng.choice(["k1", "k2", None]),
                submitted_at=float(step),
            )
            with ledger.submitting(draft) as job:
                keys.append(job.key)
            continue
        known = ledger.by_key(rng.choice(keys))
        if known is None:
            continue
        if rng.random() < 0.05:
            ledger.forget(known)
        else:
            status = rng.choice([*OUTCOMES, Status.QUEUED, Status.COMPLETED])
            id_ = known.id
            if status not in {Status.UNKNOWN, Status.REJECTED}:
                made = f"resp_{rng.randrange(16**12):012x}{rng.choice('/é x')}"
                id_ = known.id or made
            ledger.record(known._replace(id=id_, status=status))
    return ledgers[0]


def agrees(ledger: Ledger, state: Path) -> None:
    """Compare every look-up with the fold."""
    truth = folded(state)
    newest = sorted(truth.values(), key=lambda job: job.key, reverse=True)
    assert newest == list(ledger.newest())
    assert [j for j in newest if j.status.is_open] == list(ledger.open_jobs())
    unsettled = [j for j in newest if j.status in {Status.SUBMITTING, Status.UNKNOWN}]
    assert unsettled == list(ledger.unsettled())
    for job in newest:
        assert job == ledger.by_key(job.key)
        if job.id is not None:
            assert job == ledger.by_id(job.id)
            bare = job.id.removeprefix("resp_")[:10]
            found = [j for j in newest if j.id and j.id.startswith(f"resp_{bare}")]
            assert found == ledger.by_prefix(bare, limit=9)
            assert found == ledger.by_prefix(f"resp_{bare}", limit=9)
    for name in NAMES:
        first = next((j for j in newest if j.name == name), None)
        assert first == ledger.by_name(name)
    for group in GROUPS:
        wanted = [j for j in newest if j.group == group]
        assert wanted == list(ledger.select(Selector(group=group)))
        rows = [
            j for j in everything(state).values() if (j.group, j.row) == (group, "1")
        ]
        assert holding(rows) == ledger.by_row(group, "1")
    for submit_key in ("k1", "k2"):
        some = [j for j in everything(state).values() if j.submit_key == submit_key]
        assert holding(some) == ledger.by_submit_key(submit_key)


def holding(jobs: list[Job]) -> Job | None:
    """Return which of several submissions holds: accepted, unknown, rejected; newest."""

    def worth(job: Job) -> tuple[int, str]:
        open_ = job.status in {Status.SUBMITTING, Status.UNKNOWN}
        return (2 if job.id is not None else int(open_), job.key)

    return max(jobs, key=worth, default=None)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(300, 3000), st.integers(2000, 20000))
def test_every_look_up_is_the_folds(seed: int, run_bytes: int, seal_bytes: int) -> None:
    """A look-up through runs, checkpoint and seals differs from folding the files."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        ledger = filled(state, seed, 80, run_bytes=run_bytes, seal_bytes=seal_bytes)
        agrees(ledger, state)
        agrees(Ledger(state, run_bytes=run_bytes), state)


@pytest.fixture(name="history")
def _history(tmp_path: Path) -> tuple[Path, Ledger]:
    return tmp_path, filled(tmp_path, 7, 300, run_bytes=2000, seal_bytes=15000)


def test_what_is_derived_may_vanish(history: tuple[Path, Ledger]) -> None:
    """A ledger whose index was deleted answers otherwise than before."""
    state, _ = history
    assert list((state / "sealed").glob("*.jsonl"))
    shutil.rmtree(state / "index")
    agrees(Ledger(state), state)


def test_nothing_derived_can_be_written(history: tuple[Path, Ledger]) -> None:
    """Where no index can be written a sealed segment is not read, or read wrongly."""
    state, _ = history
    shutil.rmtree(state / "index")
    (state / "index").touch()  # in the way of the folder, also for root
    ledger = Ledger(state, run_bytes=2000, seal_bytes=15000)
    agrees(ledger, state)
    assert not ledger.is_indexed
    for job in [*islice(ledger.newest(), 50)]:
        ledger.record(job._replace(last_error="x" * 500))
    assert 3 <= len(list((state / "sealed").glob("*.jsonl")))
    agrees(ledger, state)
    agrees(Ledger(state), state)
    (state / "index").unlink()
    agrees(Ledger(state), state)


def test_what_is_derived_may_be_of_another_ledger(tmp_path: Path) -> None:
    """A key is missed where the index is another ledger's, with the same places."""
    for name in "ab":
        ledger = Ledger(tmp_path / name, run_bytes=1)
        for number in range(9):
            key, id_ = f"01K{number:023}", f"resp_{name}{number}"
            one = Job(key, Status.QUEUED, id_, submit_key=f"{name}{number}")
            ledger.record(one)
    ours, theirs = (tmp_path / name / "index" for name in "ab")
    runs = {path.name for path in ours.glob("*.idx")}
    assert runs
    assert runs == {path.name for path in theirs.glob("*.idx")}
    shutil.rmtree(ours)
    shutil.copytree(theirs, ours)
    found = Ledger(tmp_path / "a", run_bytes=1).by_submit_key("a0")
    assert found is not None
    assert "resp_a0" == found.id
    agrees(Ledger(tmp_path / "a"), tmp_path / "a")


def test_what_is_derived_may_be_torn(history: tuple[Path, Ledger]) -> None:
    """A torn or foreign index file changes an answer."""
    state, _ = history
    rng = random.Random(1)
    for path in sorted((state / "index").iterdir()):
        raw = path.read_bytes()
        match rng.randrange(3):
            case 0:
                path.write_bytes(raw[: rng.randrange(len(raw))])
            case 1:
                path.write_bytes(b"")
            case _:
                at = raw.rfind(b"\n", 0, -1) + 1
                path.write_bytes(raw[:at] + b"~{}\n")
    agrees(Ledger(state), state)


def test_compaction_loses_nothing(history: tuple[Path, Ledger]) -> None:
    """A compaction changes what the ledger says, or saves nothing."""
    state, ledger = history
    before = list(ledger.newest())
    assert ledger.compact() > 0
    assert before == list(ledger.newest()) == list(Ledger(state).newest())
    agrees(Ledger(state), state)
    assert ledger.compact() == 0


def test_compaction_keeps_strange_lines(tmp_path: Path) -> None:
    """A line that cannot be read, or of an unknown kind, is lost by compacting."""
    ledger = filled(tmp_path, 3, 60)
    path = tmp_path / "ledger.jsonl"
    strange = [b"not json at all", b'{"v":1,"kind":"later","x":1}', b"\x00" * 40]
    with path.open("ab") as file:
        file.write(b"\n".join(strange) + b"\n")
    Ledger(tmp_path).compact()
    lines = path.read_bytes().split(b"\n")
    assert all(line in lines for line in strange)
    assert len(ledger.bad) == 0
    fresh = Ledger(tmp_path)
    list(fresh.newest())
    assert 2 == len(fresh.bad)
