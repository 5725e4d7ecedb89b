"""A batch killed at random points and run until done; shards with ledgers of their own."""

import json
import os
import random
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bgresp.core.model import Status
from bgresp.ledger.ledger import Ledger
from tests.command import command, environment
from tests.fakeserver import FakeServer
from tests.proof.conftest import Figure

pytestmark = [pytest.mark.proof, pytest.mark.timeout(3600)]

RUNS = 2_000
# No pace: the kills are to meet requests, not waits.
CONFIG = """\
[profiles.fast]
dialect = "openai"
rate = 0
[profiles.listing]
dialect = "lists"
rate = 0
[dialects.lists]
extends = "openai"
ops = { list = "GET /responses?order=desc&limit={limit}&after={after}" }
limits = { idempotency = "replay" }
"""


HOW = ("-m", "m", "--in-flight", "4")


@dataclass(slots=True)
class Batches:
    """Runs of the real command over one manifest."""

    server: FakeServer
    env: dict[str, str]
    folder: Path
    count: int
    rng: random.Random = field(default_factory=lambda: random.Random(11))
    killed: int = 0
    codes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        rows = (json.dumps({"id": n, "text": n}) + "\n" for n in self.ids)
        (self.folder / "m.jsonl").write_text("".join(rows))
        Path(self.env["BGRESP_CONFIG"]).write_text(CONFIG)

    @property
    def ids(self) -> list[str]:
        return [f"row-{n}" for n in range(self.count)]

    @property
    def posts(self) -> Counter[str]:
        return Counter(seen.json["input"] for seen in self.server.creates)

    def start(self, *args: str, **env: str) -> "subprocess.Popen[bytes]":
        with (self.folder / "out").open("ab") as out, Path(os.devnull).open() as null:
            return subprocess.Popen(
                command("batch", "m.jsonl", *HOW, *args),
                stdin=null,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                env=environment({**self.env, **env}),
            )

    def once(self, requests: int | None, *args: str) -> int:
        """Run it, and kill it a moment after the endpoint heard so many requests."""
        before = len(self.server.requests)
        process = self.start(*args)
        while requests is not None and process.poll() is None:
            if len(self.server.requests) >= before + requests:
                time.sleep(self.rng.uniform(0, 0.03))
                process.kill()
                self.killed += 1
                break
            time.sleep(0.001)
        return process.wait(300)

    def until_done(self, *args: str) -> None:
        """Kill it at random points until it ends by itself."""
        for _ in range(RUNS):
            requests = self.rng.randint(1, max(2, self.count // 3))
            self.codes.append(self.once(requests, *args))
            if self.codes[-1] >= 0:
                return
        raise AssertionError("it never ended")

    def unknown(self, *states: Path) -> set[str]:
        """Return the rows that a ledger does not know the outcome of."""
        ledgers = (Ledger(state) for state in states)
        jobs = (job for ledger in ledgers for job in ledger.newest())
        return {str(job.row) for job in jobs if job.status is Status.UNKNOWN}


def test_a_batch_killed_at_random_points(
    server: FakeServer,
    chosen: dict[str, str],
    tmp_path: Path,
    figure: Figure,
    full: bool,
) -> None:
    """A batch that is killed and run again loses a row in silence, or posts it twice."""
    batches = Batches(server, chosen, tmp_path, 1_000 if full else 60)
    results = ("--results", "r.jsonl")
    batches.until_done("-p", "fast", *results)
    state = Path(chosen["BGRESP_STATE_DIR"])
    unknown = batches.unknown(state)
    process = subprocess.run(
        command("batch", "m.jsonl", *HOW, "-p", "fast", *results),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
        cwd=tmp_path,
        env=environment(chosen),
    )
    doubled = [row for row, count in batches.posts.items() if count > 1]
    silent = set(batches.ids) - set(batches.posts) - unknown
    figure(
        f"batch: {batches.killed} kills -9 in a batch of {batches.count} rows: "
        f"{len(doubled)} posted twice, {len(silent)} missing in silence, "
        f"{len(unknown)} named as unknown"
    )
    assert ([], set()) == (doubled, silent)
    assert (7 if unknown else 0) == process.returncode
    said = process.stderr.decode()
    assert all(f"row '{row}'" in said for row in unknown)
    lines = [
        json.loads(line) for line in (tmp_path / "r.jsonl").read_bytes().splitlines()
    ]
    assert batches.count == len(lines)
    ended = _ids(lines, "completed")
    assert (set(batches.ids) - unknown, unknown) == (ended, _ids(lines, "unknown"))
    assert len(ended) == len(process.stdout.split())
    assert batches.killed >= 2


def test_a_killed_batch_where_the_endpoint_can_tell(
    chosen: dict[str, str], tmp_path: Path, figure: Figure, full: bool
) -> None:
    """With a list or idempotency keys a killed batch leaves a row without its job."""
    with FakeServer(idempotent=True, listing=True) as server:
        env = {**chosen, "BGRESP_BASE_URL": server.base_url}
        batches = Batches(server, env, tmp_path, 1_000 if full else 60)
        batches.until_done("-p", "listing")
        code = batches.once(None, "-p", "listing")
        jobs = len(server.jobs)
    figure(
        f"batch: {batches.killed} kills -9, where the endpoint can tell: "
        f"{jobs} jobs of {batches.count} rows"
    )
    assert (0, batches.count) == (code, jobs)
    rows = {job.row for job in Ledger(Path(env["BGRESP_STATE_DIR"])).newest() if job.id}
    assert set(batches.ids) == rows
    assert batches.killed >= 2


def test_three_shards_with_three_ledgers(
    server: FakeServer,
    chosen: dict[str, str],
    tmp_path: Path,
    figure: Figure,
    full: bool,
) -> None:
    """Shards that run at once, are killed and run again, miss or double a row."""
    batches = Batches(server, chosen, tmp_path, 600 if full else 36)
    states = [tmp_path / f"state-{number}" for number in (1, 2, 3)]

    def start(number: int) -> "subprocess.Popen[bytes]":
        own = {"BGRESP_STATE_DIR": str(states[number - 1])}
        return batches.start("-p", "fast", "--shard", f"{number}/3", **own)

    running = {number: start(number) for number in (1, 2, 3)}
    for number in (1, 2, 3):
        server.wait_for("create", batches.count * number // 12)
        running[number].kill()
        running[number].wait(60)
    codes = [start(number).wait(300) for number in (1, 2, 3)]
    unknown = batches.unknown(*states)
    doubled = [row for row, count in batches.posts.items() if count > 1]
    missing = set(batches.ids) - set(batches.posts)
    figure(
        f"shards: 3 ledgers, {batches.count} rows, each shard killed once: "
        f"{len(doubled)} posted twice, {len(missing - unknown)} missing, "
        f"{len(unknown)} named as unknown"
    )
    assert ([], set()) == (doubled, missing - unknown)
    assert {0, 7} >= set(codes)
    assert bool(unknown) == (7 in codes)
    rows = [str(job.row) for state in states for job in Ledger(state).newest()]
    assert sorted(batches.ids) == sorted(rows)


def _ids(lines: list[Any], status: str) -> set[str]:
    return {line["id"] for line in lines if line["status"] == status}
