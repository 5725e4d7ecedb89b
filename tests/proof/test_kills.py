"""T1 and T2: kill -9 at uniformly random instants of a submit; the server counts."""

import os
import random
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bgresp.core.model import Job
from bgresp.ledger.ledger import Ledger
from tests.command import command, environment
from tests.proof.conftest import Bench, Figure

pytestmark = [pytest.mark.proof, pytest.mark.timeout(3600)]

PER_LEDGER = 100


@dataclass(slots=True)
class Trials:
    """Submits, each killed at a random instant; a ledger takes a hundred."""

    bench: Bench
    usual: float = 0.0
    killed: int = 0
    readable: int = 0
    dead: int = 0

    def measure(self) -> None:
        """Learn how long a submit takes."""
        self.bench.warm()
        argvs = [["submit", "-t", f"measured {n}"] for n in range(9)]
        ends = [self.bench.warmed.run(self.bench.task(argv))[0] for argv in argvs]
        self.usual = 1.15 * sorted(end.seconds for end in ends)[6]

    def state(self, trial: int) -> Path:
        """Return the state folder of a trial."""
        return self.bench.folder / f"state-{trial // PER_LEDGER}"

    def out(self, trial: int) -> Path:
        """Return where the ids of a trial are printed."""
        return self.bench.folder / f"ids-{trial // PER_LEDGER}"

    def run(self, trial: int, after: float) -> None:
        """Kill a submit; then look at its ledger, and submit again under its key."""
        state = self.state(trial)
        argv = ["submit", "-t", f"trial {trial}"]
        argv += ["--key", f"key {trial}"] if trial % 2 else []
        env = {**self.bench.env, "BGRESP_STATE_DIR": str(state)}
        task = replace(self.bench.task(argv, out=self.out(trial)), env=env)
        [end] = self.bench.warmed.run(replace(task, kill_after=after))
        self.killed += end.code == -9
        ledger = Ledger(state)
        newest = next(ledger.newest(), None)
        self.readable += not ledger.bad
        if newest is not None and newest.status == "submitting":
            assert ledger.is_dead(newest)
            self.dead += 1
        if trial % 2:
            [again] = self.bench.warmed.run(replace(task, out=os.devnull))
            assert again.code in {0, 7}
        elif trial % 50 == 0:
            list_ = replace(task, argvs=[["list"]], out=os.devnull)
            [listed] = self.bench.warmed.run(list_)
            assert 0 == listed.code
            with Ledger(state).submitting(Job(key="")) as job:
                assert job.key > (newest.key if newest else "")


def test_random_kills(bench: Bench, figure: Figure, full: bool) -> None:
    """A kill -9 leaves an accepted job without a record, or makes bgresp post twice."""
    count, rng = 20_000 if full else 500, random.Random(3)
    trials = Trials(bench)
    trials.measure()
    for trial in range(count):
        trials.run(trial, rng.uniform(0, trials.usual))
    firsts = range(0, count, PER_LEDGER)
    lost = bench.unrecorded(bench.state, *map(trials.state, firsts))
    figure(
        f"T1: {trials.killed} kills -9 in {count} submits, {bench.posts.total()} "
        f"POSTs, {trials.dead} died unsettled: {len(lost)} accepted jobs without a "
        f"record, {len(bench.doubled)} double POSTs, ledger readable "
        f"{trials.readable} of {count}"
    )
    assert ([], []) == (lost, bench.doubled)
    assert count == trials.readable
    for first in firsts:
        known = {job.id for job in Ledger(trials.state(first)).newest()}
        assert set(trials.out(first).read_text().split()) <= known
    assert trials.killed > count // 3
    assert trials.dead > count // 100


def test_the_real_command_killed(bench: Bench, figure: Figure, full: bool) -> None:
    """A killed command that is run again until it ends posts a key twice."""
    trials, rng = 100 if full else 15, random.Random(5)
    killed = unknown = 0
    for trial in range(trials):
        text = f"trial {trial}"
        argv = command("submit", "-t", text, "--key", text)
        codes = [_killed(argv, bench, rng.uniform(0.05, 0.7))]
        while codes[-1] < 0:
            codes.append(_killed(argv, bench, rng.uniform(0.3, 2.0)))
        killed += len(codes) - 1
        job = Ledger(bench.state).by_submit_key(text)
        assert job is not None
        unknown += job.status == "unknown"
        wanted = (7, bench.posts[text]) if job.status == "unknown" else (0, 1)
        assert wanted == (codes[-1], bench.posts[text])
    lost = bench.unrecorded(bench.state)
    figure(
        f"T2: {killed} kills -9 of the real command, {trials} keys: "
        f"{len(bench.doubled)} posted twice, {len(lost)} lost, {unknown} unknown"
    )
    assert ([], []) == (lost, bench.doubled)


def _killed(argv: list[str], bench: Bench, after: float) -> int:
    """Run a command and kill it so many seconds later; return its exit code."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=bench.folder,
        env=environment(bench.env),
    )
    try:
        return process.wait(after)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
