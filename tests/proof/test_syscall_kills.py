"""T3: kill -9 at every system call that writes, of every command that does."""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from bgresp.core.model import Job, Status
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.saved import Answers
from tests.cli.ledger import ident, key, seed
from tests.command import command
from tests.proof import tracing
from tests.proof.conftest import Bench, Figure

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

COMPACT = (
    "import sys; from pathlib import Path; from bgresp.ledger.ledger import Ledger;"
    "Ledger(Path(sys.argv[1])).compact()"
)


SAMPLE = 12


@dataclass(frozen=True, slots=True)
class Point:
    """One place to be killed at, and the state folder that it happens in."""

    call: str
    nth: int
    state: Path

    @property
    def name(self) -> str:
        """Return a name that no other point has: also its prompt and key."""
        return f"{self.call}-{self.nth}"


@dataclass(frozen=True, slots=True)
class Target:
    """A command to be killed everywhere, from one starting point."""

    bench: Bench
    template: Path
    argv: Callable[[Point], list[str]]

    def points(self) -> list[Point]:
        """Run the command once whole; return every point it can be killed at."""
        point = Point("whole", 0, self._state("whole"))
        log = self.bench.folder / "calls"
        counts = tracing.counted(self.argv(point), self._env(point), log)
        return list(self._points(counts))

    def kill(self, points: list[Point]) -> int:
        """Kill the command at every point; return how often it was really killed."""
        with ThreadPoolExecutor(2) as pool:
            return sum(code != 0 for code in pool.map(self._kill, points))

    def again(self, point: Point, *argvs: list[str]) -> list[tuple[int, str, bytes]]:
        """Run commands in the killed one's state: exit code, stdout, journal then."""
        found = []
        for number, argv in enumerate(argvs):
            out = point.state.parent / f"{point.name}-{number}.out"
            task = replace(self.bench.task(argv, out=out), env=self._env(point))
            [end] = self.bench.warmed.run(task)
            journal = (point.state / "ledger.jsonl").read_bytes()
            found.append((end.code, out.read_text(), journal))
        return found

    def _points(self, counts: Counter[str]) -> Iterator[Point]:
        for call, count in counts.items():
            for nth in range(1, count + 1):
                yield Point(call, nth, self._state(f"{call}-{nth}"))

    def _kill(self, point: Point) -> int:
        return tracing.killed(self.argv(point), self._env(point), point.call, point.nth)

    def _env(self, point: Point) -> dict[str, str]:
        return {**self.bench.env, "BGRESP_STATE_DIR": str(point.state)}

    def _state(self, name: str) -> Path:
        state = self.bench.folder / "points" / name
        shutil.copytree(self.template, state)
        return state


@pytest.fixture(name="used")
def _used(bench: Bench) -> Path:
    """Make a ledger with sealed segments, an index, and lines that no longer hold."""
    tracing.require()
    bench.warm()
    state = bench.folder / "used"
    ledger = Ledger(state, run_bytes=1000, seal_bytes=4000)
    for number in range(20):
        draft = Job(key="", submit_key=f"old-{number}", submitted_at=1.0)
        with ledger.submitting(draft) as job:
            pass
        taken = ledger.record(job._replace(id=f"resp_o{number}", status=Status.QUEUED))
        ledger.record(taken._replace(status=Status.COMPLETED))
    ledger.forget(taken)
    return state


def _jobs(state: Path) -> list[Job]:
    return list(Ledger(state).newest())


@pytest.mark.parametrize("fresh", [False, True])
def test_submit(bench: Bench, used: Path, figure: Figure, fresh: bool) -> None:
    """A submit killed at some call leaves an accepted job unknown, or posts again."""
    if fresh:
        used = bench.folder / "empty"
        used.mkdir()

    def argv(point: Point) -> list[str]:
        return command("submit", "-t", point.name, "--key", point.name)

    target = Target(bench, used, argv)
    points = target.points()
    before = _jobs(used)
    killed = target.kill(points)
    for point in points:
        assert not bench.posts[point.name] or Ledger(point.state).by_submit_key(
            point.name
        )
        assert {job.key for job in before} <= {job.key for job in _jobs(point.state)}
        rerun = argv(point)[3:]
        first, second = target.again(point, rerun, rerun)
        assert first == second, point
        assert first[0] in {0, 7}
        assert first[0] == 7 or bench.posts[point.name] == 1
        assert [] == Ledger(point.state).bad
    lost = bench.unrecorded(*(p.state for p in points), bench.folder / "points/whole")
    figure(
        f"T3 submit{', the first one' * fresh}: killed at {killed} system calls of {len(points)}: {len(lost)} "
        f"accepted jobs without a record, {len(bench.doubled)} double POSTs, two "
        "recoveries in a row alike"
    )
    assert ([], []) == (lost, bench.doubled)
    assert killed > len(points) // 2


