"""The endpoint as a process: started once, found, killed, stopped, left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from bgresp.core.errors import BgrespError, ConfigError
from bgresp.serve import daemon
from tests.serve.endpoints import (
    DEADLINE,
    ROOT,
    Connect,
    Launch,
    create,
    is_gone,
    openai,
    poll,
    stream,
    wait_until,
)


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for a process and return what it said."""
    _, said = process.communicate(timeout=DEADLINE)
    return said


def test_five_starters_make_one_server(state: Path) -> None:
    """Processes that race for the endpoint all get the same one, started once."""
    script = (
        "import sys, pathlib; from bgresp.serve.daemon import ensure\n"
        "say = lambda line: print(line, file=sys.stderr)\n"
        "e = ensure(pathlib.Path(sys.argv[1]), say=say)\n"
        "print(e.base_url, e.key, e.pid, e.started)"
    )
    environment = {**os.environ, "OPENAI_API_KEY": "sk-x", "PYTHONPATH": str(ROOT)}

    def starter(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script, str(state)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    with ThreadPoolExecutor(5) as pool:
        runs = list(pool.map(starter, range(5)))
    answers = [run.stdout.split() for run in runs]
    assert 1 == len({tuple(answer[:3]) for answer in answers})
    assert ["False"] * 4 + ["True"] == sorted(answer[3] for answer in answers)
    base_url, key, pid, _ = answers[0]
    said = [run.stderr for run in runs if run.stderr]
    idle = "(stops when idle for 15m; bgresp serve --stop)"
    assert [f"started the local endpoint at {base_url} {idle}\n"] == said
    running = daemon.find(state)
    assert running is not None
    assert (base_url, key, int(pid)) == (running.base_url, running.key, running.pid)
    folder = state / "serve"
    assert {0o600} == {
        p.stat().st_mode & 0o777 for p in folder.iterdir() if p.is_file()
    }
    environ = Path(f"/proc/{pid}/environ")
    if environ.exists():
        assert b"API_KEY" not in environ.read_bytes()


def test_a_detached_endpoint_needs_its_key(state: Path, connect: Connect) -> None:
    """A started endpoint is found again, takes only its own key, and can be stopped."""
    said: list[str] = []
    started = daemon.ensure(state, say=said.append)
    assert (True, 1) == (started.started, len(said))
    again = daemon.ensure(state, say=said.append)
    assert (False, started.base_url, 1) == (again.started, again.base_url, len(said))
    with (
        openai.OpenAI(base_url=started.base_url, api_key="no", max_retries=0) as wrong,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        create(wrong, "x")
    assert "invalid_api_key" == caught.value.code
    assert "queued" == create(connect(state), "x").status
    assert daemon.stop(state)
    assert daemon.find(state) is None
    assert not (state / "serve" / "endpoint.json").exists()
    assert not daemon.stop(state)


def test_a_killed_server_remembers(
    state: Path, launch: Launch, connect: Connect
) -> None:
    """After SIGKILL finished jobs answer, running ones are failed, queued ones run."""
    first = launch("--pace", "0")
    done = poll(connect(state), create(connect(state), "x").id)
    first.kill()
    first.wait()
    assert daemon.find(state) is None
    second = launch("--pace", "60")
    sdk = connect(state)
    jobs = [create(sdk, "x").id for _ in range(3)]
    poll(sdk, jobs[1], "in_progress")
    assert done == sdk.responses.retrieve(done.id)
    second.kill()
    second.wait()
    launch("--pace", "0")
    sdk = connect(state)
    assert done == sdk.responses.retrieve(done.id)
    assert "completed" == poll(sdk, jobs[2]).status
    for job_id in jobs[:2]:
        failed = sdk.responses.retrieve(job_id)
        assert failed.error is not None
        assert ("failed", "server_restarted") == (failed.status, failed.error.code)


def test_a_killed_server_leaves_no_program(
    state: Path, launch: Launch, connect: Connect, tmp_path: Path
) -> None:
    """After SIGKILL of the server its programs end, with all that they started."""
    pids = tmp_path / "pids"
    inner = f"echo $$ >> {pids}; echo up; while :; do sleep 0.1; done"
    script = f"sh -c 'sh -c \"{inner.replace('$', chr(92) + '$')}\" & {inner}'"
    words = ("/bin/sh", "-c", script)
    server = launch(*[f"--command={word}" for word in words])
    with stream(connect(state), "x") as events:
        next(event for event in events if event.type == "response.output_text.delta")
        wait_until(lambda: len(pids.read_text().split()) == 2)
        server.kill()
    server.wait()
    for pid in map(int, pids.read_text().split()):
        wait_until(partial(is_gone, pid))


@pytest.mark.parametrize("again", [None, signal.SIGTERM])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_streams_open(
    state: Path,
    launch: Launch,
    connect: Connect,
    number: signal.Signals,
    again: signal.Signals | None,
) -> None:
    """A signal ends open streams with a failed response and the process with 0.

    That is without grace; with it a second signal does the same.
    """
    process = launch("--pace", "60", "--grace", "0" if again is None else "60")
    found = daemon.find(state)
    assert found is not None
    sdk = connect(state)
    with stream(sdk, "x") as opened:
        first = next(opened)
        assert "response.created" == first.type
        poll(sdk, first.response.id, "in_progress")
        process.send_signal(number)
        if again is not None:
            wait_until(lambda: refuses(sdk))
            process.send_signal(again)
        assert "response.failed" == list(opened)[-1].type
    assert f"listening on {found.base_url} (Ctrl-C stops)\n" == ended(process)
    assert 0 == process.returncode
    assert not (state / "serve" / "endpoint.json").exists()


def refuses(sdk: openai.OpenAI) -> bool:
    """Say whether new jobs are refused because it stops."""
    try:
        create(sdk, "x")
    except openai.InternalServerError as error:
        return error.status_code == 503
    return False


def test_a_stop_lets_running_jobs_end(
    state: Path, launch: Launch, connect: Connect
) -> None:
    """Within the grace a running job completes while new ones are refused."""
    process = launch("--pace", "0.02", "--workers", "1")
    sdk = connect(state)
    with stream(sdk, "x") as opened:
        first = next(opened)
        poll(sdk, first.response.id, "in_progress")
        waiting = create(sdk, "y")
        process.send_signal(signal.SIGTERM)
        assert "response.completed" == list(opened)[-1].type
    ended(process)
    assert 0 == process.returncode
    launch("--pace", "0")
    assert "completed" == poll(connect(state), waiting.id).status


def test_it_leaves_when_idle(state: Path, launch: Launch, connect: Connect) -> None:
    """An endpoint without work leaves after its idle time, and not while a job runs."""
    process = launch("--idle", "5", "--pace", "0.03")
    with connect(state) as sdk:
        job_id = create(sdk, "x").id
    ended(process)
    assert 0 == process.returncode
    assert daemon.find(state) is None
    launch("--pace", "0")
    assert "completed" == connect(state).responses.retrieve(job_id).status


def test_there_is_one_server_for_a_folder(state: Path, launch: Launch) -> None:
    """A second server for the same folder refuses and says where the first is."""
    launch()
    running = daemon.find(state)
    assert running is not None
    second = launch(ready=False)
    assert (
        "a local endpoint already runs for this state folder at "
        f"{running.base_url} (bgresp serve --stop)\n"
    ) == ended(second)
    assert 2 == second.returncode
    assert running == daemon.find(state)


def test_a_port_in_use_is_one_line(state: Path, launch: Launch, tmp_path: Path) -> None:
    """A port that another has is named in one line."""
    launch()
    running = daemon.find(state)
    assert running is not None
    port = running.base_url.removesuffix("/v1").rpartition(":")[2]
    other = subprocess.run(
        [
            sys.executable,
            "-m",
            "bgresp.serve",
            "--state",
            tmp_path / "b",
            "--port",
            port,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert 1 == other.returncode
    assert f"cannot listen on 127.0.0.1 port {port}: " in other.stderr
    assert 1 == other.stderr.count("\n")


def test_a_stale_file_is_not_believed(state: Path) -> None:
    """A file that names a living process without its lock is no endpoint."""
    folder = state / "serve"
    folder.mkdir(parents=True)
    stale = {"base_url": "http://127.0.0.1:9/v1", "key": None, "pid": os.getpid()}
    (folder / "endpoint.json").write_text(json.dumps(stale))
    assert daemon.find(state) is None
    assert not daemon.stop(state)


def test_a_server_that_cannot_start_says_why(state: Path) -> None:
    """When the server's process fails, its last words are the error."""
    folder = state / "serve"
    folder.mkdir(parents=True)
    (folder / "jobs").write_text("in the way")
    with pytest.raises(BgrespError, match=r"did not start: .*FileExistsError"):
        daemon.ensure(state, say=print)


def test_a_profile_without_an_engine_is_not_started(state: Path) -> None:
    """Where nothing says what would run the jobs, the demo is not put in its place."""
    with pytest.raises(ConfigError, match="'night' does not say any more"):
        daemon.ensure(state, daemon.Launch("night", engine=None), say=print)
    assert not state.exists()


@pytest.mark.parametrize("name", ["..", ".", "a/b", "ä", "x.y"])
def test_any_name_has_a_folder_of_its_own(tmp_path: Path, name: str) -> None:
    """Whatever a profile is called, its folder lies where all of them lie."""
    folder = daemon.private_folder(tmp_path, name)
    assert tmp_path / "serve" / "profiles" == folder.resolve().parent
    assert folder in [Path(str(found)) for found in daemon.all_folders(tmp_path)]


def test_looking_for_it_is_cheap() -> None:
    """Importing the daemon's side brings no server, no loop and no HTTP."""
    script = (
        "import sys, bgresp.serve.daemon\n"
        "heavy = {'starlette', 'uvicorn', 'asyncio', 'http.client', 'subprocess'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "[]\n" == done.stdout


def test_the_missing_extra_is_named(state: Path) -> None:
    """Without starlette and uvicorn the error says what to install, before a start."""
    script = (
        "import sys, pathlib; sys.path[:] = [p for p in sys.path if 'site-packages'"
        " not in p]\n"
        "from bgresp.serve.daemon import ensure\n"
        "from bgresp.core.errors import ConfigError\n"
        "try: ensure(pathlib.Path(sys.argv[1]), say=print)\n"
        "except ConfigError as error: print(error.message, '|', error.hint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(state)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    said = "the local endpoint needs the extra 'local' | pip install 'bgresp[local]'\n"
    assert said == done.stdout
    assert not state.exists()
