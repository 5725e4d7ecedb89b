"""The list of commands, and the program around them.

A command is imported when it is typed: the list has its place and its line of help, so
that neither `--help` nor another command pays for it.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from bgresp import __version__
from bgresp.cli.options import VERSION, Option
from bgresp.cli.panels import EPILOG, Command, write_options, write_section
from bgresp.core.errors import ExitCode, UsageError
from bgresp.core.text import did_you_mean
from bgresp.render.streams import silence_stdout

_REQUIRED: Final = inspect.Parameter.empty
JOBS: Final = "Jobs"
MANY: Final = "Many jobs"
LEDGER: Final = "The ledger"
SETUP: Final = "Setup"
CONFIGURATION: Final = "Commands"
SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
SHORT: Final = """\
bgresp submits long jobs to model endpoints, keeps them in a ledger, and fetches
each answer, whenever you come back.

  bgresp submit prompt.txt      one job, in the background; prints its id
  bgresp watch @last            its text as it comes; Ctrl-C only leaves
  bgresp get @last              the answer
  bgresp list --open            what runs
  bgresp cancel @last           the only command that cancels

Without any key: bgresp submit prompt.txt -p local
All commands: bgresp --help. Topics: bgresp help."""


def _typed(said: Option) -> Any:
    """Return Typer's word for how a field is typed."""
    if not said.names:
        return typer.Argument(metavar=said.metavar, help=said.help)
    is_version = "--version" in said.names
    return typer.Option(
        *said.names,
        help=said.help,
        metavar=said.metavar,
        rich_help_panel=said.panel,
        is_eager=is_version,
        callback=_version if is_version else None,
    )


def _version(given: bool) -> bool:
    if given:
        typer.echo(f"bgresp {__version__}")
        raise typer.Exit
    return given


_VERSION: Final = _typed(VERSION)


@dataclass(frozen=True, slots=True)
class Verb:
    """A command as it is listed: its name, its place, its heading, its line of help.

    `place` is `module:function` below `bgresp.cli`. A group of commands has `verbs`.
    A test holds `help` against the docstring of the function.
    """

    name: str
    place: str
    panel: str
    help: str
    verbs: tuple["Verb", ...] = field(default=())

    def load(self) -> Any:
        """Import the command; return what Typer makes of it."""
        if self.verbs:
            return _group(_config, self.verbs, name=self.name)
        module, _, function = self.place.partition(":")
        run = getattr(import_module(f"bgresp.cli.{module}"), function)
        alone = typer.Typer(**_TYPER)
        alone.command(self.name, cls=Command)(command(run))
        return typer.main.get_command(alone)