def test_compaction(bench: Bench, used: Path, figure: Figure) -> None:
    """A compaction killed at some call loses a record, or brings one back."""

    def argv(point: Point) -> list[str]:
        return [sys.executable, "-c", COMPACT, str(point.state)]

    target = Target(bench, used, argv)
    points = target.points()
    before = _jobs(used)
    assert len(before) == 19
    killed = target.kill(points)
    changed = [point.name for point in points if _jobs(point.state) != before]
    for point in points:
        first, second = target.again(point, ["list"], ["list"])
        assert first[1:] == second[1:]
        Ledger(point.state).compact()
        assert before == _jobs(point.state)
        assert 0 == Ledger(point.state).compact()
    figure(
        f"T3 compaction: killed at {killed} system calls of {len(points)}: "
        f"{len(changed)} changed what the ledger says"
    )
    assert [] == changed
    assert killed > len(points) // 2


def test_import(bench: Bench, used: Path, figure: Figure) -> None:
    """An import killed at some call leaves half a job, or a second one when repeated."""
    body = b'{"model": "m", "input": "elsewhere", "background": true}'
    url = f"{bench.server.base_url}/responses"
    with urlopen(Request(url, body, method="POST")) as reply:  # noqa: S310  ours
        assert 200 == reply.status
    ident = next(iter(bench.server.jobs.keys() - {"resp_" + "1".zfill(32)}))

    def argv(_: Point) -> list[str]:
        return command("import", ident, "-q")

    target = Target(bench, used, argv)
    points = target.points()
    killed = target.kill(points)
    for point in points:
        rerun = argv(point)[3:]
        first, second = target.again(point, rerun, rerun)
        assert first == second
        assert (0, f"{ident}\n") == first[:2]
        assert [ident] == [j.id for j in _jobs(point.state) if j.id == ident]
        assert 20 == len(_jobs(point.state))
    figure(
        f"T3 import: killed at {killed} system calls of {len(points)}: one job after "
        "each, two repetitions alike"
    )
    assert killed > len(points) // 2


def test_import_from(bench: Bench, used: Path, figure: Figure, *, full: bool) -> None:
    """A merge of another ledger that was killed leaves it half, or differs repeated."""
    other = bench.folder / "other"
    ledger = Ledger(other)
    for number in range(5):
        with ledger.submitting(Job(key="", submit_key=f"theirs-{number}")) as job:
            ledger.record(job._replace(id=f"resp_t{number}", status=Status.QUEUED))
    exported = bench.folder / "other.jsonl"
    lines = [json.dumps(job.to_record()) for job in _jobs(other)]
    exported.write_text("\n".join(lines) + "\n")
    before = _jobs(used)

    def argv(_: Point) -> list[str]:
        return command("import", "--from", str(exported))

    target = Target(bench, used, argv)
    points = _some(target.points(), full=full)
    killed = target.kill(points)
    for point in points:
        assert before == [job for job in _jobs(point.state) if job in before]
        rerun = argv(point)[3:]
        first, second = target.again(point, rerun, rerun)
        assert (0, 0) == (first[0], second[0])
        assert first[2] == second[2]
        after = Ledger(point.state)
        assert {job.key for job in [*before, *_jobs(other)]} == {
            job.key for job in after.newest()
        }
        assert [f"resp_t{n}" for n in range(5)] == [
            _id(after, f"theirs-{n}") for n in range(5)
        ]
        assert [] == after.bad
    figure(
        f"T3 import --from: killed at {killed} system calls of {len(points)}: every job "
        "once after each, no repetition changes anything"
    )
    assert killed > len(points) // 2


