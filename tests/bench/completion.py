"""What a completion costs at 5 000 jobs, in units of `bash -c :`; a ratio in one run.

`python -m tests.bench.completion` prints a line for each case and exits 1 where one
costs more than LIMIT. The median of interleaved rounds is taken, so that a busy machine
slows both sides.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from bgresp.ledger import words
from tests.command import ROOT

LIMIT: Final = 6.0
JOBS: Final = 5000
CASES: Final = (
    "bgresp watch resp_ab",
    "bgresp watch resp_",
    "bgresp watch ",
    "bgresp wat",
)
# Each round: the time of ten `bash -c :`, then that of ten completions.
ROUNDS: Final = r"""
source "$1"; COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDS=($2)
[[ $2 != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); compopt() { :; }
since() { took=$((${EPOCHREALTIME/./} - $1)); }
for round in {1..15}; do
  start=${EPOCHREALTIME/./}; for n in {1..10}; do bash -c :; done; since $start; one=$took
  start=${EPOCHREALTIME/./}; for n in {1..10}; do _bgresp; done; since $start
  echo "$took $one ${#COMPREPLY[@]}"
done
"""


def filled(state: Path) -> None:
    """Write an index as 5 000 jobs leave it."""
    (state / "index").mkdir(parents=True)
    lines = [
        f"\ti\tresp_{number * 2654435761 % 2**32:08x}{'0' * 40}\tcompleted gpt-5\n"
        f"\tn\tjob {number}; $(:)\tcompleted\n"
        for number in range(JOBS)
    ]
    words.Words(state / "index").path.write_text("".join(lines))


def ratio(line: str, state: Path) -> tuple[float, int]:
    """Return the median ratio of a case, and how many words were offered."""
    script = ROOT / "completions" / "bgresp.bash"
    told = subprocess.run(
        ["bash", "--norc", "-c", ROUNDS, "bash", str(script), line],
        env={
            "LANG": "C.UTF-8",
            "BGRESP_STATE_DIR": str(state),
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    rounds = [list(map(int, row.split())) for row in told.stdout.splitlines()]
    ratios = sorted(took / one for took, one, _ in rounds)
    return ratios[len(ratios) // 2], rounds[-1][2]


def main() -> int:
    """Measure every case."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        filled(Path(folder))
        for line in CASES:
            found, offered = ratio(line, Path(folder))
            worst = max(worst, found)
            sys.stdout.write(
                f"{line!r}: {found:.1f} x `bash -c :`, {offered} offered\n"
            )
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