CONFIG: Final = (
    Verb(
        "path",
        "commands.config:path",
        CONFIGURATION,
        "Print where config.toml, the profiles and the ledger's folder are.",
    ),
    Verb(
        "show",
        "commands.config:show",
        CONFIGURATION,
        "Print each value in effect and its origin; keys only as `set`.",
    ),
    Verb(
        "list",
        "commands.config:list_",
        CONFIGURATION,
        "List every profile: its endpoint, its file, and whether its key is set.",
    ),
    Verb(
        "use",
        "commands.config:use",
        CONFIGURATION,
        "Make a profile the default; it need not have its key yet.",
    ),
    Verb(
        "init",
        "commands.config:init",
        CONFIGURATION,
        "Write a config.toml that explains itself, where there is none.",
    ),
    Verb(
        "add",
        "commands.config:add",
        CONFIGURATION,
        "Write a profile into a file of its own, profiles/NAME.toml.",
    ),
    Verb(
        "remove",
        "commands.config:remove",
        CONFIGURATION,
        "Remove a profile that `config add` made.",
    ),
    Verb(
        "trust",
        "commands.config:trust",
        CONFIGURATION,
        "Let a profile's key be sent to a base URL that jobs in the ledger name.",
    ),
    Verb(
        "edit",
        "commands.config:edit",
        CONFIGURATION,
        "Open config.toml in $VISUAL or $EDITOR, and check it afterwards.",
    ),
)
VERBS: Final = (
    Verb(
        "submit",
        "commands.submit:submit",
        JOBS,
        "Submit a background response for each FILE and print its id.",
    ),
    Verb(
        "status",
        "commands.status:status",
        JOBS,
        "Ask the endpoint once and print what it says.",
    ),
    Verb(
        "watch",
        "commands.watch:watch",
        JOBS,
        "Follow jobs until they end; of one job, its text as it comes.",
    ),
    Verb(
        "cancel",
        "commands.cancel:cancel",
        JOBS,
        "Cancel jobs; then ask the endpoint and report what really became of them.",
    ),
    Verb(
        "list",
        "commands.list:list_",
        JOBS,
        "List the jobs of the ledger, newest first; asks no endpoint.",
    ),
    Verb(
        "show",
        "commands.show:show",
        JOBS,
        "Show a job: what was asked, how it went, what it answered; asks no endpoint.",
    ),
    Verb(
        "stats",
        "commands.stats:stats",
        MANY,
        "Count jobs, tokens, and how long they were queued and ran; asks no endpoint.",
    ),
    Verb(
        "wait",
        "commands.wait:wait",
        JOBS,
        "Wait until jobs end, print nothing, exit as they ended.",
    ),
    Verb(
        "get",
        "commands.get:get",
        JOBS,
        "Print answers: from disk where they are saved, else from the endpoint.",
    ),
    Verb(
        "retry",
        "commands.retry:retry",
        MANY,
        "Submit the stored request of a job again, as a new job at the same endpoint.",
    ),
    Verb(
        "batch",
        "commands.batch:batch",
        MANY,
        "Submit a background response for each row of a manifest; "
        "print the ids in order.",
    ),
    Verb(
        "sync",
        "commands.sync:sync",
        MANY,
        "Ask once about every open job, save every result, and leave.",
    ),
    Verb(
        "listen",
        "commands.listen:listen",
        MANY,
        "Receive signed webhooks, and fetch the jobs that they name.",
    ),
    Verb(
        "import",
        "commands.import_:import_",
        LEDGER,
        "Add ids from elsewhere to the ledger; -p says which endpoint has them.",
    ),
    Verb(
        "resolve",
        "commands.resolve:resolve",
        LEDGER,
        "Settle a submit whose outcome is unknown.",
    ),
    Verb(
        "forget",
        "commands.forget:forget",
        LEDGER,
        "Drop jobs and their answers from the ledger and the disk.",
    ),
    Verb(
        "prune",
        "commands.prune:prune",
        LEDGER,
        "Drop jobs that ended long ago, with their answers, and tidy the ledger.",
    ),
    Verb(
        "models",
        "commands.models:models",
        SETUP,
        "List the models of an endpoint, where it lists them; it costs nothing.",
    ),
    Verb(
        "doctor",
        "commands.doctor:doctor",
        LEDGER,
        "Check configuration, ledger, locks and clock; or probe an endpoint.",
    ),
    Verb(
        "completions",
        "commands.completions:completions",
        SETUP,
        "Print the completion script of a shell.",
    ),
    Verb("help", "commands.help_:help_", SETUP, "Explain a command or a topic."),
    Verb(
        "serve",
        "commands.serve:serve",
        SETUP,
        "Run a background-mode endpoint on this machine.",
    ),
    Verb(
        "config",
        "",
        SETUP,
        "Show, make and check the configuration: list, add, use, show, edit and more.",
        CONFIG,
    ),
)
_TYPER: Final[dict[str, Any]] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": SETTINGS,
}


