"""The list of commands, and the program around them."""

from collections.abc import Callable
from typing import Final

import typer

from bgresp.cli import (
    cancel,
    config,
    configuring,
    doctor,
    forget,
    get,
    import_,
    listing,
    prune,
    resolve,
    retry,
    serve,
    stats,
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
    Verb("stats", stats.stats, (Refs, stats.Options, Common)),
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
CONFIG: Final = (
    Verb("path", config.path, (Common,)),
    Verb("show", config.show, (Common,)),
    Verb("init", configuring.init, (Common,)),
    Verb("add", configuring.add, (configuring.Add, Common)),
    Verb("remove", configuring.remove, (configuring.Remove, Common)),
    Verb("edit", configuring.edit, (Common,)),
)
SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def build() -> typer.Typer:
    """Return the program."""
    app = _group(_root, VERBS)
    app.add_typer(_group(_config, CONFIG), name="config")
    return app


def _group(root: Callable[..., None], verbs: tuple[Verb, ...]) -> typer.Typer:
    group = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=SETTINGS,
    )
    group.callback(invoke_without_command=True)(root)
    for verb in verbs:
        made = command(verb.run, *verb.groups)
        group.command(verb.name, hidden=verb.hidden)(made)
    return group


def _root(context: typer.Context, version: Version = False) -> None:
    """Submit, keep and collect background jobs of model endpoints.

    bgresp submit prompt.txt, close the laptop, bgresp watch @last --resume tomorrow.
    """
    del version
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _config(context: typer.Context) -> None:
    """Show, make and check the configuration: path, show, init, add, remove, edit."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
