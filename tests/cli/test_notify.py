"""`--notify`: told of each job that ended, once ever, and harmless whatever it does."""

import asyncio
import json
import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bgresp.core.model import Job, Status
from bgresp.engine.notify import TIMEOUT, Notifier, argv_of
from bgresp.engine.recorder import Recorder
from tests.cli.ledger import ident, seed
from tests.cli.processes import Start, eventually
from tests.command import Run
from tests.fakeserver import FakeServer
from tests.serve.endpoints import is_gone

APPEND = "import sys; open('told', 'a').write(sys.stdin.read())"


def hook(code: str = APPEND) -> str:
    return shlex.join([sys.executable, "-c", code])


def told(folder: Path) -> list[Any]:
    path = folder / "told"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("verb", ["sync", "watch", "wait", "batch"])
def test_each_verb_tells_once(
    server: FakeServer, bgresp: Run, tmp_path: Path, verb: str
) -> None:
    """The job's record comes on stdin; no later command tells of it again."""
    (tmp_path / "m.jsonl").write_text('{"id":"a","text":"x"}\n')
    bgresp("batch", "m.jsonl", "-m", "m")
    (job,) = json.loads(bgresp("list", "--json").out)
    server.script("get", *[]) if verb != "sync" else bgresp("status", job["id"])
    args = {"watch": [job["id"]], "wait": [job["id"]], "batch": ["m.jsonl", "--wait"]}
    words = (verb, *args.get(verb, []), *(["-m", "m"] if verb == "batch" else []))
    ran = bgresp(*words, "--notify", hook())
    assert 0 == ran.code, ran.err
    (record,) = told(tmp_path)
    assert ("bgresp.job/1", job["id"], "completed", "text") == tuple(
        record[name] for name in ("schema", "id", "status", "ended_with")
    )
    for again in (("watch", job["id"]), ("wait", job["id"]), ("sync",)):
        assert 0 == bgresp(*again, "--notify", hook()).code
    assert 1 == len(told(tmp_path))


def test_two_at_once_tell_once(
    server: FakeServer, start: Start, state: Path, tmp_path: Path
) -> None:
    """Of several processes that see a job end, one tells."""
    seed(state, *[{"status": "completed", "text": "x"}] * 10)
    words = ("wait", "--all", "--notify", hook())
    both = [start(*words) for _ in range(3)]
    assert [0, 0, 0] == [one.finish().code for one in both]
    assert 10 == len(told(tmp_path)) == len({job["key"] for job in told(tmp_path)})


def test_an_open_job_is_not_told_of(
    server: FakeServer, bgresp: Run, state: Path, tmp_path: Path
) -> None:
    """Only what ended is news: here a failed job, and no open or lost submit."""
    seed(state, {"status": "failed", "text": ""}, {"status": "unknown", "id": None})
    bgresp("wait", "--all", "--timeout", "0.1", "--notify", hook())
    assert ["failed"] == [job["status"] for job in told(tmp_path)]


def test_a_hook_is_told_how_an_answer_ended(
    bgresp: Run, state: Path, tmp_path: Path
) -> None:
    """`ended_with` is told of a record of an older version, too."""
    done = {"status": "completed", "text": "x"}
    seed(state, done, {**done, "text": ""})
    bgresp("wait", "--all", "--notify", hook())
    ends = {record["id"]: record["ended_with"] for record in told(tmp_path)}
    assert {ident(1): "text", ident(2): "nothing"} == ends


@pytest.mark.parametrize(
    ("code", "said"),
    [("raise SystemExit(3)", "ended with 3"), ("print('loud')", "loud\n")],
)
def test_a_failing_hook_harms_nothing(
    bgresp: Run, state: Path, code: str, said: str
) -> None:
    """One warning, the usual exit code, and nothing of it on stdout."""
    seed(state, *[{"status": "completed", "text": "x"}] * 3)
    ran = bgresp("wait", "--all", "--notify", hook(code))
    assert (0, "") == (ran.code, ran.out)
    assert said in ran.err
    assert ran.err.count("bgresp:") == ("ended" in said)


class _Loop(asyncio.SelectorEventLoop):
    """A loop whose clock can be put forward, while programs run in the real world."""

    late = 0.0

    def time(self) -> float:
        return super().time() + self.late


