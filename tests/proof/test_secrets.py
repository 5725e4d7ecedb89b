"""T17: whatever goes wrong, wherever it does, no key is in anything that is left."""

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.ledger import picture
from tests.fakeanswers import Forever, Snapshot, refusal
from tests.fakeserver import FakeServer
from tests.proof.conftest import Figure
from tests.proof.crashing import KINDS
from tests.proof.warmed import Task, WarmedProcess

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

KEY, SECRET = "sk-SENTINEL-0123456789", "hush-SENTINEL-abcdef"
HEADER = ("-v", "-H", f"X-Team-Token: {SECRET}")
COMMANDS = (
    ("submit", "-t", "x", *HEADER),
    ("submit", "-t", "x", "--watch", *HEADER),
    ("submit", "-t", "x", "--key", "same", "--json", *HEADER),
    ("watch", "@last", "--mode", "poll", "--interval", "0.1", *HEADER),
    ("status", "@last", *HEADER),
    ("get", "@last", *HEADER),
    ("cancel", "@last", *HEADER),
    ("list", "--refresh", *HEADER),
    ("sync", *HEADER),
)


@dataclass(frozen=True, slots=True)
class Trials:
    """Commands under a key, in a folder that holds all that they leave."""

    warmed: WarmedProcess
    env: dict[str, str]
    folder: Path

    def lines(self, argv: tuple[str, ...]) -> int:
        """Count the lines of ours that a command runs."""
        self.run("RuntimeError", 0, argv, str(self.folder / "count"))
        return int((self.folder / "count").read_text())

    def run(self, kind: str, line: int, argv: tuple[str, ...], count: str = "") -> int:
        """Run one command with a fault at a line; return its exit code."""
        call = ("tests.proof.crashing:crash", kind, str(line), count, *argv)
        [ended] = self.warmed.run(Task([call], self.env, self.folder / "out"))
        return ended.code

    def leaks(self) -> list[str]:
        """Return the names of the files that hold what is secret."""
        return [
            name
            for name, held in picture(self.folder).items()
            if b"SENTINEL" in held or b"SENTINEL" in name.encode()
        ]


@pytest.fixture(name="trials")
def _trials(warmed: WarmedProcess, chosen: dict[str, str], tmp_path: Path) -> Trials:
    env = {**chosen, "BGRESP_API_KEY": KEY}
    warmed.warm(["submit", "-t", "warm"], env)
    return Trials(warmed, env, tmp_path)


def test_exceptions_anywhere(
    trials: Trials, server: FakeServer, figure: Figure, full: bool
) -> None:
    """An exception at some line puts the key where somebody may read it."""
    count, rng = 1000 if full else 200, random.Random(17)
    lines = {argv: trials.lines(argv) for argv in COMMANDS}
    assert min(lines.values()) > 100
    codes: dict[int, int] = {}
    for trial in range(count):
        argv = COMMANDS[trial % len(COMMANDS)]
        kind = rng.choice(list(KINDS))
        code = trials.run(kind, rng.randint(1, lines[argv]), argv)
        codes[code] = codes.get(code, 0) + 1
    leaks = trials.leaks()
    said = (trials.folder / "out.err").read_text(errors="replace")
    figure(
        f"T17: {count} exceptions injected, {said.count('Traceback')} tracebacks: "
        f"{len(leaks)} files with a secret, exit codes {dict(sorted(codes.items()))}"
    )
    assert [] == leaks
    assert said.count("Traceback") > count // 20
    sent = {seen.headers.get("authorization") for seen in server.requests}
    assert f"Bearer {KEY}" in sent
    assert SECRET in {seen.headers.get("x-team-token") for seen in server.requests}


@pytest.mark.parametrize("status", [400, 401, 500])
def test_an_endpoint_that_repeats_the_key(
    trials: Trials, server: FakeServer, status: int
) -> None:
    """A key that an error message quotes back ends in a log or in the ledger."""
    said = f"Incorrect API key provided: {KEY} ({SECRET})"
    echo = refusal(status, said, code=KEY, x_request_id=SECRET)
    server.script("create", Snapshot(), echo)
    server.script("get", Forever(echo))
    server.script("cancel", Forever(echo))
    for argv in (COMMANDS[0], *COMMANDS):
        if "--watch" not in argv and "watch" not in argv:
            trials.run("RuntimeError", 0, argv)
    assert [] == trials.leaks()
