"""A line that cannot be read is a doubt about a job, never its absence."""

import os
import random
import re
import shutil
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgresp.core.errors import LedgerError
from bgresp.core.model import Job, Status
from bgresp.ledger import journal
from bgresp.ledger.ledger import Ledger

ENDS = (Status.QUEUED, Status.COMPLETED, Status.FAILED, Status.REJECTED, Status.UNKNOWN)
ACCEPTED = frozenset({Status.QUEUED, Status.COMPLETED, Status.FAILED})


def submitted(ledger: Ledger, number: int, end: Status) -> Job:
    """Submit a job under a key and as a row, to its end."""
    draft = Job(
        key="",
        submit_key=f"k{number}",
        group="night",
        row=f"r{number}",
        request_sha256=f"{number:064}",
        submitted_at=1.0,
    )
    with ledger.submitting(draft) as job:
        pass
    id_ = f"resp_{number:032}" if end in ACCEPTED else None
    return ledger.record(job._replace(id=id_, status=end))


JOBS: dict[bool, dict[str, Job]] = {}


@pytest.fixture(name="made", scope="module", autouse=True)
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make two folders: one is indexed and in part sealed, one has a tail alone."""
    folder = tmp_path_factory.mktemp("made")
    small = Ledger(folder / "True", run_bytes=1, seal_bytes=6000)
    for indexed, ledger in ((True, small), (False, Ledger(folder / "False"))):
        jobs = [submitted(ledger, number, ENDS[number % 5]) for number in range(15)]
        JOBS[indexed] = {str(job.submit_key): job for job in jobs}
    return folder


def filled(made: Path, state: Path, *, indexed: bool) -> dict[str, Job]:
    """Fill a folder; return its jobs by their submit key."""
    shutil.copytree(made / str(indexed), state, dirs_exist_ok=True)
    return JOBS[indexed]


def files(state: Path) -> list[Path]:
    paths = [*sorted((state / "sealed").glob("*")), state / "ledger.jsonl"]
    return [path for path in paths if path.exists()]


def changed(path: Path, at: int, byte: int) -> None:
    """Change a byte in place."""
    raw = bytearray(path.read_bytes())
    raw[at] = byte
    path.write_bytes(raw)


def is_believed_absent(ledger: Ledger, found: Job | None) -> bool:
    """Say whether one more would be sent."""
    if found is not None and found.status is not Status.REJECTED:
        return False
    try:
        ledger.check_whole()
    except LedgerError:
        return False
    return True


@settings(max_examples=40, deadline=None)
@given(st.booleans(), st.integers(0, 10**9))
def test_a_changed_byte_hides_no_submit(made: Path, indexed: bool, seed: int) -> None:
    """A byte that changed in any line lets a key, or a row, be sent once more."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        jobs = filled(made, Path(folder), indexed=indexed)
        for _ in range(rng.choice([1, 1, 5])):
            path = rng.choice(files(Path(folder)))
            changed(path, rng.randrange(path.stat().st_size), rng.choice(b'x"}{0\n '))
        ledger = Ledger(Path(folder), run_bytes=1 if indexed else 256 * 1024)
        for submit_key, job in jobs.items():
            if job.status is Status.REJECTED:
                continue
            for found in (
                ledger.by_submit_key(submit_key),
                ledger.by_row("night", str(job.row)),
            ):
                assert not is_believed_absent(ledger, found), (submit_key, found)
                if found is not None:
                    assert found.status in {job.status, *Status} - {Status.REJECTED}
        assert len(jobs) - 5 <= len(list(ledger.newest()))


