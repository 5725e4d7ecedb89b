"""`bgresp completions`: the script that makes a shell complete bgresp."""

from dataclasses import dataclass
from typing import Annotated, Final

import typer

from bgresp.cli.context import Context
from bgresp.cli.options import Common
from bgresp.cli.output import print_document
from bgresp.cli.shells.names import Shell

SCHEMA: Final = "bgresp.completions/1"
FIELDS: Final = ("schema", "shell", "script")


@dataclass(frozen=True, slots=True)
class Options:
    """What `completions` takes."""

    shell: Annotated[
        Shell, typer.Argument(help="The shell to complete in.", show_default=False)
    ]


def completions(context: typer.Context, options: Options, common: Common) -> int:
    """Print the completion script of a shell.

    Examples:

      bgresp completions bash > ~/.local/share/bash-completion/completions/bgresp
      bgresp completions fish > ~/.config/fish/completions/bgresp.fish
    """
    from bgresp.cli import tree
    from bgresp.cli.shells.script import script

    found = script(options.shell, tree.read(context.find_root().command))
    print_document(
        Context.of(common, FIELDS),
        {"schema": SCHEMA, "shell": options.shell.value, "script": found},
    )
    return 0
