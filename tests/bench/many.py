"""What streams and many jobs cost, beside the same by the SDK of OpenAI.

    PEER=/a/venv/bin/python python -m tests.bench.many [--short]

CPU of whole processes, the least of interleaved rounds; of many jobs less what one
takes. PEER is a Python that has the SDK, else this one is asked for it. The rate of a
batch is of the wall clock, beside the same without syncs. Memory is the most that a
process had.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench import ledgers
from tests.bench.endpoint import running
from tests.command import ROOT, command, environment

# At most so many times what the SDK takes; at least so much of the rate; in bytes.
STREAM, BATCH, WAIT = 0.2, 2.5, 1.8
RATE: Final = 0.9
ALL_JOBS, ONE_JOB = 250 << 20, 2 << 10
NOT_FINISHED: Final = 8
PROFILE: Final = """\
[profiles.bench]
dialect = "openai"
rate = 0
connections = {connections}
"""
_STREAM: Final = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="k")
for event in client.responses.retrieve("resp_1", stream=True):
    if event.type == "response.output_text.delta":
        print(event.delta, end="", flush=True)
"""
_MANY: Final = """
import asyncio, sys, openai
base_url, what, count, width = sys.argv[1:]
async def main():
    permits = asyncio.Semaphore(int(width))
    async with openai.AsyncOpenAI(base_url=base_url, api_key="k") as client:
        async def one(number):
            async with permits:
                if what == "create":
                    await client.responses.create(model="m", input=f"Row {number}", background=True)
                else:
                    await client.responses.retrieve(f"resp_{number}")
        await asyncio.gather(*(one(number) for number in range(int(count))))
asyncio.run(main())
"""
_UNSYNCED: Final = """
import os
os.fsync = os.fdatasync = lambda fd: None
from bgresp.__main__ import main
main()
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU and time of the wall in seconds, the most memory in bytes, of a process."""

    cpu: float
    memory: int
    took: float


Way = Callable[[int], Cost]


def cost(argv: list[str], env: dict[str, str], code: int = 0) -> Cost:
    """Run a process whose output nobody reads slowly; return what it cost.

    It has to end with this exit code.
    """
    began = time.perf_counter()
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=told
        )
        assert process.stdout is not None
        while process.stdout.read(1 << 16):
            pass
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        assert process.returncode == code, told.read().decode()
    took = time.perf_counter() - began
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, took)


@dataclass(slots=True)
class Bench:
    """One endpoint, and clients with a state folder for each run."""

    folder: Path
    base_url: str
    peer: str
    _runs: int = 0

    def env(self, state: str, connections: int = 16) -> dict[str, str]:
        """Return the environment of a client with a state folder of that name."""
        config = self.folder / f"config-{connections}.toml"
        config.write_text(PROFILE.format(connections=connections))
        env = environment(
            {
                "BGRESP_BASE_URL": self.base_url,
                "BGRESP_API_KEY": "k",
                "BGRESP_PROFILE": "bench",
                "BGRESP_MODEL": "m",
                "BGRESP_CONFIG": str(config),
                "BGRESP_STATE_DIR": str(self.folder / state),
            }
        )
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        env["PYTHONPATH"] = str(ROOT)
        return env

    def manifest(self, rows: int) -> Path:
        """Write so many rows."""
        path = self.folder / f"rows-{rows}.jsonl"
        made = ({"id": f"row-{n}", "text": f"Row {n}"} for n in range(rows))
        path.write_text("".join(json.dumps(row) + "\n" for row in made))
        return path

    def fresh(self) -> str:
        """Return the name of a state folder that is not there yet."""
        self._runs += 1
        return f"state-{self._runs}"

    def batch(self, rows: int, state: str, *, synced: bool = True) -> Cost:
        """Submit so many rows; without syncs nothing of them survives a power cut."""
        argv = command("batch", str(self.manifest(rows)), "-q")
        if not synced:
            argv = [sys.executable, "-c", _UNSYNCED, *argv[3:]]
        return cost(argv, self.env(state))

    def wait(self, rows: int, connections: int = 16) -> Cost:
        """Wait for so many rows that were submitted."""
        state = self.fresh()
        self.batch(rows, state)
        argv = command("wait", "--group", f"rows-{rows}")
        return cost(argv, self.env(state, connections))

    def wait_open(self, jobs: int, seconds: int) -> Cost:
        """Wait for so many jobs that go on, and leave them after so many seconds."""
        state = self.fresh()
        records = ledgers.of_open(self.base_url, "bench")
        ledgers.write(self.folder / state, jobs, records)
        env = self.env(state)
        cost(command("list", "--json", "--limit", "1"), env)  # makes the index
        argv = command("wait", "--group", ledgers.GROUP, "--timeout", f"{seconds}s")
        return cost(argv, env, NOT_FINISHED)

    def stream(self) -> Cost:
        """Watch a job that streams."""
        state = self.fresh()
        env = self.env(state)
        cost(command("submit", "-t", "x", "--stream"), env)
        return cost(command("watch", "@1", "--mode", "stream"), env)

    def sdk_stream(self) -> Cost:
        """Read the same stream by the SDK."""
        return cost([self.peer, "-c", _STREAM, self.base_url], os.environ.copy())

    def sdk(self, what: str, rows: int, width: int = 16) -> Cost:
        """Create or retrieve so many by the SDK."""
        argv = [self.peer, "-c", _MANY, self.base_url, what, str(rows), str(width)]
        return cost(argv, os.environ.copy())


