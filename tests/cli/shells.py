"""Interactive shells with the completion scripts, and people who press TAB in them."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from bgresp.cli.commands.completions import FILES, Shell
from tests.cli.terminal import Terminal
from tests.command import DEADLINE

# How each starts without anybody's settings, takes in the scripts of $SCRIPTS, and says
# what `bgresp` was called with.
STARTS: Final[dict[Shell, tuple[list[str], str]]] = {
    Shell.BASH: (
        ["bash", "--norc", "--noprofile", "-i"],
        """bgresp() { printf '%s\\n' "$@" >"$SAID"; echo "ran $((++runs))"; }
        source "$SCRIPTS/bgresp.bash"; PS1='> '; echo rea""dy\r""",
    ),
    Shell.ZSH: (
        ["zsh", "-f", "-i"],
        """fpath=($SCRIPTS $fpath); autoload -U compinit; compinit -u -D
        bgresp() { print -rl -- "$@" >$SAID; echo "ran $((++runs))"; }
        PS1='> '; echo rea""dy\r""",
    ),
    Shell.FISH: (
        ["fish", "--no-config", "-i"],
        """set -g runs 0; function fish_prompt; echo -n '> '; end
        function bgresp
            printf '%s\\n' $argv >$SAID; set runs (math $runs + 1); echo "ran $runs"
        end
        source $SCRIPTS/bgresp.fish; echo rea""dy\r""",
    ),
}


@dataclass(slots=True)
class Typist:
    """Somebody at an interactive shell."""

    terminal: Terminal
    said: Path
    runs: int = 0

    def tab(self, line: str, then: str = "") -> list[str]:
        """Type a line, TAB and Enter; return what bgresp was called with."""
        self.terminal.type(f"{line}\t{then}\r".encode())
        self.runs += 1
        ran = f"ran {self.runs}"
        self.terminal.until(lambda screen: screen.shows(ran))
        return self.said.read_text("utf-8").splitlines()


def needed(shell: Shell) -> str:
    """Return the shell's path; skip the test where it is not installed."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


@contextmanager
def typing(
    shell: Shell, env: Mapping[str, str], folder: Path, scripts: Path
) -> Iterator[Typist]:
    """Sit down at a shell that completes bgresp by the scripts of a folder."""
    program = needed(shell)
    argv, setup = STARTS[shell]
    said = folder / "said"
    more = {
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "SCRIPTS": str(scripts),
        "SAID": str(said),
    }
    terminal = Terminal([program, *argv[1:]], {**more, **env}, folder)
    try:
        terminal.type(setup.encode())
        terminal.until(lambda screen: screen.shows("ready"))
        yield Typist(terminal, said)
    finally:
        terminal.close()


def offered(shell: Shell, line: str, env: Mapping[str, str], script: Path) -> list[str]:
    """Return what a shell's own engine offers at the end of a line."""
    asking = {
        Shell.BASH: """source "$1"; COMP_LINE=$2; COMP_POINT=${#2}
            COMP_WORDS=($2); [[ $2 != *' ' ]] || COMP_WORDS+=('')
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            compopt() { :; }; _bgresp; printf '%s\\n' "${COMPREPLY[@]}" """,
        Shell.FISH: "source $argv[1]; complete -C $argv[2]",
    }[shell]
    plain = ["--norc"] if shell is Shell.BASH else ["--no-config"]
    argv = [needed(shell), *plain, "-c", asking]
    argv += ["bash"] if shell is Shell.BASH else []
    done = subprocess.run(
        [*argv, str(script), line],
        env={**os.environ, "LANG": "C.UTF-8", **env},
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert b"" == done.stderr
    return done.stdout.decode("utf-8").split("\n")[:-1]


def written(scripts: Path, texts: Mapping[Shell, str]) -> Path:
    """Write scripts to a folder under the names that shells look for."""
    scripts.mkdir(exist_ok=True)
    for shell, text in texts.items():
        (scripts / FILES[shell][0]).write_text(text, "utf-8")
    return scripts