def test_a_hanging_hook_is_stopped(tmp_path: Path) -> None:
    """It is killed with all that it started, and one line says so."""
    said: list[str] = []
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $$ $! >> {shlex.quote(str(pids))}; wait"

    def started() -> list[int]:
        return [int(pid) for pid in pids.read_text().split()] if pids.exists() else []

    async def main() -> None:
        recorder, environ = Recorder.at(tmp_path / "state"), {**os.environ}
        command = shlex.join(["sh", "-c", script])
        notifier = Notifier(argv_of(command), recorder, said.append, lambda _: environ)
        notifier.recorder.ledger.prepare()
        for number in range(2):
            notifier.tell(Job(key=f"K{number}", status=Status.FAILED))
        drained = asyncio.create_task(notifier.drain())
        while not drained.done():
            await asyncio.wait([drained], timeout=0.01)
            loop.late += TIMEOUT if len(started()) == 4 else 0.0

    loop = _Loop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
    assert [True] == ["was stopped after 60 s" in line for line in said]
    for pid in started():
        eventually(partial(is_gone, pid), f"the end of {pid}")


def test_a_hook_that_is_no_program(bgresp: Run, state: Path) -> None:
    """It is refused before anything is asked."""
    seed(state, {"status": "queued"})
    for command in ("no-such-program-here", "", "'"):
        ran = bgresp("wait", "--all", "--notify", command)
        assert (2, True) == (ran.code, "--notify" in ran.err)


def test_submit_tells_when_it_waits(
    server: FakeServer, bgresp: Run, tmp_path: Path
) -> None:
    """A submit that waits for its job tells of it; one that does not is refused."""
    ran = bgresp("submit", "-t", "x", "-m", "m", "--wait", "--notify", hook())
    assert 0 == ran.code, ran.err
    (record,) = told(tmp_path)
    assert (ran.out.strip(), "completed") == (record["id"], record["status"])
    assert Path(record["answer_path"]).exists()
    refused = bgresp("submit", "-t", "x", "-m", "m", "--notify", hook())
    assert (2, True) == (refused.code, "--notify needs" in refused.err)
    assert 1 == len(server.creates)


def test_a_profile_says_who_is_told(
    server: FakeServer, bgresp: Run, tmp_path: Path
) -> None:
    """`notify` in a profile is told of that profile's jobs, unless --notify is given."""
    words = json.dumps([sys.executable, "-c", APPEND])
    (tmp_path / "config" / "config.toml").write_text(
        f'[profiles.a]\nbase_url = "{server.base_url}"\nmodel = "m"\n'
        f'api_key_env = "KEY"\nnotify = {words}\n'
        f'[profiles.b]\nbase_url = "{server.base_url}"\nmodel = "m"\n'
        'api_key_env = "KEY"\n'
    )
    env = {"KEY": "k", "BGRESP_BASE_URL": None, "BGRESP_API_KEY": None}
    for profile in ("a", "b"):
        assert 0 == bgresp("submit", "-t", "x", "-p", profile, env=env).code
    assert 0 == bgresp("wait", "--all", env=env).code
    assert ["a"] == [record["profile"] for record in told(tmp_path)]
    other = hook("import sys; open('other', 'a').write('x')")
    assert 0 == bgresp("wait", "--all", "--notify", other, env=env).code
    assert "x" == (tmp_path / "other").read_text()  # of b: a's end was told


def test_each_outcome_is_told_once(bgresp: Run, state: Path, tmp_path: Path) -> None:
    """A job that ends otherwise after all is news again; a mark of 0.1 counts for all."""
    seed(state, *[{"status": "cancelled", "text": ""}] * 2)
    (first, second) = json.loads(bgresp("list", "--json").out)
    (state / "notices").mkdir()
    (state / "notices" / second["key"]).touch()
    bgresp("wait", "--all", "--notify", hook())
    bgresp("wait", "--all", "--notify", hook())
    line = (state / "ledger.jsonl").read_text().splitlines()
    for number in range(2):
        done = {**json.loads(line[number]), "status": "completed"}
        with (state / "ledger.jsonl").open("a") as file:
            file.write(json.dumps(done) + "\n")
    bgresp("wait", "--all", "--notify", hook())
    outcomes = [(one["key"], one["status"]) for one in told(tmp_path)]
    assert [(first["key"], "cancelled"), (first["key"], "completed")] == outcomes
