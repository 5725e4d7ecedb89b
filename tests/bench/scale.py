"""What a job costs, in batches of growing size, at the local endpoint.

    python -m tests.bench.scale 10 1000 10000

Prints the README's table: CPU and requests of the client for a row submitted and for a
row waited for, what it keeps on disk, and the most memory that any command took.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.command import command, environment

READY = "listening on "


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds and requests of one command, and its peak memory in bytes."""

    cpu: float
    memory: int
    requests: int


@dataclass(frozen=True, slots=True)
class Bench:
    """A running endpoint, and a client with a state folder of its own."""

    folder: Path
    env: dict[str, str]

    def run(self, *args: str) -> Cost:
        """Run the command to its end; return what it cost."""
        before = self._requests()
        process = subprocess.Popen(
            command(*args),
            env=environment(self.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        told = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, told
        return Cost(
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * 1024,
            self._requests() - before,
        )

    def disk(self) -> int:
        """Return the bytes that the client keeps, as files take them."""
        files = (path for path in (self.folder / "state").rglob("*") if path.is_file())
        return sum(path.stat().st_size for path in files)

    def _requests(self) -> int:
        os.kill(int((self.folder / "pid").read_text()), signal.SIGUSR1)
        signal.sigtimedwait([signal.SIGUSR2], 30)
        counted: Counter[str] = Counter(json.loads((self.folder / "seen").read_text()))
        return counted.total()


def main(sizes: list[int]) -> None:
    """Print the table."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    _tell("| jobs | submit: CPU | requests | wait: CPU | requests | disk | memory |")
    _tell("|---|---|---|---|---|---|---|")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder, _endpoint(Path(folder)) as bench:
            manifest = bench.folder / "rows.jsonl"
            rows = (
                {"id": f"row-{n}", "text": f"Row {n}, please."} for n in range(size)
            )
            manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
            sent = bench.run("batch", str(manifest), "-m", "demo", "--in-flight", "16")
            got = bench.run("wait", "--group", "rows")
            listed = bench.run("list", "--json", "--limit", "50")
            most = max(cost.memory for cost in (sent, got, listed))
            _tell(
                f"| {size:,} | {1000 * sent.cpu / size:.1f} ms "
                f"| {sent.requests / size:.2f} | {1000 * got.cpu / size:.1f} ms "
                f"| {got.requests / size:.2f} | {bench.disk() / size / 1024:.1f} KiB "
                f"| {most / 2**20:.0f} MiB |"
            )


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@contextmanager
def _endpoint(folder: Path) -> Iterator[Bench]:
    """Run the local endpoint with the fastest demo there is."""
    argv = [sys.executable, "-m", "tests.bench.scale", "--serve", str(folder)]
    process = subprocess.Popen(
        argv, stderr=subprocess.PIPE, text=True, env=environment({})
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith(READY), line
        env = {
            "BGRESP_BASE_URL": line.removeprefix(READY).split()[0],
            "BGRESP_STATE_DIR": str(folder / "state"),
            "BGRESP_CONFIG": str(folder / "config.toml"),
            "BGRESP_PROFILE": "bench",
        }
        profile = '[profiles.bench]\ndialect = "local"\n'
        (folder / "config.toml").write_text(profile)
        yield Bench(folder, env)
    finally:
        process.terminate()
        process.wait()


def _serve(folder: Path) -> None:
    """Be the endpoint; count requests, and write the counts down at SIGUSR1."""
    from bgresp.serve import http, server
    from bgresp.serve.engine_options import EngineOptions

    seen: Counter[str] = Counter()
    plain = http.quiet_server

    def counting(app: Any) -> Any:
        async def counted(scope: Any, receive: Any, send: Any) -> None:
            seen[scope.get("method", "")] += 1
            await app(scope, receive, send)

        return plain(counted)

    def tell(*_: object) -> None:
        (folder / "seen").write_text(json.dumps(seen))
        os.kill(os.getppid(), signal.SIGUSR2)

    signal.signal(signal.SIGUSR1, tell)
    (folder / "pid").write_text(str(os.getpid()))
    vars(http)["quiet_server"] = counting
    server.run(server.ServeOptions(folder / "endpoint", engine=EngineOptions(pace=0.0)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        _serve(Path(sys.argv[2]))
    else:
        main([int(size) for size in sys.argv[1:]] or [10, 1000])
