"""What bgresp costs, each figure beside its limit; a limit that is missed fails nothing.

    PEER=/a/venv/bin/python python -m tests.bench [--short] [--instructions]

Prints a table. CPU of the whole process beside `python -c pass`, the least of
interleaved rounds, of our commands and of the peers that are installed; beside the same
commands on a ledger of few jobs, those on one of 100 000 and of 1 000 000. Then streams,
many jobs and their memory (`many`), and live views (`board`). It takes half an hour and
1 GB of the temporary folder; `--short` takes half a minute, three rounds and a ledger of
2 000 jobs. `--instructions` counts the commands alone, by valgrind: a busy machine
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

from tests.bench import ledgers
from tests.bench.board import main as board
from tests.bench.endpoint import running
from tests.bench.many import main as many_jobs
from tests.command import ROOT, environment

FEW: Final = 20
ROOM: Final = 2 << 30  # bytes that must be free for the largest ledger
ONE: Final = "python -c pass"
# Of a ledger that holds few jobs, and of one that holds many.
COMMANDS: Final = (
    *("list --json", "list --open --json", "status ID --local --json", "get ID"),
    *("wait ID", "list"),
)
SDK: Final = "openai SDK of the same"
PEERS: Final = ("curl --version", "gh --version", "http --version", "llm --version")
SUBMIT: Final = "submit -t hello -m m"
# At most so many times `python -c pass`.
LIMITS: Final = {
    "--version": 1.5,
    **dict.fromkeys(COMMANDS[:-1], 5.0),
    "list, on a terminal": 10.0,
    "--help": 7.5,
    SUBMIT: 13.0,
}
LARGER: Final = 1.3  # times the same on a ledger of few jobs
BESIDE_SDK: Final = 0.2
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
        id_ = ledgers.ident(jobs - 1)
        argv = [sys.executable, "-m", "bgresp", *words.replace("ID", id_).split()]
        self.add(f"bgresp {words}{where}", argv, state=str(jobs), shown=shown)


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


def cases(folder: Path, base_url: str, sizes: list[int]) -> dict[str, Case]:
    """Return what is measured, by its name, on ledgers of more than few jobs, too."""
    made = Cases(folder, base_url)
    made.add(ONE, [sys.executable, "-c", "pass"])
    for words in ("--version", *COMMANDS, "--help"):
        made.ours(words, jobs=FEW)
    made.ours("list", jobs=FEW, where=", on a terminal", shown=True)
    made.ours(SUBMIT, jobs=FEW)
    for many in sizes:
        for words in (*COMMANDS[:4], SUBMIT):
            made.ours(words, jobs=many, where=in_ledger(many))
    url, sent = f"{base_url}/responses", ["-H", "Content-Type: application/json"]
    made.add("curl of the same", ["curl", "-s", *sent, "-d", BODY, url])
    argv = ["http", "--ignore-stdin", "POST", url, "model=m", "input=hello"]
    made.add("httpie of the same", argv)
    made.add(SDK, [os.environ.get("PEER", sys.executable), "-c", _SDK, base_url])
    for peer in PEERS:
        made.add(peer, peer.split())
    return made.found


def in_ledger(jobs: int) -> str:
    """Return where a command is measured, behind its words."""
    return f", {jobs:,} jobs in the ledger"


def tell(times: float, name: str, limit: float | None = None) -> None:
    """Print a line of the table."""
    most = "" if limit is None else f"  (at most {limit:g})"
    sys.stdout.write(f"{times:7.2f} x  {name}{most}\n")
    sys.stdout.flush()


def sizes_of(folder: Path, *, short: bool) -> list[int]:
    """Return how many jobs the ledgers of many hold, the largest if there is room."""
    if short:
        return [2_000]
    if shutil.disk_usage(folder).free >= ROOM:
        return [100_000, 1_000_000]
    sys.stdout.write(f"no room in {folder} for a ledger of 1,000,000 jobs\n")
    return [100_000]


def main(*, short: bool, count: Callable[[Case], float]) -> None:
    """Print the table."""
    rounds = 1 if count is instructions else 3 if short else 15
    with tempfile.TemporaryDirectory() as made, running(0) as base_url:
        folder = Path(made)
        sizes = sizes_of(folder, short=short)
        for size in (FEW, *sizes):
            records = ledgers.of_ended("https://api.example.com/v1")
            ledgers.write(folder / str(size), size, records)
        measured = cases(folder, base_url, sizes)
        for case in (*measured.values(), *measured.values()):  # compiled, and indexed
            cpu(case)
        taken: dict[str, list[float]] = {name: [] for name in measured}
        for _ in range(rounds):
            for name, case in measured.items():
                taken[name].append(count(case))
    table({name: min(times) for name, times in taken.items()}, sizes)
    if count is cpu:
        many_jobs(short=short)
        board()


def table(least: dict[str, float], sizes: list[int]) -> None:
    """Print what commands cost, and how much more on larger ledgers."""
    for name, time in least.items():
        tell(time / least[ONE], name, LIMITS.get(name.removeprefix("bgresp ")))
    for size in sizes:
        for words in (*COMMANDS[:4], SUBMIT):
            name = f"bgresp {words}"
            times = least[name + in_ledger(size)] / least[name]
            tell(times, f"{name}{in_ledger(size)} / {FEW}", LARGER)
    if SDK in least:
        tell(least[f"bgresp {SUBMIT}"] / least[SDK], f"submit / {SDK}", BESIDE_SDK)


if __name__ == "__main__":
    by_valgrind = "--instructions" in sys.argv[1:]
    main(short="--short" in sys.argv[1:], count=instructions if by_valgrind else cpu)
