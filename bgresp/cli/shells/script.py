"""A completion script: a shell's template, filled from the command tree.

`python -m bgresp.cli.shells.script completions` writes all four to that folder.
"""

import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Final

from bgresp.cli import tree
from bgresp.cli.shells import bash, fish, powershell, zsh
from bgresp.cli.shells.names import Shell
from bgresp.cli.tree import Command
from bgresp.config.files import built_in

# The file in completions/, and how the table of commands is written.
FILES: Final[dict[Shell, tuple[str, Callable[[Command], str]]]] = {
    Shell.BASH: ("bgresp.bash", bash.table),
    Shell.ZSH: ("_bgresp", zsh.table),
    Shell.FISH: ("bgresp.fish", fish.table),
    Shell.POWERSHELL: ("bgresp.ps1", powershell.table),
}


def script(shell: Shell, root: Command) -> str:
    """Return the completion script of a shell for a command tree."""
    name, table = FILES[shell]
    return (
        _template(name)
        .replace("@AWK@", _template("index.awk").rstrip())
        .replace("@BUILT_IN@", " ".join(sorted(built_in())))
        .replace("@TABLE@", table(root))
    )


def write(folder: Path, root: Command) -> None:
    """Write the scripts of all shells to a folder."""
    for shell, (name, _) in FILES.items():
        (folder / name).write_text(script(shell, root), "utf-8")


def _template(name: str) -> str:
    return resources.files("bgresp.cli.shells").joinpath(name).read_text("utf-8")


if __name__ == "__main__":
    from bgresp.cli.app import build

    write(Path(sys.argv[1]), tree.read(build()))
