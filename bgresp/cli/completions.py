"""`bgresp completions`: the script that makes a shell complete bgresp."""

from dataclasses import dataclass
from typing import Annotated

import typer

from bgresp.cli.shells.names import Shell


@dataclass(frozen=True, slots=True)
class Options:
    """What `completions` takes."""

    shell: Annotated[
        Shell, typer.Argument(help="The shell to complete in.", show_default=False)
    ]


def completions(options: Options) -> int:
    """Print the completion script of a shell.

    Examples:

      bgresp completions bash > ~/.local/share/bash-completion/completions/bgresp
      bgresp completions fish > ~/.config/fish/completions/bgresp.fish
    """
    from bgresp.cli.shells.script import program, script

    typer.echo(script(options.shell, program()), nl=False)
    return 0
