"""What the proofs share: figures that close the run, and warmed processes to kill."""

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bgresp.ledger.ledger import Ledger
from tests.command import empty_config
from tests.fakeserver import FakeServer
from tests.proof.warmed import Task, WarmedProcess

FIGURE = "figure"
Figure = Callable[[str], None]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Close with every figure, and with what was skipped and why.

    Figures travel with the reports: the tests may run in other processes.
    """
    reports = [r for some in terminalreporter.stats.values() for r in some]
    figures = {
        str(value)
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == FIGURE
    }
    skipped = [
        str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report)
        for report in terminalreporter.stats.get("skipped", [])
        if "/proof/" in report.nodeid
    ]
    if figures or skipped:
        terminalreporter.section("figures")
    for line in sorted(figures):
        terminalreporter.write_line(line)
    for reason in skipped:
        terminalreporter.write_line(f"not proved here: {reason}")


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Keep a line for the end of the run."""

    def keep(line: str) -> None:
        request.node.user_properties.append((FIGURE, line))

    return keep


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Say whether the full figures were asked for."""
    return bool(request.config.getoption("--full"))


@pytest.fixture
def chosen(server: FakeServer, state: Path, tmp_path: Path) -> dict[str, str]:
    """Return the variables of every command: server, state folder, absent config."""
    return {
        "BGRESP_BASE_URL": server.base_url,
        "BGRESP_API_KEY": "k",
        "BGRESP_STATE_DIR": str(state),
        "BGRESP_CONFIG": empty_config(tmp_path / "config.toml"),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }


@pytest.fixture
def warmed() -> Iterator[WarmedProcess]:
    """Run a warmed process whose forks are commands."""
    with WarmedProcess() as ready:
        yield ready


@dataclass(frozen=True, slots=True)
class Bench:
    """An endpoint, warmed processes, and a state folder for what they do."""

    server: FakeServer
    warmed: WarmedProcess
    env: dict[str, str]
    state: Path
    folder: Path

    def warm(self) -> None:
        """Let the warmed import all that a submit needs; the server counts it."""
        elsewhere = str(self.folder / "warm")
        env = {**self.env, "BGRESP_STATE_DIR": elsewhere}
        self.warmed.warm(["submit", "-t", "warm"], env)

    def task(self, *argvs: list[str], out: Path | str = os.devnull) -> Task:
        """Return a task of the bench's environment."""
        return Task(argvs, self.env, out)

    @property
    def posts(self) -> Counter[str]:
        """Count the POSTs by prompt: each trial has its own."""
        prompts = (seen.json["input"] for seen in self.server.creates)
        return Counter(prompt for prompt in prompts if prompt != "warm")

    @property
    def doubled(self) -> list[str]:
        """Return the prompts that were posted more than once."""
        return [prompt for prompt, count in self.posts.items() if count > 1]

    def unrecorded(self, *states: Path) -> list[str]:
        """Return the keys of accepted jobs of which no ledger knows anything."""
        ledgers = (Ledger(state) for state in (*states, self.folder / "warm"))
        jobs = itertools.chain.from_iterable(ledger.newest() for ledger in ledgers)
        known = {job.key for job in jobs}
        tags = (seen.json["metadata"]["bgresp_key"] for seen in self.server.creates)
        return [tag for tag in tags if tag not in known]


@pytest.fixture
def bench(
    server: FakeServer,
    warmed: WarmedProcess,
    chosen: dict[str, str],
    state: Path,
    tmp_path: Path,
) -> Bench:
    """Have everything that a proof with processes needs."""
    return Bench(server, warmed, chosen, state, tmp_path)
