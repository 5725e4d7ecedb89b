"""strace: count a command's system calls, kill it at one, or let one fail."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.command import environment

CALLS: Final = (
    *("write", "fdatasync", "fsync", "rename", "renameat", "renameat2", "truncate"),
    *("ftruncate", "pwrite64", "connect", "sendto", "unlink", "mkdir"),
)
_CALLED: Final = re.compile(r"^\d+ +(\w+)\(")


@cache
def _works() -> bool:
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], check=False)
    return tried.returncode == 0


def require() -> None:
    """Skip where strace is missing, or may not trace."""
    if not _works():
        pytest.skip("strace is not installed, or may not trace here")


def run(
    argv: Sequence[str], env: Mapping[str, str], *options: str, out: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command under strace, its threads too."""
    log = ["-o", str(out or "/dev/null")]
    return subprocess.run(
        ["strace", "-f", *options, *log, *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        env=environment(env),
        timeout=120,
    )


def counted(argv: Sequence[str], env: Mapping[str, str], log: Path) -> Counter[str]:
    """Count the calls of a command that runs to its end."""
    done = run(argv, env, "-e", f"trace={','.join(CALLS)}", out=log)
    assert 0 == done.returncode, done.stderr
    found = (_CALLED.match(line) for line in log.read_text().splitlines())
    return Counter(match[1] for match in found if match)


def killed(argv: Sequence[str], env: Mapping[str, str], call: str, nth: int) -> int:
    """Kill a command as it enters its nth call of a kind; return its exit code."""
    kill = f"inject={call}:signal=KILL:when={nth}"
    return run(argv, env, "-e", f"trace={call}", "-e", kill).returncode
