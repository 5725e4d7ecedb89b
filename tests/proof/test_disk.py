"""T19: a full or read-only disk, for real: a small tmpfs (cases 33 to 36 and 38)."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import Run
from tests.fakeserver import FakeServer
from tests.fakewire import events_of
from tests.proof.conftest import Figure

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("mount"),
        reason="T19 mounts a tmpfs: that needs root",
    ),
]

SIZE = 512 * 1024


@pytest.fixture(name="disk")
def _disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of half a MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = f"size={SIZE},mode=0700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"T19: no tmpfs here ({done.stderr.strip()})")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Write until not one byte more has room."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def telling(act: Callable[[], None]) -> Any:
    """Let something happen to the disk while the create is answered."""

    def tell(_: Any, id_: str) -> Any:
        act()
        return events_of("done", response_id=id_)

    return tell


def variables(server: FakeServer, disk: Path, tmp_path: Path) -> dict[str, str]:
    rescue = tmp_path / "run"
    rescue.mkdir(exist_ok=True)
    return {
        "BGRESP_BASE_URL": server.base_url,
        "BGRESP_API_KEY": "k",
        "BGRESP_STATE_DIR": str(disk / "state"),
        "XDG_RUNTIME_DIR": str(rescue),
    }


def test_33_a_full_disk_before_the_intent(
    run: Run, disk: Path, tmp_path: Path, figure: Figure
) -> None:
    """A request leaves though its intent had no room."""
    with FakeServer() as server:
        env = variables(server, disk, tmp_path)
        assert 0 == run("submit", "-t", "one", env=env).code
        fill(disk)
        before = (disk / "state" / "ledger.jsonl").read_bytes()
        ran = run("submit", "-t", "two", env=env)
        assert (1, "", 1) == (ran.code, ran.out, len(server.creates))
        assert "No space left on device" in ran.err
        assert (
            before
            == (disk / "state" / "ledger.jsonl").read_bytes().rstrip(b"\n") + b"\n"
        )
        assert 0 == run("list", env=env).code
    figure("T19: full before the intent: 0 sent; after it: recorded or rescued")


def test_34_a_full_disk_after_the_post(run: Run, disk: Path, tmp_path: Path) -> None:
    """An accepted id is lost though there was ballast to give away."""
    with FakeServer(tell=telling(lambda: fill(disk))) as server:
        env = variables(server, disk, tmp_path)
        ran = run("submit", "-t", "one", env=env)
        (id_,) = server.jobs
        assert (0, f"{id_}\n") == (ran.code, ran.out), ran
        (disk / "filler").unlink()
        assert f"{id_}\n" == run("list", "-q", env=env).out


def test_35_and_36_a_full_disk_without_ballast(
    run: Run, disk: Path, tmp_path: Path
) -> None:
    """An accepted id is lost when not even the ballast helps, or is brought home twice."""

    def act() -> None:
        os.truncate(disk / "state" / "ballast", 0)
        fill(disk)

    with FakeServer(tell=telling(act)) as server:
        env = variables(server, disk, tmp_path)
        # More than what is left of the page that the intent is in.
        ran = run("submit", "-t", "one", "-l", "about=" + "x" * 3000, env=env)
        (id_,) = server.jobs
        assert (1, f"{id_}\n") == (ran.code, ran.out), ran
        (rescued,) = (tmp_path / "run").iterdir()
        assert str(rescued) in ran.err
        assert 0o600 == rescued.stat().st_mode & 0o777
        (disk / "filler").unlink()
        for _ in range(2):
            assert 0 == run("doctor", "--fix", env=env).code
            assert f"{id_}\n" == run("list", "-q", env=env).out
        assert not rescued.exists()
        assert 1 == len(server.creates)


def test_38_a_read_only_disk(run: Run, disk: Path, tmp_path: Path) -> None:
    """A request leaves a machine that cannot write it down, or the list needs writing."""
    with FakeServer() as server:
        env = variables(server, disk, tmp_path)
        assert 0 == run("submit", "-t", "one", "-n", "first", env=env).code
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        ran = run("submit", "-t", "two", env=env)
        assert (1, "", 1) == (ran.code, ran.out, len(server.creates))
        assert "BGRESP_STATE_DIR" in ran.err
        listed = run("list", env=env)
        assert (0, True) == (listed.code, "first" in listed.out)
        assert 0 == run("status", "--local", "first", env=env).code


@pytest.mark.parametrize("verb", ["wait", "sync"])
def test_a_full_disk_while_jobs_end(
    run: Run, disk: Path, tmp_path: Path, verb: str
) -> None:
    """Answers saved together on a full disk are lost, or told of all the same."""
    with FakeServer() as server:
        env = variables(server, disk, tmp_path)
        rows = (f'{{"id": "{n}", "text": "row {n}"}}\n' for n in range(6))
        (tmp_path / "m.jsonl").write_text("".join(rows))
        argv = ("batch", str(tmp_path / "m.jsonl"), "-m", "m", "-q")
        ids = run(*argv, env=env).out.split()
        fill(disk)
        which = ("--group", "m") if verb == "wait" else ()
        ran = run(verb, *which, env=env)
        assert (1, False) == (ran.code, "completed" in ran.out), ran
        assert "No space left on device" in ran.err
        (disk / "filler").unlink()
        listed = run("list", "--json", "--fields", "id,status", env=env).out
        assert {"completed"}.isdisjoint(one["status"] for one in json.loads(listed))
        assert 0 == run("wait", "--group", "m", env=env).code
        for id_ in ids:
            got = run("get", id_, env=env)
            assert (0, True) == (got.code, bool(got.out.strip()))
        assert [] == [*(disk / "state" / "responses").glob(".tmp-*")]
