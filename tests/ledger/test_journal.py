"""The journal: one line, one write, one sync; a torn tail costs nobody else."""

import os
from functools import partial
from pathlib import Path

import pytest

from bgresp.core.errors import LedgerError
from bgresp.core.model import Job, Status
from bgresp.ledger import journal
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.line import encode


def jobs(number: int) -> list[Job]:
    return [Job(key=f"K{n:025}", name=f"job {n}") for n in range(number)]


def written(path: Path, number: int) -> bytes:
    for job in jobs(number):
        journal.append(path, encode(job))
    return path.read_bytes()


def test_a_cut_at_every_byte_loads_a_prefix(tmp_path: Path) -> None:
    """A journal cut anywhere loses a line before the cut, or the next append."""
    path = tmp_path / "ledger.jsonl"
    whole = written(path, 3)
    ends = [0]
    for line in whole.splitlines(keepends=True):
        ends.append(ends[-1] + len(line))
    later = Job(key="L" * 26)
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        complete = sum(end <= cut for end in ends[1:])
        found = {job.key for job in Ledger(tmp_path).newest()}
        assert {job.key for job in jobs(complete)} == found
        journal.append(path, encode(later))
        assert found | {later.key} <= {job.key for job in Ledger(tmp_path).newest()}
        assert path.read_bytes().startswith(whole[:cut])


def test_a_tail_of_nuls_is_one_bad_line(tmp_path: Path) -> None:
    """NULs that a crash left hide the records around them (case 42)."""
    path = tmp_path / "ledger.jsonl"
    written(path, 2)
    with path.open("ab") as file:
        file.write(b"\0" * 4096)
    later = Job(key="L" * 26)
    journal.append(path, encode(later))
    ledger = Ledger(tmp_path)
    assert 3 == len(list(ledger.newest()))
    assert [(f"{path}:3", "not JSON")] == ledger.bad


def test_a_line_without_its_newline_is_not_written_yet(tmp_path: Path) -> None:
    """A complete record without a newline is believed (case 41)."""
    path = tmp_path / "ledger.jsonl"
    whole = written(path, 2)
    path.write_bytes(whole[:-1])
    assert ["job 0"] == [job.name for job in Ledger(tmp_path).newest()]


def test_a_flipped_bit_is_named_and_costs_one_line(tmp_path: Path) -> None:
    """A flipped bit in an old line goes unseen, or takes other jobs along (case 43)."""
    path = tmp_path / "ledger.jsonl"
    raw = bytearray(written(path, 3))
    at = raw.index(b"job 1") + 4
    raw[at] ^= 0x08
    path.write_bytes(raw)
    ledger = Ledger(tmp_path)
    assert ["job 2", "job 0"] == [job.name for job in ledger.newest()]
    assert [(f"{path}:2", "the checksum does not match")] == ledger.bad


@pytest.mark.parametrize("kind", ["directory", "fifo", "symlink"])
def test_what_is_no_file_is_refused_and_not_replaced(tmp_path: Path, kind: str) -> None:
    """Something else in the ledger's place is replaced or followed (case 44)."""
    path = tmp_path / "ledger.jsonl"
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious\n")
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(victim)
    before = path.lstat()
    with pytest.raises(LedgerError, match=r"ledger\.jsonl"):
        Ledger(tmp_path).record(Job(key="K" * 26))
    assert (before.st_ino, before.st_mode) == (
        path.lstat().st_ino,
        path.lstat().st_mode,
    )
    assert b"precious\n" == victim.read_bytes()


def test_an_empty_file_is_an_empty_ledger(tmp_path: Path) -> None:
    """What a power cut in the first append leaves locks its user out (case 44)."""
    path = tmp_path / "ledger.jsonl"
    path.touch(0o600)
    before = path.stat().st_ino
    ledger = Ledger(tmp_path)
    assert ([], []) == (list(ledger.newest()), ledger.bad)
    ledger.record(Job(key="K" * 26))
    assert (before, 1) == (path.stat().st_ino, len(list(Ledger(tmp_path).newest())))


def test_a_newer_ledger_is_only_read(tmp_path: Path) -> None:
    """A ledger of a newer bgresp is written to, or cannot be listed (case 45)."""
    path = tmp_path / "ledger.jsonl"
    before = written(path, 1) + b'{"v":2,"key":"N","status":"queued","new":true}\n'
    path.write_bytes(before)
    ledger = Ledger(tmp_path)
    assert ["job 0"] == [job.name for job in ledger.newest()]
    with pytest.raises(LedgerError, match="newer bgresp"):
        ledger.record(Job(key="K" * 26))
    assert before == path.read_bytes()


def test_modes_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """A file or folder of the ledger can be read by others (case 106)."""
    state = tmp_path / "state"
    before = os.umask(0)
    try:
        ledger = Ledger(state)
        with ledger.submitting(Job(key="")) as job:
            ledger.record(job._replace(status=Status.QUEUED))
    finally:
        os.umask(before)
    loose = [p for p in [state, *state.rglob("*")] if p.stat().st_mode & 0o077]
    assert [] == loose


def test_a_loose_mode_is_tightened(tmp_path: Path) -> None:
    """A ledger that others may read stays so after a write (case 48)."""
    path = tmp_path / "ledger.jsonl"
    written(path, 1)
    path.chmod(0o644)
    journal.append(path, encode(Job(key="L" * 26)))
    assert 0o600 == path.stat().st_mode & 0o777


def test_a_clock_that_jumps_keeps_the_order(tmp_path: Path) -> None:
    """A jump of the clock puts a new job before an older one (case 53)."""
    names: list[str] = []
    now, back, ahead = 1_790_000_000.0, 1_789_136_000.0, 2_421_152_000.0
    for number, moment in enumerate([now, back, ahead, now + 1]):
        ledger = Ledger(tmp_path, now=partial(float, moment))
        with ledger.submitting(Job(key="", name=str(number), submitted_at=moment)):
            names.insert(0, str(number))
        os.utime(ledger.path, (moment, moment))  # as that clock would date it
    assert names == [job.name for job in Ledger(tmp_path).newest()]


@pytest.fixture(name="synced")
def _synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Note the inode and the size of what is synced."""
    sync, synced = os.fsync, list[tuple[int, int]]()

    def fsync(fd: int) -> None:
        found = os.fstat(fd)
        synced.append((found.st_ino, found.st_size))
        sync(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    return synced


def test_a_new_file_s_name_is_on_disk(
    tmp_path: Path, synced: list[tuple[int, int]]
) -> None:
    """The first line is on disk in a file that a power cut leaves without a name."""
    appender, [line] = journal.Appender(tmp_path / "ledger.jsonl"), map(encode, jobs(1))
    appender.append(line)
    assert [tmp_path.stat().st_ino] == [inode for inode, _ in synced]
    appender.append(line)
    journal.append(tmp_path / "ledger.jsonl", line)
    assert 1 == len(synced), "once is enough"


def test_a_file_is_on_disk_before_it_is_sealed(
    tmp_path: Path, synced: list[tuple[int, int]]
) -> None:
    """A line that somebody is to sync later is missing in a sealed file."""
    path = tmp_path / "ledger.jsonl"
    journal.Appender(path).append(encode(jobs(1)[0]), lambda _: None)
    synced.clear()
    found = path.stat()
    journal.seal(tmp_path)
    folder = (tmp_path / "sealed").stat()
    assert (found.st_ino, found.st_size) == synced[0]
    assert folder.st_ino in {inode for inode, _ in synced[1:]}