@pytest.mark.parametrize("derived", ["kept", "gone"])
def test_lines_that_were_edited_in_place(
    made: Path, tmp_path: Path, derived: str
) -> None:
    """Rows whose lines a `sed` of equal length changed are sent again, in silence."""
    jobs = filled(made, tmp_path, indexed=True)
    for path in files(tmp_path):
        raw = re.sub(rb'"row":"r([3-6])"', rb'"row":"R\1"', path.read_bytes())
        path.write_bytes(raw)
    if derived == "gone":
        for path in (tmp_path / "index").iterdir():
            path.unlink()
    ledger = Ledger(tmp_path, run_bytes=1)
    known = []
    for job in (jobs[f"k{number}"] for number in (4, 5, 6)):
        found = ledger.by_row("night", str(job.row))
        assert not is_believed_absent(ledger, found)
        if found is not None:
            assert (job.key, Status.UNKNOWN) == (found.key, found.status)
            assert ("night", job.row) == (found.group, found.row)
            known.append(job)
    assert (derived == "kept") == bool(known)


def test_older_lines_tell_what_a_job_was(made: Path, tmp_path: Path) -> None:
    """The intent is forgotten with the line that said what came of it."""
    jobs = filled(made, tmp_path, indexed=True)
    for path in files(tmp_path):
        raw = path.read_bytes().replace(
            b'"status":"completed"', b'"status":"comp!eted"'
        )
        path.write_bytes(raw)
    ledger = Ledger(tmp_path, run_bytes=1)
    done = [job for job in jobs.values() if job.status is Status.COMPLETED]
    assert done
    for job in done:
        found = ledger.by_submit_key(str(job.submit_key))
        assert found is not None
        assert job.request_sha256 == found.request_sha256
        assert job.key == found.key
        assert found == ledger.by_key(job.key)
        if found.status is Status.SUBMITTING:  # what was derived was made anew
            assert ledger.is_dead(found)
        else:
            assert Status.UNKNOWN is found.status
            assert "cannot be read" in str(found.last_error)
    assert {job.key for job in jobs.values()} == {job.key for job in ledger.newest()}


def test_a_job_in_doubt_can_be_settled(made: Path, tmp_path: Path) -> None:
    """What a person says of a job in doubt is not kept, or stays in doubt."""
    jobs = filled(made, tmp_path, indexed=True)
    path = next(p for p in files(tmp_path) if b'"k1"' in p.read_bytes())
    for one in files(tmp_path):
        one.write_bytes(one.read_bytes().replace(b'"k1"', b'"q1"'))
    ledger = Ledger(tmp_path, run_bytes=1)
    found = ledger.by_submit_key("k1")
    assert found is not None
    assert jobs["k1"].key == found.key, path
    ledger.record(found._replace(id="resp_again", status=Status.QUEUED))
    for look in (ledger, Ledger(tmp_path, run_bytes=1)):
        settled = look.by_submit_key("k1")
        assert settled is not None
        assert ("resp_again", {}) == (settled.id, settled.extra)


def test_a_compaction_keeps_what_is_left_of_a_damaged_job(
    made: Path, tmp_path: Path
) -> None:
    """A compaction drops the intent of a job whose later line cannot be read."""
    jobs = filled(made, tmp_path, indexed=True)
    for path in files(tmp_path):
        raw = path.read_bytes().replace(
            b'"status":"completed"', b'"status":"comp!eted"'
        )
        path.write_bytes(raw)
    Ledger(tmp_path, run_bytes=1).compact()
    ledger = Ledger(tmp_path, run_bytes=1)
    for submit_key, job in jobs.items():
        found = ledger.by_submit_key(submit_key)
        assert found is not None
        assert job.key == found.key


def test_another_job_in_a_jobs_place_is_no_job(made: Path, tmp_path: Path) -> None:
    """A look-up returns another job, or none, where another line has taken its place."""
    jobs = filled(made, tmp_path, indexed=True)
    mine, theirs = jobs["k6"], jobs["k1"]
    path = files(tmp_path)[0]
    lines = path.read_bytes().split(b"\n")
    old, new = (
        [n for n, line in enumerate(lines) if job.key.encode() in line]
        for job in (mine, theirs)
    )
    for to, source in zip(old, new, strict=True):
        assert len(lines[to]) == len(lines[source])
        lines[to] = lines[source]
    path.write_bytes(b"\n".join(lines))
    ledger = Ledger(tmp_path, run_bytes=1)
    for found in (ledger.by_key(mine.key), ledger.by_submit_key("k6")):
        assert found is not None
        assert (mine.key, Status.UNKNOWN) == (found.key, found.status)
    assert theirs == ledger.by_submit_key("k1")