def _some(points: list[Point], *, full: bool) -> list[Point]:
    """Return every point, or some of them that lie evenly: each costs half a second."""
    return points if full else points[:: max(len(points) // SAMPLE, 1)]


@pytest.mark.parametrize("verb", ["prune", "forget"])
def test_dropping(
    bench: Bench, used: Path, figure: Figure, verb: str, *, full: bool
) -> None:
    """Jobs that are dropped are there by half after a kill, or lose their key's id."""
    for job in _jobs(used):
        Answers(used).save_response(job.key, b"{}")
    before, ids = _jobs(used), [f"resp_o{number}" for number in range(20)]
    words = {
        "prune": ("--older", "0s", "--force"),
        "forget": ("--force", *(str(job.id) for job in before[:3])),
    }

    def argv(_: Point) -> list[str]:
        return command(verb, *words[verb])

    target = Target(bench, used, argv)
    points = _some(target.points(), full=full)
    killed = target.kill(points)
    goes = before if verb == "prune" else before[:3]
    for point in points:
        left = _jobs(point.state)
        assert [job for job in before if job in left] == left
        assert not [job for job in before if job not in goes and job not in left]
        again = [verb, *words[verb]] if verb == "prune" else _forget(left, goes)
        first, second = target.again(point, again, ["list", "--all", "-q"])
        assert (0, 0) == (first[0], second[0])
        ledger = Ledger(point.state)
        assert ids == [_id(ledger, f"old-{number}") for number in range(20)]
        assert len(before) - len(goes) == len(_jobs(point.state))
        gone = {job.key for job in goes}
        assert not [p for p in point.state.rglob("*.json") if p.stem in gone]
        assert [] == ledger.bad
        ledger.check_whole()
    figure(
        f"T3 {verb}: killed at {killed} system calls of {len(points)}: no job was there "
        "by half, no key lost its id"
    )
    assert killed > len(points) // 2


def _forget(left: list[Job], goes: list[Job]) -> list[str]:
    """Return the command that finishes what a killed `forget` began."""
    rest = [str(job.id) for job in left if job in goes]
    return ["forget", "--force", *rest] if rest else ["list"]


def _id(ledger: Ledger, submit_key: str) -> str | None:
    found = ledger.by_submit_key(submit_key)
    return None if found is None else found.id


def test_retry(bench: Bench, state: Path, figure: Figure, *, full: bool) -> None:
    """A retry that was killed is sent again, or leaves an accepted job unknown."""
    tracing.require()
    bench.warm()
    seed(state, {"status": "failed"}, server=bench.server)
    body = b'{"model": "m", "input": "again", "background": true, "store": true}'
    (state / "requests" / f"{key(1)}.json").write_bytes(body)

    def argv(_: Point) -> list[str]:
        return command("retry", "--failed", "--all")

    target = Target(bench, state, argv)
    points = _some(target.points(), full=full)
    killed, most = 0, 0
    for point in points:
        before = bench.posts["again"]
        killed += target.kill([point])
        rerun = argv(point)[3:]
        first, second = target.again(point, rerun, rerun)
        assert first[0] in {0, 3, 7}
        most = max(most, bench.posts["again"] - before)
        assert bench.posts["again"] - before <= 1, (point, second)
        assert [] == Ledger(point.state).bad
    lost = bench.unrecorded(*(p.state for p in points), bench.folder / "points/whole")
    figure(
        f"T3 retry: killed at {killed} system calls of {len(points)}: {len(lost)} "
        f"accepted jobs without a record, {most} POST at most"
    )
    assert ([], 1) == (lost, most)
    assert killed > len(points) // 2


def test_sync(bench: Bench, state: Path, figure: Figure, *, full: bool) -> None:
    """A sync that was killed loses an answer, or says an end that it has not saved."""
    tracing.require()
    bench.warm()
    url = f"{bench.server.base_url}/responses"
    body = b'{"model": "m", "input": "x", "background": true}'
    for _ in range(3):
        with urlopen(Request(url, body, method="POST")) as reply:  # noqa: S310  ours
            assert 200 == reply.status
    ids = [i for i in bench.server.jobs if i != ident(1)]
    seed(state, *({"id": id_} for id_ in ids), server=bench.server)

    def argv(_: Point) -> list[str]:
        return command("sync")

    target = Target(bench, state, argv)
    points = _some(target.points(), full=full)
    killed = target.kill(points)
    for point in points:
        answers = Answers(point.state)
        for job in _jobs(point.state):
            saved = answers.response(job.key)
            assert (saved is not None) >= (job.status is Status.COMPLETED)
        ends = target.again(point, ["sync"], ["sync"], ["sync"])
        assert {0} == {end[0] for end in ends}
        jobs = _jobs(point.state)
        assert {(id_, Status.COMPLETED) for id_ in ids} == {
            (job.id, job.status) for job in jobs
        }
        assert all(answers.response(job.key) for job in jobs)
        assert [] == Ledger(point.state).bad
    figure(
        f"T3 sync: killed at {killed} system calls of {len(points)}: every answer is "
        "saved, and before its end is said"
    )
    assert killed > len(points) // 2
