"""The topics' shell lines for cron and clusters, run as they stand."""

import os
import shutil
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests import fakeanswers as fa
from tests.command import empty_config, environment
from tests.fakeserver import FakeServer
from tests.pages import fenced, page

ROWS = 24


def lines(language: str, *words: str) -> list[str]:
    """Return the lines of the topics' blocks in which all words occur."""
    blocks = [
        text
        for topic in ("batch-and-cron", "machines")
        for written, text in fenced(page(topic))
        if written == language
    ]
    every = (line for block in blocks for line in block.splitlines())
    return [line for line in every if all(word in line for word in words)]


pytestmark = pytest.mark.proof


@pytest.fixture
def shell(server: FakeServer, tmp_path: Path) -> "Shell":
    """Run a line as a shell does where bgresp is installed."""
    return Shell(server, tmp_path)


class Shell:
    def __init__(self, server: FakeServer, folder: Path) -> None:
        self.folder = folder
        program = folder / "bin" / "bgresp"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m bgresp "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        rows = (f'{{"id": "r{n}", "text": "{n}"}}\n' for n in range(ROWS))
        (folder / "m.jsonl").write_text("".join(rows))
        (folder / "config.toml").write_text(
            '[profiles.work]\ndialect = "openai"\nrate = 0\n'
        )
        self.env = {
            "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
            "BGRESP_BASE_URL": server.base_url,
            "BGRESP_API_KEY": "k",
            "BGRESP_PROFILE": "work",
            "BGRESP_STATE_DIR": str(folder / "state"),
            "BGRESP_CONFIG": empty_config(folder / "config.toml"),
            "HOME": str(folder),
        }

    def __call__(self, line: str, **variables: str) -> str:
        done = subprocess.run(
            ["sh", "-c", line],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
            cwd=self.folder,
            env=environment({**self.env, **variables}),
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout


def posted(server: FakeServer) -> Counter[str]:
    return Counter(seen.json["input"] for seen in server.creates)


EACH_ONCE = Counter({str(n): 1 for n in range(ROWS)})


def test_slurm(server: FakeServer, shell: Shell) -> None:
    """The variable of an array of jobs leads to the wrong shard, or to none."""
    (slurm,) = lines("sh", "SLURM_ARRAY_TASK_ID")
    for number in range(1, 9):
        count = {"SLURM_ARRAY_TASK_COUNT": "8"}
        shell(slurm, SLURM_ARRAY_TASK_ID=str(number), **count)
    assert EACH_ONCE == posted(server)
    (merge,) = lines("sh", "import --from -")
    shell(merge)
    assert ROWS == len(shell("bgresp list --all -q").split())


def test_kubernetes(server: FakeServer, shell: Shell) -> None:
    """An index that counts from 0 misses the first or the last shard."""
    (line,) = lines("sh", "JOB_COMPLETION_INDEX")
    for index in range(8):
        shell(line, JOB_COMPLETION_INDEX=str(index))
    assert EACH_ONCE == posted(server)


def test_calls_are_answered(server: FakeServer, shell: Shell) -> None:
    """The loop over the calls of a job sends another output, or to another call."""
    (block,) = (text for _, text in fenced(page("scripting")) if "--part tools" in text)
    calls = [
        {"type": "function_call", "call_id": f"call_{n}", "name": "f", "arguments": n}
        for n in "ab"
    ]
    response = {"id": "resp_1", "status": "completed", "output": calls}
    server.script("create", fa.as_json(response))
    for name, what in (("run-tool", "arguments"), ("bin/jq", "call_id")):
        read = f'import json, sys; print(json.load(sys.stdin)["{what}"])'
        program = shell.folder / name
        program.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{read}'\n")
        program.chmod(0o755)
    id_ = shell("bgresp submit -t x -m m").strip()
    shell(block, id=id_)
    sent = server.creates[-1].json
    assert (id_, ["a", "b"]) == (
        sent["previous_response_id"],
        [item["output"] for item in sent["input"]],
    )


@pytest.mark.skipif(
    not shutil.which("parallel"), reason="GNU parallel is not installed"
)
def test_parallel(server: FakeServer, shell: Shell) -> None:
    """Shards that GNU parallel runs at once miss or double a row."""
    (line,) = lines("sh", "parallel ")
    shell(line)
    assert EACH_ONCE == posted(server)


def test_the_crontab(server: FakeServer, shell: Shell) -> None:
    """The crontab submits twice, or mails anything but what did not complete."""
    (shell.folder / "report.txt").write_text("report")
    submit, sync = (
        line.split(None, 5)[5].replace("\\%", "%")
        for line in lines("crontab", "bgresp")
    )
    assert ("", "") == (shell(submit), shell(submit))
    assert 1 == len(server.creates)
    shell("bgresp submit -t fine && bgresp submit -t bad")
    good, fine, bad = (job for job in server.jobs)
    server.script("get", fa.Snapshot("failed"), job=bad)
    server.script("get", fa.Snapshot("completed"), job=good)
    server.script("get", fa.Snapshot("completed"), job=fine)
    assert [bad] == [line.split()[0] for line in shell(sync).splitlines()]
    assert "" == shell(sync)


def test_the_units_are_units(shell: Shell) -> None:
    """A unit names a verb or an option that bgresp does not have."""
    (start,) = lines("ini", "ExecStart")
    words = start.split("=", 1)[1].split()
    hook = shell.folder / "bin" / "on-job-end"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    line = " ".join(["bgresp", *words[1:]]).replace("%h", str(shell.folder))
    assert "" == shell(line)