def test_a_torn_end_is_no_doubt(made: Path, tmp_path: Path) -> None:
    """A record that was cut short at the end, and never synced, keeps --key away."""
    filled(made, tmp_path, indexed=False)
    path = tmp_path / "ledger.jsonl"
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        Ledger(tmp_path).check_whole()
    for cut in range(start + 1, len(whole), 7):
        path.write_bytes(whole[:cut])
        ledger = Ledger(tmp_path)
        with ledger.submitting(Job(key="", submitted_at=1.0)):
            ledger.check_whole()
        Ledger(tmp_path).check_whole()


@pytest.mark.parametrize("end", [b"not json\n", b"not json", b'{"v":1}x', b"\n[1]\n"])
def test_what_is_no_record_may_have_been_one(
    made: Path, tmp_path: Path, end: bytes
) -> None:
    """A look-up that found nothing is believed beside a line that cannot be read."""
    filled(made, tmp_path, indexed=False)
    with (tmp_path / "ledger.jsonl").open("ab") as file:
        file.write(end)
    ledger = Ledger(tmp_path)
    assert ledger.by_submit_key("new") is None
    with pytest.raises(
        LedgerError, match=r"ledger\.jsonl:3\d cannot be read"
    ) as raised:
        ledger.check_whole()
    assert "doctor --fix" in raised.value.advice


def test_the_accepted_record_wins(tmp_path: Path) -> None:
    """A newer record that was rejected hides the accepted one of its key or row."""
    ledger = Ledger(tmp_path)
    draft = Job(key="", submit_key="k", group="g", row="r", submitted_at=1.0)
    ends = (Status.REJECTED, Status.UNKNOWN, Status.REJECTED, Status.QUEUED)
    made = []
    for end in (*ends, Status.UNKNOWN, Status.REJECTED):
        with ledger.submitting(draft) as job:
            pass
        id_ = "resp_1" if end is Status.QUEUED else None
        made.append(ledger.record(job._replace(status=end, id=id_)))
        by_key, by_row = ledger.by_submit_key("k"), ledger.by_row("g", "r")
        assert by_key == by_row
        holds = {1: 0, 2: 1, 3: 1}.get(len(made), 3)
        assert made[holds] == by_key
    assert made[3] == ledger.by_id("resp_1")
    assert made[::-1] == list(ledger.of_row("g", "r"))


class Counted:
    """How many bytes were read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin to count."""
        self.bytes, read = 0, os.pread

        def counting(fd: int, size: int, offset: int) -> bytes:
            found = read(fd, size, offset)
            self.bytes += len(found)
            return found

        monkeypatch.setattr(os, "pread", counting)


@pytest.fixture(name="counted")
def _counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    return iter([Counted(monkeypatch)]).__next__()  # type: ignore[return-value]


def test_bad_lines_are_read_once(made: Path, tmp_path: Path, counted: Counted) -> None:
    """Each line that cannot be read costs another reading of the file."""
    jobs = filled(made, tmp_path, indexed=False)
    path = tmp_path / "ledger.jsonl"
    with path.open("ab") as file:
        file.writelines(b"bad line %d\n" % number for number in range(8000))
    size = path.stat().st_size
    ledger = Ledger(tmp_path, run_bytes=size)
    assert len(jobs) == len(list(ledger.newest()))
    count, first = ledger.first_bad(3)
    assert (8000, [f"{path}:{n}" for n in (31, 32, 33)]) == (
        count,
        [p for p, _ in first],
    )
    assert counted.bytes < 2 * size
    assert 8000 == len(ledger.bad)
    assert f"{path}:8030" == ledger.bad[-1][0]
    assert counted.bytes < 5 * size


