"""What commands cost, each beside `python -c pass` in the same run; never a failure.

`python -m tests.bench` prints a table: CPU of the whole process as a ratio, the least of
interleaved rounds, for our commands on a ledger of a few jobs and of many, and for the
peers that are installed. `--short` takes three rounds and a ledger of 2 000 jobs.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from bgresp.core.model import EndedWith, Job, Status, Usage
from bgresp.ledger.line import encode, new_key
from tests.bench.board import main as board
from tests.bench.many import main as many_jobs
from tests.command import ROOT, environment

FEW: Final = 20
NOW: Final = 1_780_000_000.0
COMMANDS: Final = (
    *("--version", "list --json", "status @1 --local --json", "get @1", "wait @1"),
    *("list", "--help"),
)
PEERS: Final = ("curl --version", "gh --version", "http --version", "llm --version")


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


def cpu(argv: list[str], env: dict[str, str]) -> float:
    """Return the CPU seconds of a process."""
    process = subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0  # it was waited for here
    return usage.ru_utime + usage.ru_stime


def cases(folder: Path, many: int) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Return what is measured, by its name."""
    base = environment({"BGRESP_CONFIG": str(folder / "config.toml")})
    base.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody compiles at every start
    base["PYTHONPATH"] = str(ROOT)
    found = {"python -c pass": ([sys.executable, "-c", "pass"], base)}
    for size in (FEW, many):
        env = {**base, "BGRESP_STATE_DIR": str(folder / str(size))}
        for words in COMMANDS if size == FEW else COMMANDS[1:4]:
            argv = [sys.executable, "-m", "bgresp", *words.split()]
            found[f"bgresp {words} ({size:,} jobs)"] = (argv, env)
    for peer in PEERS:
        if shutil.which(peer.split()[0]):
            found[peer] = (peer.split(), base)
    script = [sys.executable, "-c", "import openai; openai.OpenAI"]
    found["import openai (the SDK)"] = (script, base)
    return found


def main(*, short: bool) -> None:
    """Print the table."""
    rounds, many = (3, 2_000) if short else (15, 100_000)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for size in (FEW, many):
            filled(folder / str(size), size)
        measured = cases(folder, many)
        for case in measured.values():  # compiled, and indexed
            cpu(*case)
        taken: dict[str, list[float]] = {name: [] for name in measured}
        for _ in range(rounds):
            for name, case in measured.items():
                taken[name].append(cpu(*case))
    one = min(taken["python -c pass"])
    for name, times in taken.items():
        sys.stdout.write(f"{min(times) / one:7.2f} x  {name}\n")
    sys.stdout.flush()
    many_jobs(short=short)
    board()


if __name__ == "__main__":
    main(short="--short" in sys.argv[1:])