def least(rounds: int, ways: Mapping[str, Callable[[], Cost]]) -> dict[str, float]:
    """Return the least CPU of each way, over rounds of all."""
    found = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            found[name] = min(found[name], way().cpu)
    return found


@dataclass(frozen=True, slots=True)
class Table:
    """What is measured, each beside the SDK where that is installed."""

    bench: Bench
    rounds: int
    has_peer: bool

    def stream(self, deltas: int) -> None:
        """Tell of a stream of so many deltas, start-up included."""
        ways = {"ours": self.bench.stream}
        ways |= {"sdk": self.bench.sdk_stream} if self.has_peer else {}
        found = least(self.rounds, ways)
        name = f"{deltas:,} deltas into a pipe"
        tell(found, name, deltas, "a delta", limit=STREAM)

    def batch(self, rows: int) -> None:
        """Tell of a batch of so many rows, less what one row costs."""
        self._each(
            f"batch of {rows:,} rows",
            lambda count: self.bench.batch(count, self.bench.fresh()),
            lambda count: self.bench.sdk("create", count),
            rows,
            limit=BATCH,
        )

    def rate(self, rows: int) -> None:
        """Tell of how much slower a batch is for its syncs; the best of the rounds."""
        bench, best = self.bench, {True: float("inf"), False: float("inf")}
        for _ in range(self.rounds):
            for synced, least_so_far in list(best.items()):
                took = bench.batch(rows, bench.fresh(), synced=synced).took
                best[synced] = min(least_so_far, took)
        times = best[False] / best[True]
        name = f"batch of {rows:,} rows"
        say(f"{name}: {times:.2f} x the rate without syncs (at least {RATE})")

    def memory(self, few: int, many: int, seconds: int) -> None:
        """Tell of the memory of waiting for many jobs, and for one more of them."""
        less = self.bench.wait_open(few, seconds).memory
        most = self.bench.wait_open(many, seconds).memory
        each = (most - less) / (many - few) / 1024
        say(
            f"{many:,} open jobs waited for: {most >> 20} MiB"
            f" (100,000: at most {ALL_JOBS >> 20}), {each:.1f} KiB each"
            f" (at most {ONE_JOB >> 10})"
        )

    def wait(self, rows: int, connections: int) -> None:
        """Tell of waiting for so many jobs that are over, less what one costs."""
        self._each(
            f"wait for {rows:,} jobs on {connections} connections",
            lambda count: self.bench.wait(count, connections),
            lambda count: self.bench.sdk("retrieve", count),
            rows,
            limit=WAIT,
        )

    def _each(self, name: str, ours: Way, sdk: Way, rows: int, *, limit: float) -> None:
        ways = {"ours": partial(ours, rows), "one": partial(ours, 1)}
        if self.has_peer:
            ways |= {"sdk": partial(sdk, rows), "one sdk": partial(sdk, 1)}
        found = least(self.rounds, ways)
        less = {"ours": found["ours"] - found["one"]}
        if self.has_peer:
            less["sdk"] = found["sdk"] - found["one sdk"]
        tell(less, name, rows, "each", limit=limit)


def say(line: str) -> None:
    """Print a line of the table at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def tell(
    found: Mapping[str, float], name: str, count: int, one: str, *, limit: float
) -> None:
    """Tell of CPU, and how much of the SDK's it is."""
    line = f"{name}: {1e3 * found['ours'] / count:.3f} ms {one}"
    if "sdk" in found:
        times, theirs = found["ours"] / found["sdk"], 1e3 * found["sdk"] / count
        line += f", {times:.2f} x the SDK's {theirs:.3f} ms"
    say(f"{line} (at most {limit} x the SDK's)")


def main(*, short: bool) -> None:
    """Print the table."""
    rounds, deltas = (1, 4_000) if short else (3, 60_000)
    rows, many = (50, 200) if short else (1000, 10_000)
    open_jobs = (1_000, 6_000, 3) if short else (10_000, 100_000, 60)
    peer = os.environ.get("PEER", sys.executable)
    probe = [peer, "-c", "import openai"]
    has_peer = not subprocess.run(probe, capture_output=True, check=False).returncode
    with tempfile.TemporaryDirectory() as made, running(deltas) as base_url:
        bench = Bench(Path(made), base_url, peer)
        Table(bench, rounds, has_peer).stream(deltas)
        table = Table(bench, rounds, has_peer and not short)
        table.batch(rows)
        table.rate(many)
        for connections in (10, 200):
            table.wait(rows, connections)
        table.memory(*open_jobs)


if __name__ == "__main__":
    main(short="--short" in sys.argv[1:])
