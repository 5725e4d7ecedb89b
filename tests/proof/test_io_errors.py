"""T4: an I/O error at every call that a submit makes below its state folder."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pytest

from bgresp.core.model import Job
from bgresp.ledger.ledger import Ledger
from tests.command import has_bug
from tests.proof.conftest import Bench, Figure
from tests.proof.faulty import Plan
from tests.proof.warmed import Task

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

ONCE = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR")
FOREVER = ("EIO", "ENOSPC", "EROFS")
ALLOWED = ("nothing sent", "recorded", "rescued")


@dataclass(slots=True)
class Trial:
    """One submit whose disk fails, and what became of it."""

    bench: Bench
    folder: Path
    plan: Plan
    prompt: str

    @property
    def out(self) -> Path:
        """Return where the command's stdout is."""
        return self.folder / "out"

    def run(self) -> int:
        """Submit; return the exit code."""
        env = {
            **self.bench.env,
            "BGRESP_STATE_DIR": self.plan.folder,
            "XDG_RUNTIME_DIR": str(self.folder),
        }
        argv = ["submit", "-t", self.prompt]
        call = ["tests.proof.faulty:run", json.dumps(asdict(self.plan)), *argv]
        [end] = self.bench.warmed.run(Task([call], env, self.out))
        return end.code

    def outcome(self, code: int) -> str:
        """Return which of the allowed outcomes it was; else what is wrong."""
        state, said = Path(self.plan.folder), self.out.read_text()
        errors = Path(f"{self.out}.err").read_text()
        if has_bug(errors):
            return errors.strip().splitlines()[-1]
        if not self.bench.posts[self.prompt]:
            fine = (code, said) == (1, "") and not self.synced_again()
            return "nothing sent" if fine else f"not sent, exit {code}, said {said!r}"
        ids = {job.id for job in Ledger(state).newest() if job.status.is_open}
        rescued = "".join(p.read_text() for p in self.folder.glob("bgresp-rescue-*"))
        if not said or self.bench.posts[self.prompt] > 1:
            return f"sent {self.bench.posts[self.prompt]}, exit {code}, id not printed"
        if said.strip() in ids:
            return "recorded"
        return "rescued" if said.strip() in rescued and code == 1 else "lost"

    def synced_again(self) -> list[str]:
        """Return the files that were synced again after a sync of theirs failed."""
        failed: set[str] = set()
        again: list[str] = []
        for line in Path(self.plan.log).read_text().splitlines():
            word, name, path = line.split(" ", 2)
            if name in {"fsync", "fdatasync"}:
                again += [path] * (path in failed)
                failed |= {path} if word == "failed" else set()
        return again

    def goes_on(self) -> bool:
        """Say whether the next append works once the disk does."""
        with Ledger(Path(self.plan.folder)).submitting(Job(key="", name="next")) as job:
            pass
        return Ledger(Path(self.plan.folder)).by_name("next") == job


@dataclass(slots=True)
class Trials:
    """All trials from one starting point: an empty folder, or a ledger in use."""

    bench: Bench
    template: Path | None
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    made: int = 0

    def trial(self, nth: int, error: str, *, forever: bool = False) -> Trial:
        """Prepare a trial in a folder of its own."""
        self.made += 1
        kind = "used" if self.template else "empty"
        folder = self.bench.folder / f"{kind}-{self.made}"
        folder.mkdir()
        state = folder / "state"
        if self.template:
            shutil.copytree(self.template, state)
        plan = Plan(str(state), str(folder / "log"), nth, error, forever)
        return Trial(self.bench, folder, plan, folder.name)

    def run(self, *, full: bool) -> None:
        """Fail each call of a submit once, with errors in turn, and from there on."""
        clean = self.trial(0, "EIO")
        assert (0, "recorded") == (clean.run(), clean.outcome(0))
        calls = Path(clean.plan.log).read_text().splitlines()
        for nth, error, forever in _faults(calls, full=full):
            trial = self.trial(nth, error, forever=forever)
            outcome = trial.outcome(trial.run())
            if outcome not in ALLOWED:
                log = Path(trial.plan.log).read_text().splitlines()[nth - 1]
                always = " for good" if forever else ""
                self.wrong.append(f"{error}{always} at {log}: {outcome}")
            elif not trial.goes_on():
                self.wrong.append(f"{error} at {nth}: the next append is unreadable")
            self.outcomes[outcome] += 1
            shutil.rmtree(trial.folder)


def _faults(calls: list[str], *, full: bool) -> Iterator[tuple[int, str, bool]]:
    for nth, call in enumerate(calls, 1):
        once = ONCE if full else (ONCE[0], ONCE[1 + nth % 4])
        always = FOREVER if full else (FOREVER[nth % 3],)
        yield from ((nth, error, False) for error in once)
        yield from ((nth, error, True) for error in always)
        if call.split()[1] == "write":
            yield nth, "short", False


def test_an_error_at_every_call(bench: Bench, figure: Figure, full: bool) -> None:
    """An I/O error loses an accepted id, or money is spent on a disk that fails."""
    bench.warm()
    used = bench.folder / "used"
    env = {**bench.env, "BGRESP_STATE_DIR": str(used)}
    argvs = [["submit", "-t", f"before {number}"] for number in range(2)]
    assert 0 == bench.warmed.run(replace(bench.task(*argvs), env=env))[0].code
    both = [Trials(bench, None), Trials(bench, used)]
    for trials in both:
        trials.run(full=full)
    outcomes = sum((trials.outcomes for trials in both), Counter())
    wrong = [why for trials in both for why in trials.wrong]
    counts = ", ".join(f"{outcomes[name]} {name}" for name in ALLOWED)
    figure(
        f"T4: {outcomes.total()} I/O errors, one after the other at every call: "
        f"{counts}, {len(wrong)} lost, or sent on a failing disk"
    )
    assert [] == wrong
    assert [] == bench.doubled
    assert all(outcomes[name] for name in ALLOWED)
