"""The list of commands, and the program around them."""

from collections.abc import Callable, Sequence
from typing import Final

import typer

from bgresp.cli import (
    adding,
    batch,
    cancel,
    completions,
    config,
    configuring,
    doctor,
    forget,
    get,
    help_,
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
from bgresp.cli.options import Common, Refs, Verb, Version, command, laid_out
from bgresp.cli.panels import EPILOG, Command, Group
from bgresp.cli.shape import Shape

JOBS: Final = "Jobs"
MANY: Final = "Many jobs"
BOOKS: Final = "The ledger"
SETUP: Final = "Setup"
VERBS: Final = (
    Verb("submit", submit.submit, (Shape, submit.Options, Common), JOBS),
    Verb("status", status.status, (Refs, status.Options, Common), JOBS),
    Verb("watch", watch.watch, (Refs, watch.Options, Common), JOBS),
    Verb("cancel", cancel.cancel, (Refs, Common), JOBS),
    Verb("list", listing.list_, (Refs, listing.Options, Common), JOBS),
    Verb("stats", stats.stats, (Refs, stats.Options, Common), MANY),
    Verb("wait", wait.wait, (Refs, wait.Options, Common), JOBS),
    Verb("get", get.get, (Refs, get.Options, Common), JOBS),
    Verb("retry", retry.retry, (Refs, retry.Options, Common), MANY),
    Verb("batch", batch.batch, (batch.Options, Shape, Common), MANY),
    Verb("sync", sync.sync, (Refs, sync.Options, Common), MANY),
    Verb("import", import_.import_, (import_.Options, Common), BOOKS),
    Verb("resolve", resolve.resolve, (resolve.Options, Common), BOOKS),
    Verb("forget", forget.forget, (Refs, forget.Options, Common), BOOKS),
    Verb("prune", prune.prune, (Refs, prune.Options, Common), BOOKS),
    Verb("doctor", doctor.doctor, (doctor.Options, Common), BOOKS),
    Verb("completions", completions.completions, (completions.Options, Common), SETUP),
    Verb("help", help_.help_, (help_.Options, Common), SETUP),
    Verb("serve", serve.serve, (serve.Options, Common), SETUP),
)
CONFIG: Final = (
    Verb("path", config.path, (Common,)),
    Verb("show", config.show, (Common,)),
    Verb("init", configuring.init, (Common,)),
    Verb("add", adding.add, (adding.Add, Common)),
    Verb("remove", configuring.remove, (configuring.Remove, Common)),
    Verb("edit", configuring.edit, (Common,)),
)
SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def build(words: Sequence[str] = ()) -> typer.Typer:
    """Return the program; with one command alone if that is the first of the words.

    Typer reads the signatures of all the commands it has before it runs one, and that
    takes longer than most of them.
    """
    first = words[0] if words else ""
    chosen = tuple(verb for verb in VERBS if verb.name == first)
    app = _group(_root, () if first == "config" else chosen or VERBS)
    if not chosen:
        app.add_typer(_group(_config, CONFIG), name="config", rich_help_panel=SETUP)
    return app


def _group(root: Callable[..., None], verbs: tuple[Verb, ...]) -> typer.Typer:
    group = typer.Typer(
        cls=Group,
        epilog=EPILOG,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=SETTINGS,
    )
    help_text = laid_out(root.__doc__)
    group.callback(invoke_without_command=True, help=help_text)(root)
    for verb in verbs:
        made = command(verb.run, *verb.groups)
        group.command(
            verb.name,
            cls=Command,
            epilog=EPILOG,
            hidden=verb.hidden,
            rich_help_panel=verb.panel,
        )(made)
    return group


def _root(context: typer.Context, version: Version = False) -> None:
    """Submit, keep and collect background jobs of model endpoints.

    bgresp submit prompt.txt, close the laptop, bgresp watch @last --resume tomorrow.
    """
    del version
    if context.invoked_subcommand is None:
        typer.echo(help_.SHORT)


def _config(context: typer.Context) -> None:
    """Show, make and check the configuration: path, show, init, add, remove, edit.

    Examples:

      bgresp config add work --dialect azure --api-key-env WORK_KEY
      bgresp config show -p work
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
