"""What commands cost, each beside `python -c pass` in the same run; never a failure.

    python -m tests.bench [--short] [--instructions]

Prints a table: CPU of the whole process as a ratio, the least of interleaved rounds, for
our commands on a ledger of a few jobs and of many, on a terminal, and sending to an
endpoint on loopback; and for the peers that are installed. `--short` takes three rounds
and a ledger of 2 000 jobs. `--instructions` counts by valgrind instead: a busy machine
changes nothing of that.
"""

import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Final

from bgresp.core.model import EndedWith, Job, Status, Usage
from bgresp.ledger.line import encode, new_key
from tests.bench.board import main as board
from tests.bench.endpoint import running
from tests.bench.many import main as many_jobs
from tests.command import ROOT, environment

FEW: Final = 20
NOW: Final = 1_780_000_000.0
ONE: Final = "python -c pass"
# Of a ledger that holds few jobs, and of one that holds many.
COMMANDS: Final = (
    *("list --json", "list --open --json", "status ID --local --json", "get ID"),
    *("wait ID", "list"),
)
PEERS: Final = ("curl --version", "gh --version", "http --version", "llm --version")
SUBMIT: Final = "submit -t hello -m m"
BODY: Final = json.dumps({"model": "m", "input": "hello", "background": True})
_SDK: Final = (
    "import openai, sys; client = openai.OpenAI(base_url=sys.argv[1], api_key='k');"
    "client.responses.create(model='m', input='hello', background=True)"
)


@dataclass(frozen=True, slots=True)
class Case:
    """A command that is measured; `shown`: its stdout is a terminal."""

    argv: list[str]
    env: dict[str, str]
    shown: bool = False


@dataclass(slots=True)
class Cases:
    """What is measured, by its name."""

    folder: Path
    base_url: str
    found: dict[str, Case] = field(default_factory=dict)

    def add(
        self, name: str, argv: list[str], *, state: str = "", shown: bool = False
    ) -> None:
        """Take a command, if its program is installed."""
        env = environment({"BGRESP_CONFIG": str(self.folder / "config.toml")})
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody compiles at every start
        env |= {"BGRESP_STATE_DIR": str(self.folder / state), "PYTHONPATH": str(ROOT)}
        env |= {"BGRESP_BASE_URL": self.base_url, "BGRESP_API_KEY": "k"}
        if shutil.which(argv[0]):
            self.found[name] = Case(argv, env | {"TERM": "xterm"}, shown)

    def ours(
        self, words: str, *, jobs: int, where: str = "", shown: bool = False
    ) -> None:
        """Take a command of ours, on a ledger of so many jobs."""
        argv = [
            sys.executable,
            "-m",
            "bgresp",
            *words.replace("ID", ident(jobs)).split(),
        ]
        self.add(f"bgresp {words}{where}", argv, state=str(jobs), shown=shown)


def ident(jobs: int) -> str:
    """Return the id of the newest of so many jobs."""
    return f"resp_{jobs - 1:048x}"


def filled(state: Path, jobs: int) -> None:
    """Write a ledger of jobs that completed, and the answer of the newest."""
    (state / "responses").mkdir(mode=0o700, parents=True)
    state.chmod(0o700)
    last = None
    with (state / "ledger.jsonl").open("wb") as file:
        for number in range(jobs):
            last = new_key(NOW + number, number, after=last)
            job = Job(
                key=last,
                name=f"name-{number}",
                dialect="openai",
                base_url="https://api.example.com/v1",
                submitted_at=NOW + number,
            )
            file.write(encode(job))
            done = job._replace(
                id=f"resp_{number:048x}",
                status=Status.COMPLETED,
                usage=Usage(1, 2, 3),
                ended_with=EndedWith.TEXT,
            )
            file.write(encode(done))
    part = {"type": "output_text", "text": "The quick brown fox."}
    message = {"type": "message", "role": "assistant", "content": [part]}
    answer = {"id": "resp_1", "status": "completed", "output": [message]}
    path = state / "responses" / f"{last}.json"
    path.write_text(json.dumps(answer))


def cpu(case: Case) -> float:
    """Return the CPU seconds of a process."""
    terminal, out = pty.openpty() if case.shown else (None, subprocess.DEVNULL)
    process = subprocess.Popen(
        case.argv,
        env=case.env,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.DEVNULL,
    )
    if terminal is not None:
        os.close(out)
        Thread(target=_drain, args=(terminal,), daemon=True).start()
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0  # it was waited for here
    return usage.ru_utime + usage.ru_stime


def _drain(terminal: int) -> None:
    with suppress(OSError):  # whoever wrote to it is gone
        while os.read(terminal, 4096):
            pass
    os.close(terminal)


def instructions(case: Case) -> float:
    """Return the instructions of a process, as valgrind counts them."""
    with tempfile.NamedTemporaryFile("r") as file:
        tool = ["valgrind", "--tool=callgrind", f"--log-file={file.name}"]
        argv = [*tool, "--callgrind-out-file=/dev/null", *case.argv]
        cpu(Case(argv, case.env, case.shown))
        [line] = [line for line in file if "Collected" in line]
    return float(line.split(":")[1])


def cases(folder: Path, base_url: str, many: int) -> dict[str, Case]:
    """Return what is measured, by its name."""
    made = Cases(folder, base_url)
    made.add(ONE, [sys.executable, "-c", "pass"])
    for words in ("--version", *COMMANDS, "--help"):
        made.ours(words, jobs=FEW)
    made.ours("list", jobs=FEW, where=", on a terminal", shown=True)
    for words in (*COMMANDS[:4], SUBMIT):
        made.ours(words, jobs=many, where=f", {many:,} jobs in the ledger")
    made.ours(SUBMIT, jobs=FEW)
    url, sent = f"{base_url}/responses", ["-H", "Content-Type: application/json"]
    made.add("curl of the same", ["curl", "-s", *sent, "-d", BODY, url])
    argv = ["http", "--ignore-stdin", "POST", url, "model=m", "input=hello"]
    made.add("httpie of the same", argv)
    made.add("openai SDK of the same", [sys.executable, "-c", _SDK, base_url])
    for peer in PEERS:
        made.add(peer, peer.split())
    return made.found


def main(*, short: bool, count: Callable[[Case], float]) -> None:
    """Print the table."""
    many = 2_000 if short else 100_000
    rounds = 1 if count is instructions else 3 if short else 15
    with tempfile.TemporaryDirectory() as made, running(0) as base_url:
        folder = Path(made)
        for size in (FEW, many):
            filled(folder / str(size), size)
        measured = cases(folder, base_url, many)
        for case in (*measured.values(), *measured.values()):  # compiled, and indexed
            cpu(case)
        taken: dict[str, list[float]] = {name: [] for name in measured}
        for _ in range(rounds):
            for name, case in measured.items():
                taken[name].append(count(case))
    one = min(taken[ONE])
    for name, times in taken.items():
        sys.stdout.write(f"{min(times) / one:7.2f} x  {name}\n")
    sys.stdout.flush()
    if count is cpu:
        many_jobs(short=short)
        board()


if __name__ == "__main__":
    by_valgrind = "--instructions" in sys.argv[1:]
    main(short="--short" in sys.argv[1:], count=instructions if by_valgrind else cpu)
