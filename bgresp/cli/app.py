"""The list of commands, and the program around them."""

from typing import Final

import typer

from bgresp.cli import (
    cancel,
    doctor,
    forget,
    get,
    import_,
    listing,
    prune,
    resolve,
    retry,
    serve,
    status,
    submit,
    sync,
    wait,
    watch,
)
from bgresp.cli.options import Common, Refs, Verb, Version, command
from bgresp.cli.shape import Shape

VERBS: Final = (
    Verb("submit", submit.submit, (Shape, submit.Options, Common)),
    Verb("status", status.status, (Refs, status.Options, Common)),
    Verb("watch", watch.watch, (Refs, watch.Options, Common)),
    Verb("cancel", cancel.cancel, (Refs, Common)),
    Verb("list", listing.list_, (Refs, listing.Options, Common)),
    Verb("wait", wait.wait, (Refs, wait.Options, Common)),
    Verb("get", get.get, (Refs, get.Options, Common)),
    Verb("retry", retry.retry, (Refs, retry.Options, Common)),
    Verb("sync", sync.sync, (Refs, sync.Options, Common)),
    Verb("import", import_.import_, (import_.Options, Common)),
    Verb("resolve", resolve.resolve, (resolve.Options, Common)),
    Verb("forget", forget.forget, (Refs, forget.Options, Common)),
    Verb("prune", prune.prune, (Refs, prune.Options, Common)),
    Verb("doctor", doctor.doctor, (doctor.Options, Common)),
    Verb("serve", serve.serve, (serve.Options, Common)),
)
SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def build() -> typer.Typer:
    """Return the program."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=SETTINGS,
    )
    app.callback(invoke_without_command=True)(_root)
    for verb in VERBS:
        made = command(verb.run, *verb.groups)
        app.command(verb.name, hidden=verb.hidden)(made)
    return app


def _root(context: typer.Context, version: Version = False) -> None:
    """Submit, keep and collect background jobs of model endpoints.

    bgresp submit prompt.txt, close the laptop, bgresp watch @last --resume tomorrow.
    """
    del version
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