def test_a_record_without_an_index_costs_no_scan(
    tmp_path: Path, counted: Counted
) -> None:
    """Where no index can be written each record reads the sealed files again."""
    ledger = Ledger(tmp_path, run_bytes=2000, seal_bytes=15000)
    for number in range(60):
        submitted(ledger, number, Status.QUEUED)
    shutil.rmtree(tmp_path / "index")
    (tmp_path / "index").touch()
    sealed = [path.stat().st_size for path in (tmp_path / "sealed").iterdir()]
    assert 2 <= len(sealed)
    ledger = Ledger(tmp_path, run_bytes=2000)
    jobs = [*ledger.newest()]
    for job in jobs[:20]:  # by then the tail is worth an index
        ledger.record(job._replace(status=Status.COMPLETED, last_error="x" * 500))
    begun = counted.bytes
    for job in jobs[20:60]:
        ledger.record(job._replace(status=Status.COMPLETED))
    assert not ledger.is_indexed
    assert counted.bytes - begun < 40 / 2 * sum(sealed)


def test_a_long_line_is_read_once_and_not_kept(
    made: Path, tmp_path: Path, counted: Counted
) -> None:
    """A line of any length is held in memory, or read again and again."""
    jobs = filled(made, tmp_path, indexed=False)
    path = tmp_path / "ledger.jsonl"
    with path.open("ab") as file:
        file.write(b"{")
        file.truncate(path.stat().st_size + (70 << 20))
        file.seek(0, os.SEEK_END)
        file.write(b"\n")
    size = path.stat().st_size
    ledger = Ledger(tmp_path, run_bytes=size)
    assert len(jobs) == len(list(ledger.newest()))
    assert counted.bytes < size + (1 << 20)
    tracemalloc.start()
    [*journal.read(path)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 36 << 20
    assert [(f"{path}:31", "longer than 16 MiB")] == ledger.bad
    with pytest.raises(LedgerError, match=r"ledger\.jsonl:31 cannot be read"):
        ledger.check_whole()
    with ledger.submitting(Job(key="", submitted_at=1.0, name="later")) as job:
        pass
    assert job == Ledger(tmp_path).by_name("later")
    ledger.compact()
    assert 70 << 20 < path.stat().st_size


def test_a_folder_is_listed_only_where_the_ledger_is_another(tmp_path: Path) -> None:
    """Each submit lists every answer that is there, or none ever does."""
    ledger = Ledger(tmp_path)
    submitted(ledger, 1, Status.COMPLETED)
    stray = tmp_path / "responses" / "7ZZZZZZZZZZZZZZZZZZZZZZZZZ.json"
    stray.write_bytes(b"{}")
    Ledger(tmp_path).check_whole()  # nothing was listed: it only grew
    noted = (tmp_path / "index" / "whole").read_bytes()
    for torn in (b"", noted[:-1], noted[: len(noted) // 2], b"[]", b"7", b"\xff"):
        shutil.copytree(tmp_path, tmp_path / "torn")
        (tmp_path / "torn" / "index" / "whole").write_bytes(torn)
        with pytest.raises(LedgerError, match="older than its folder"):
            Ledger(tmp_path / "torn").check_whole()
        shutil.rmtree(tmp_path / "torn")
    submitted(ledger, 2, Status.COMPLETED)
    Ledger(tmp_path).check_whole()
    ledger.forget(next(ledger.newest()))
    ledger.compact()
    for _ in range(2):
        with pytest.raises(LedgerError, match="older than its folder"):
            Ledger(tmp_path).check_whole()
    assert [stray] == ledger.newer_files()
    assert ["responses-" + stray.name] == [p.name for p in ledger.accept_older()]
    Ledger(tmp_path).check_whole()


@pytest.mark.parametrize("keeps", [0, 1, 2])
def test_a_ledger_that_shrank_is_looked_at(tmp_path: Path, keeps: int) -> None:
    """A backup that was copied over the ledger passes for the ledger that was there."""
    path, sizes = tmp_path / "ledger.jsonl", [0]
    for number in range(3):
        job = submitted(Ledger(tmp_path), number, Status.COMPLETED)
        (tmp_path / "responses" / f"{job.key}.json").write_bytes(b"{}")
        sizes.append(path.stat().st_size)
    Ledger(tmp_path).check_whole()
    path.write_bytes(path.read_bytes()[: sizes[keeps]])
    with Ledger(tmp_path).submitting(Job(key="", submitted_at=1.0)):
        pass  # what it lacks is older now than its last key
    with pytest.raises(LedgerError, match="older than its folder"):
        Ledger(tmp_path).check_whole()


@pytest.mark.parametrize("keeps", [0, 1, 2])
def test_a_ledger_that_shrinks_under_us_is_read_anew(
    tmp_path: Path, keeps: int
) -> None:
    """Who has a ledger open that is put back misses what others submit, and sends it."""
    path, sizes, ours = tmp_path / "ledger.jsonl", [0], Ledger(tmp_path)
    for number in range(4):
        submitted(ours, number, Status.QUEUED)
        sizes.append(path.stat().st_size)
    path.write_bytes(path.read_bytes()[: sizes[keeps]])
    theirs = submitted(Ledger(tmp_path), 7, Status.QUEUED)
    assert theirs == ours.by_submit_key("k7") == ours.by_row("night", "r7")
    assert ours.by_row("night", "r3") is None
    mine = submitted(ours, 8, Status.QUEUED)
    assert mine == Ledger(tmp_path).by_row("night", "r8")
    assert [*Ledger(tmp_path).newest()] == [*ours.newest()]


def test_a_sealed_file_that_is_missing_hides_a_submit(tmp_path: Path) -> None:
    """A key that stood in a file that is gone is sent again, and paid for."""
    ledger = Ledger(tmp_path)
    for number in range(3):
        submitted(ledger, number, Status.QUEUED)
        journal.seal(tmp_path)
        ledger.check_whole()
    (tmp_path / "sealed" / "000002.jsonl").unlink()
    for one in (ledger, Ledger(tmp_path)):
        assert one.by_submit_key("k1") is None
        with pytest.raises(LedgerError, match=r"000002\.jsonl is missing") as failed:
            one.check_whole()
        assert one.by_submit_key("k2") is not None
    assert f"touch {tmp_path / 'sealed' / '000002.jsonl'}" in failed.value.hint
    (tmp_path / "sealed" / "000002.jsonl").touch(mode=0o600)
    ledger.check_whole()


def test_what_was_set_aside_is_no_doubt_to_others(tmp_path: Path) -> None:
    """Who has a ledger open goes on to refuse what a bad line may be, once it is gone."""
    ours, theirs = Ledger(tmp_path), Ledger(tmp_path)
    submitted(ours, 1, Status.QUEUED)
    with (tmp_path / "ledger.jsonl").open("ab") as file:
        file.write(b'{"v":1,"key":"K","status":"queued","c":"00000000"}\n')
    journal.seal(tmp_path)
    submitted(ours, 2, Status.QUEUED)
    with pytest.raises(LedgerError, match="cannot be read"):
        ours.check_whole()
    assert 1 == len(theirs.set_aside())
    ours.check_whole()


def calls_of_a_list(state: Path, lines: list[bytes]) -> int:
    """Return how many functions are called to list a ledger and tell what is bad."""
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(mode=0o700)
    (state / "ledger.jsonl").write_bytes(b"".join(lines))
    calls = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    ledger = Ledger(state)
    sys.setprofile(count)
    try:
        list(ledger.newest())
        found, first = ledger.first_bad(3)
    finally:
        sys.setprofile(None)
    assert min(found, 3) == len(first)
    return calls


def test_bad_lines_cost_no_more_than_good_ones(made: Path, tmp_path: Path) -> None:
    """Lines that cannot be read cost more than half as much again, or not linearly."""
    good = (made / "False" / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    bad = [line.replace(b'"status"', b'"stAtus"') for line in good]
    state = tmp_path / "many"
    few, many = (calls_of_a_list(state, bad * times) for times in (2, 8))
    assert many <= 1.5 * calls_of_a_list(state, good * 8)
    assert many <= 4.4 * few
