"""T6, T7 and T8: many processes at one ledger lose nothing and post a key once."""

from pathlib import Path

import pytest

from bgresp.ledger import journal
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.line import decode
from tests.proof.conftest import Bench, Figure
from tests.proof.warmed import Task, WarmedProcess

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

PROCESSES = 20
WORKERS = "tests.proof.workers"


def files(state: Path) -> list[Path]:
    """Return the journal's files."""
    return [*sorted((state / "sealed").glob("*.jsonl")), state / "ledger.jsonl"]


def test_appends(
    warmed: WarmedProcess, state: Path, tmp_path: Path, figure: Figure, full: bool
) -> None:
    """Twenty processes that append at once lose a record or tear a line."""
    each, sizes = (500, ["262144", "400000"]) if full else (250, ["65536", "150000"])
    tasks = [
        Task(
            [[f"{WORKERS}:append", str(state), str(worker), str(each), *sizes]],
            {},
            out=tmp_path / str(worker),
        )
        for worker in range(PROCESSES)
    ]
    ends = warmed.run(*tasks)
    said = "".join(path.read_text() for path in sorted(tmp_path.glob("*.err")))
    assert ({0}, "") == ({end.code for end in ends}, said)
    torn, names, keys = 0, set(), set()
    for path in files(state):
        assert path.read_bytes().endswith(b"\n") or not path.stat().st_size
        for line in journal.read(path):
            job = decode(line.raw).job
            torn += job is None
            if job is not None:
                names.add(job.name)
                keys.add(job.key)
    wanted = {f"{w}-{n}" for w in range(PROCESSES) for n in range(each)}
    ledger = Ledger(state)
    listed = list(ledger.newest())
    figure(
        f"T6: {PROCESSES} processes x {each} appends, {len(files(state))} files, "
        f"{max(e.seconds for e in ends):.0f} s: {len(keys)} records, {torn} torn, "
        f"{len(wanted - names)} lost"
    )
    assert (0, wanted, len(wanted)) == (torn, names, len(keys))
    assert sorted(keys, reverse=True) == [job.key for job in listed]
    assert [] == ledger.bad
    assert len(files(state)) > 1
    assert list((state / "index").glob("*.idx"))


def test_submits_readers_and_compaction(bench: Bench, figure: Figure) -> None:
    """A submit is lost, or a reader errs, while others submit and files shrink."""
    each, old, state = 10, 500, str(bench.state)
    outs = [bench.folder / f"out-{number}" for number in range(PROCESSES)]
    bench.warm()
    [filled] = bench.warmed.run(Task([[f"{WORKERS}:fill", state, str(old)]], {}))
    assert 0 == filled.code
    said, listed = bench.folder / "said", bench.folder / "listed"
    look = [["list", "--limit", "0", "-q"], ["status", "--local", "@last"]]
    read = [f"{WORKERS}:read", state, str(old), "8"]
    submits = [
        bench.task(*(["submit", "-t", f"{o.name} {n}"] for n in range(each)), out=o)
        for o in outs
    ]
    readers = [*[bench.task(*look * 5, out=listed)] * 2, *[Task([read], {}, said)] * 3]
    shrink = Task([[f"{WORKERS}:compact", state, "8"]], {}, said)
    ends = bench.warmed.run(*submits, *readers, shrink)
    ids = [line for out in outs for line in out.read_text().split()]
    known = {job.id for job in Ledger(bench.state).newest()}
    failed = sum(end.code != 0 for end in ends[PROCESSES:-1])
    figure(
        f"T7: {PROCESSES} processes x {each} submits, 5 readers, a compaction loop: "
        f"{len(set(ids) & known)} of {PROCESSES * each} ids in the ledger, "
        f"{failed} readers failed"
    )
    errors = [path.read_text() for path in (said, *bench.folder.glob("*.err"))]
    assert {0} == {end.code for end in ends}, errors
    assert PROCESSES * each == len(set(ids)) == bench.posts.total()
    assert set(ids) <= known
    assert old + len(ids) == len(known)


def test_one_key(bench: Bench, figure: Figure, full: bool) -> None:
    """Twenty processes under one --key post twice, or do not all print its id."""
    rounds, printed = 50 if full else 5, []
    bench.warm()
    for number in range(rounds):
        outs = [bench.folder / f"out-{number}-{n}" for n in range(PROCESSES)]
        argv = ["submit", "-t", f"round {number}", "--key", f"key {number}"]
        ends = bench.warmed.run(*(bench.task(argv, out=out) for out in outs))
        assert {0} == {end.code for end in ends}
        printed.append({out.read_text() for out in outs})
    posts = bench.posts.total()
    figure(f"T8: {PROCESSES} processes, one --key, {rounds} rounds: {posts} POSTs")
    assert rounds == posts
    assert {1} == {len(said) for said in printed}
    assert rounds == len(set.union(*printed))
