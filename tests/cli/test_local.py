"""`-p local`: the main job on this machine, with nothing but bgresp."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.processes import Started
from tests.command import Changes, Run, command, empty_config

DOCUMENT = "# A document\n\nOf several lines,\nas a newcomer's README has them.\n" * 3


@pytest.fixture
def local(bare: Run, state: Path) -> Iterator[Run]:
    """Run the command without any endpoint configured; stop what it started.

    Forked: the demo's answer takes three seconds, and a start on a busy machine more.
    """
    yield bare
    ran = bare("serve", "--stop")
    assert (0, "") == (ran.code, ran.out)


@pytest.fixture
def begin(state: Path, tmp_path: Path) -> Iterator[list[Started]]:
    """Keep processes that a test starts, and leave none running."""
    running: list[Started] = []
    yield running
    for started in running:
        started.close()


def start(args: list[str], state: Path, folder: Path) -> Started:
    env: Changes = {
        "BGRESP_STATE_DIR": str(state),
        "BGRESP_CONFIG": empty_config(folder / "config" / "config.toml"),
    }
    return Started(command(*args), env, folder)


def test_the_main_job_end_to_end(
    local: Run, begin: list[Started], state: Path, tmp_path: Path
) -> None:
    """Submit, follow, hang up, resume, list, get, cancel: against the real endpoint.

    The first command starts it and says so, the others reuse it; a stopped one is
    started again on the same store; both halves of the text join.
    """
    (tmp_path / "README.md").write_text(DOCUMENT)
    watching = start(["submit", "README.md", "-p", "local", "--watch"], state, tmp_path)
    begin.append(watching)
    watching.until(b"demo engine")
    first = watching.finish(signal.SIGHUP)
    assert 129 == first.code
    started, submitted, *_, detached = first.err.splitlines()
    assert "started the local endpoint at http://127.0.0.1:" in started
    id_ = submitted.removeprefix("bgresp: submitted ")
    assert f"bgresp: detached; the job goes on: bgresp watch {id_} --resume" == detached

    quick = local("submit", "-t", "hi", "-p", "local", "-n", "quick", "--json")
    record = json.loads(quick.out)
    assert (0, "", "local:", "local") == (
        *(quick.code, quick.err, record["base_url"], record["profile"]),
    )
    assert record["status"] in {"queued", "in_progress"}
    cancelled = local("cancel", "quick", "--json")
    assert (0, "cancelled") == (cancelled.code, json.loads(cancelled.out)["status"])
    assert 11 == local("get", "quick").code

    second = local("watch", "@2", "--resume")
    assert 0 == second.code
    whole = local("get", id_)
    assert (0, "", whole.out) == (whole.code, whole.err, first.out + second.out)
    assert "demo engine, not a model" in whole.out
    assert whole.out.endswith("until its retention ends.\n")
    usage = json.loads(local("get", id_, "--part", "usage").out)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 50

    stopped = local("serve", "--stop")
    assert (0, "bgresp: stopped\n") == (stopped.code, stopped.err)
    assert "no local endpoint was running" in local("serve", "--stop").err
    rows = local("list", "-p", "local", "--fields", "id,status")
    assert f"{record['id']}\tcancelled\n{id_}\tcompleted\n" == rows.out
    again = local("status", "quick")
    assert (0, True) == (again.code, "started the local endpoint" in again.err)
    leftovers = {path.name for path in tmp_path.iterdir()}
    assert {"README.md", "config", "state"} == leftovers


def test_several_wait_in_the_queue(local: Run, tmp_path: Path) -> None:
    """More jobs than workers queue for real; --wait ends when all have ended."""
    files = [f"{number}.txt" for number in range(3)]
    for name in files:
        (tmp_path / name).write_text(name)
    short = ["--max-output-tokens", "4"]
    ran = local("submit", *files, "-p", "local", "--wait", "--json", *short)
    jobs = json.loads(ran.out)
    assert (10, ["incomplete"] * 3) == (ran.code, [job["status"] for job in jobs])
    assert {"This is bgresp's built-in"} == {job["text"] for job in jobs}
    assert {"max_output_tokens"} == {job["incomplete_reason"] for job in jobs}
    ids = [job["id"] for job in jobs]
    assert ids[::-1] == local("list", "-q").out.split()