class Group(TyperGroup):
    """A group of commands that are imported when they are asked for."""

    verbs: tuple[Verb, ...] = ()

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        del ctx
        return [verb.name for verb in self.verbs]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name; None where there is none."""
        del ctx
        if cmd_name not in self.commands:
            found = next((verb for verb in self.verbs if verb.name == cmd_name), None)
            if found is None:
                return None
            self.add_command(found.load(), cmd_name)
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that was typed, and its words.

        Raises UsageError, which names the command that may be meant.
        """
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            hint = f"{did_you_mean(args[0], known)}{ctx.command_path} --help"
            raise UsageError(f"no such command: {args[0]!r}", hint=hint)
        return super().resolve_command(ctx, args)

    def whole(self) -> "Group":
        """Import every command, those of groups too; return this group."""
        for name in self.list_commands(None):
            inner = self.get_command(None, name)
            if isinstance(inner, Group):
                inner.whole()
        return self

    def panels(self) -> dict[str, list[Verb]]:
        """Return the commands under their headings."""
        found: dict[str, list[Verb]] = {}
        for verb in self.verbs:
            found.setdefault(verb.panel, []).append(verb)
        return found

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands under their headings, then the options."""
        for panel, found in self.panels().items():
            write_section(formatter, panel, [(verb.name, verb.help) for verb in found])
        write_options(self, ctx, formatter)


def build() -> Group:
    """Return the program; no command is imported yet."""
    return _group(_root, VERBS)


def _group(
    root: Callable[..., None], verbs: tuple[Verb, ...], *, name: str | None = None
) -> Group:
    made = typer.Typer(cls=Group, epilog=EPILOG, **_TYPER)
    made.callback(invoke_without_command=True, help=laid_out(root.__doc__))(root)
    group: Any = typer.main.get_command(made)
    group.name, group.verbs = name, verbs
    return group  # type: ignore[no-any-return]  # Typer makes what cls says


def _root(context: typer.Context, version: Annotated[bool, _VERSION] = False) -> None:
    """Submit, keep and collect background jobs of model endpoints.

    bgresp submit prompt.txt, close the laptop, bgresp watch @last --resume tomorrow.
    """
    del version
    if context.invoked_subcommand is None:
        typer.echo(SHORT)


def _config(context: typer.Context) -> None:
    """Show, make and check the configuration: list, add, use, show, edit and more.

    Examples:

      bgresp config add work --dialect azure --api-key-env WORK_KEY
      bgresp config show -p work
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def command(run: Callable[..., int]) -> Callable[..., int]:
    """Return a Typer command that fills the groups `run` takes and calls it.

    A group is a named tuple; the first one's fields come first in the help. What is
    annotated as typer.Context is handed on.

    Typer (0.26 to 0.28 were tried) reads the signature that it is given here, as
    `inspect.signature` does, not the function's own: tests/test_joints.py.
    """
    groups = [kind for name, kind in run.__annotations__.items() if name != "return"]

    def call(**values: Any) -> int:
        filled = (
            group(**{name: values[name] for name in group._fields})
            if group is not typer.Context
            else values["context"]
            for group in groups
        )
        try:
            return run(*filled)
        except BrokenPipeError:
            # Before Click sees it, which would leave with 1.
            silence_stdout()
            return int(ExitCode.BROKEN_PIPE)

    parameters = [_parameter(*said) for group in groups for said in _fields(group)]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    call.__doc__ = laid_out(run.__doc__)
    call.__name__ = run.__name__
    return call


def _fields(group: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name, the type and the default of each field of a group."""
    if group is typer.Context:
        yield "context", group, _REQUIRED
        return
    for name, kind in group.__annotations__.items():
        yield name, kind, group._field_defaults.get(name, _REQUIRED)


def _parameter(name: str, kind: Any, default: Any) -> inspect.Parameter:
    only = inspect.Parameter.KEYWORD_ONLY
    said = getattr(kind, "__metadata__", (None,))[0]
    if isinstance(said, Option):
        kind = Annotated[kind.__origin__, _typed(said)]
    return inspect.Parameter(name, only, default=default, annotation=kind)


def laid_out(doc: str | None) -> str:
    r"""Return a docstring as Click's help: \b keeps the lines of its examples apart."""
    return inspect.cleandoc(doc or "").replace("Examples:\n\n", "\b\nExamples:\n")
