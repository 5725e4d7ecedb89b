"""The results file has each line once, whatever a killed run left behind."""

import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.batch.files import Folder, Results, is_safe
from bgresp.core.errors import OutputError, UsageError
from bgresp.core.model import Job, ResponseError, Status, Usage


def job(row: str, number: int = 1, **fields: Any) -> Job:
    known = {"id": f"resp_{number}", "status": Status.COMPLETED, **fields}
    return Job(key=f"K{number}", row=row, **known)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_a_line_says_what_became_of_a_row(tmp_path: Path) -> None:
    """Row id, job, status, text, usage and error, as CONTRACT.md has them."""
    path = tmp_path / "r.jsonl"
    usage = Usage(total_tokens=7)
    with Results.at(path) as results:
        results.add(job("ü", usage=usage), "täxt\n")
        error = ResponseError("bad", "No.")
        results.add(job("b", id=None, status=Status.REJECTED, error=error), None)
        results.add(job("c", 3, status=Status.LOST, last_error="gone"), None)
    first, second, third = lines(path)
    assert {*("id", "job", "status", "text", "usage", "error"), "ended_with"} == set(
        first
    )
    assert ("ü", "resp_1", "completed", "täxt\n", None) == (
        *(first["id"], first["job"], first["status"], first["text"], first["error"]),
    )
    assert 7 == first["usage"]["total_tokens"]
    assert (None, {"code": "bad", "message": "No."}) == (
        *(second["job"], second["error"]),
    )
    assert {"code": "lost", "message": "gone"} == third["error"]


@given(cut=st.integers(0, 400), torn=st.booleans())
def test_a_killed_run_is_made_whole(
    tmp_path_factory: pytest.TempPathFactory, cut: int, torn: bool
) -> None:
    """Cut off at any byte, the file is whole again after the same run."""
    path = tmp_path_factory.mktemp("r") / "r.jsonl"
    jobs = [(job(f"row {n}", n), f"text {n}") for n in range(4)]

    def run() -> None:
        with Results.at(path) as results:
            for one, text in jobs:
                results.add(one, text)

    run()
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    run()
    assert whole == path.read_bytes()
    run()
    assert whole == path.read_bytes()


def test_news_of_a_row_is_a_line_more(tmp_path: Path) -> None:
    """A row that was retried, or refused at first, gets the line of its new job."""
    path = tmp_path / "r.jsonl"
    refused = job("a", id=None, status=Status.REJECTED)
    for one in (refused, refused, job("a", 1), job("a", 2), job("a", 1)):
        with Results.at(path) as results:
            results.add(one, None)
    assert [None, "resp_1", "resp_2"] == [line["job"] for line in lines(path)]


@pytest.mark.parametrize(
    "content", [b"precious\n", b"precious", b'{"a":1}\n', b"\x00" * 64, b"[]\n1\n"]
)
def test_a_foreign_file_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    """What is no results file is refused, and not a byte of it changes."""
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="not a line"), Results.at(path):
        pass
    assert content == path.read_bytes()


def test_a_line_that_does_not_fit_leaves_none(tmp_path: Path) -> None:
    """A full disk leaves whole lines: what follows is not glued to half a line."""
    path = tmp_path / "out.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Results.at(path) as kept:
        kept.add(job("a"), "first")
        size = path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
        try:
            with pytest.raises(OutputError, match=r"out\.jsonl: File too large"):
                kept.add(job("b", 2), "second")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert size == path.stat().st_size
        kept.add(job("c", 3), "third")
    assert ["a", "c"] == [line["id"] for line in lines(path)]


def test_files_of_rows(tmp_path: Path) -> None:
    """An answer is written whole, again only where it differs, never through a link."""
    folder = Folder(tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    target = tmp_path / "Q1.txt"
    target.symlink_to(victim)
    assert target == folder.add(job("Q1"), "täxt")
    assert ("täxt\n", "precious") == (target.read_text("utf-8"), victim.read_text())
    before = target.stat().st_ino
    folder.add(job("Q1"), "täxt")
    assert before == target.stat().st_ino
    folder.add(job("Q1"), "news\n")
    assert "news\n" == target.read_text()
    assert {target, victim} == set(tmp_path.iterdir())


def test_a_row_whose_id_is_no_file_name(tmp_path: Path) -> None:
    """An answer goes by the job's local key, or out of the folder by its row's id."""
    for row in ("a/b", "../x", ".hidden", "-rf", "é", "a b", "x" * 201, ""):
        assert "K1.json" == Folder(tmp_path, ".json").name_of(job(row))
    assert "K1.txt" == Folder(tmp_path).name_of(Job(key="K1"))


def test_a_folder_a_group(tmp_path: Path) -> None:
    """Two groups' rows of one id share a file, or a group's name leaves the folder."""
    folder = Folder(tmp_path, by_group=True)
    assert "g/a.txt" == folder.name_of(job("a", group="g"))
    assert "g/K1.txt" == folder.name_of(job("a/b", group="g"))
    assert "K1.txt" == folder.name_of(job("a", group="../up"))
    assert "K1.txt" == folder.name_of(job("a"))
    assert tmp_path / "g" / "a.txt" == folder.add(job("a", group="g"), "x")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_have_the_modes_of_the_umask(
    tmp_path: Path, umask: int, mode: int
) -> None:
    """What a user named is private against his umask, or a file's own mode changes."""
    before = os.umask(umask)
    try:
        path = Folder(tmp_path).add(job("a"), "one")
        assert mode == path.stat().st_mode & 0o777
        path.chmod(0o640)
        assert path == Folder(tmp_path).add(job("a"), "two")
    finally:
        os.umask(before)
    assert 0o640 == path.stat().st_mode & 0o777


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_row_s_id_is_never_a_path(one: str, other: str) -> None:
    """File names are of safe signs, short, and of two rows never the same."""
    folder = Folder(Path("d"))
    name, another = folder.name_of(job(one, 1)), folder.name_of(job(other, 2))
    assert name.isascii()
    assert not set(name) & set("/\\:\0 ")
    assert name[0] not in ".-"
    assert len(name) <= 204
    assert is_safe(one) == (name == f"{one}.txt")
    assert one == other or name != another
