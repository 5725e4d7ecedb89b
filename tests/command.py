"""The real command as a test runs it: `python -m bgresp`, and what came of it.

The checkout comes first where there is one; else it is the installed package.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

ROOT: Final = Path(__file__).resolve().parent.parent
DEADLINE: Final = 60.0

Changes = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished command: its exit code, and its output as bytes and as text."""

    code: int
    out_bytes: bytes
    err_bytes: bytes

    @property
    def out(self) -> str:
        """Return stdout, which is always UTF-8."""
        return self.out_bytes.decode("utf-8")

    @property
    def err(self) -> str:
        """Return stderr, which is always UTF-8."""
        return self.err_bytes.decode("utf-8")


class Run(Protocol):
    """What the fixture `run` is."""

    def __call__(
        self,
        *args: str,
        env: Changes | None = None,
        stdin: str | bytes | None = None,
        cwd: Path | None = None,
    ) -> Ran:
        """Run `bgresp ARGS`; None as a variable's value takes it away."""


def has_bug(err: bytes | str) -> bool:
    """Say whether stderr tells of a bug: a traceback, or the line that stands for it."""
    text = err.decode("utf-8", "replace") if isinstance(err, bytes) else err
    return "Traceback" in text or "internal error" in text


def command(*args: str) -> list[str]:
    """Return the argv of `bgresp ARGS`."""
    return [sys.executable, "-m", "bgresp", *args]


def environment(changes: Changes) -> dict[str, str]:
    """Return the test's environment with changes, so that bgresp can be imported."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    merged: dict[str, str | None] = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONDONTWRITEBYTECODE": None,
        **changes,
    }
    return {name: value for name, value in merged.items() if value is not None}


def running_first(code: str, folder: Path) -> dict[str, str]:
    """Return what lets every Python of a command run some code before its own."""
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def empty_config(path: Path) -> str:
    """Return the path of a config.toml, which says nothing where it was not there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch()
    return str(path)


def run(
    args: tuple[str, ...], changes: Changes, *, stdin: str | bytes | None, cwd: Path
) -> Ran:
    """Run `bgresp ARGS` to its end; without stdin it reads an empty file."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        command(*args),
        input=given or b"",
        capture_output=True,
        timeout=DEADLINE,
        check=False,
        cwd=cwd,
        env=environment(changes),
    )
    return Ran(done.returncode, done.stdout, done.stderr)
