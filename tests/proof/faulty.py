"""A command whose disk fails at one call: what a fork of the warmed process runs."""

import errno
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.proof.osface import Call, watched

CHANGES = {"write", "fsync", "fdatasync", "mkdir", "replace", "rename", "fchmod"}


@dataclass(frozen=True, slots=True)
class Plan:
    """Which call below a folder fails, counted from 1, and how; 0: none.

    `error` is a name of errno, or "short": half is written, then the disk is full.
    """

    folder: str
    log: str
    nth: int = 0
    error: str = "EIO"
    forever: bool = False


@dataclass(slots=True)
class Failing:
    """Makes calls until it is time to fail; each is logged with its outcome."""

    plan: Plan
    log: int
    count: int = 0
    halved: set[Path] = field(default_factory=set)

    def listen(self, call: Call) -> Any:
        """Make a call, or fail it."""
        self.count += 1
        fails = self._fails(call)
        word = "failed" if fails else "made"
        os.write(self.log, f"{word} {call.name} {call.path}\n".encode())
        if not fails:
            return call.make()
        if self.plan.error != "short":
            number = getattr(errno, self.plan.error)
            raise OSError(number, os.strerror(number))
        if call.path in self.halved:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.halved.add(call.path)
        fd, data = call.args
        return call.function(fd, bytes(data)[: len(data) // 2])

    def _fails(self, call: Call) -> bool:
        if self.plan.error == "short":
            return call.name == "write" and (
                self.count == self.plan.nth or call.path in self.halved
            )
        if self.count == self.plan.nth:
            return True
        return self.plan.forever and 0 < self.plan.nth < self.count and _changes(call)


def _changes(call: Call) -> bool:
    if call.name == "open":
        return bool(call.args[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return call.name in CHANGES


def run(plan: str, *argv: str) -> int:
    """Run a command whose disk fails as planned."""
    from bgresp.cli.main import run as bgresp

    chosen = Plan(**json.loads(plan))
    log = os.open(chosen.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    failing = Failing(chosen, log)
    with watched(Path(chosen.folder), failing.listen):
        return bgresp(list(argv))
