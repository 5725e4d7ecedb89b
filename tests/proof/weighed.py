"""The real command in a process of limited memory that tells how much it took."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.command import Changes, Ran, environment

ADDRESS_SPACE: Final = 1 << 30
MOST: Final = 200 << 20
# VmHWM counts since exec: what a parent took before the fork is not in it.
_CHILD: Final = f"""
import atexit, resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({ADDRESS_SPACE}, {ADDRESS_SPACE}))
report, sys.argv[1:] = sys.argv[1], sys.argv[2:]
from bgresp.__main__ import main
def tell():
    with open("/proc/self/status") as status, open(report, "w") as file:
        file.writelines(line for line in status if line.startswith("VmHWM"))
atexit.register(tell)
main()
"""


@dataclass(frozen=True, slots=True)
class Weighed:
    """A finished command and the most memory it had in use, in bytes."""

    ran: Ran
    peak: int

    @property
    def told(self) -> str:
        """Return the ends of its output, for a failure's message."""
        return f"{self.ran.code} {self.peak >> 20} MiB {self.ran.err[-2000:]}"


def weigh(args: Sequence[str], env: Changes, folder: Path, patience: float) -> Weighed:
    """Run `bgresp ARGS` to its end; `folder` is its own and exists."""
    report = folder / "peak"
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(report), *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=patience,
        check=False,
        cwd=folder,
        env=environment(env),
    )
    kilobytes = int(report.read_text().split()[1])
    ran = Ran(done.returncode, done.stdout, done.stderr)
    return Weighed(ran, kilobytes << 10)
