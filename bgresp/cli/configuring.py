"""`bgresp config init`, `remove` and `edit`: what changes the configuration.

A config.toml that is there is never written: `remove` knows profiles/ alone.
"""

import os
import shlex
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from bgresp.cli import errors, output
from bgresp.cli.context import Context
from bgresp.cli.options import Common
from bgresp.config import files, places, profiles
from bgresp.config.files import meant
from bgresp.core.errors import ConfigError, OutputError
from bgresp.ledger.files import PRIVATE_DIR

EDITORS: Final = ("sensible-editor", "nano", "vi")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The profile.")]


@dataclass(frozen=True, slots=True)
class Remove:
    """What `config remove` takes."""

    name: Annotated[str, typer.Argument(metavar="PROFILE", help="The profile.")]


def init(common: Common) -> int:
    """Write a config.toml that explains itself, where there is none.

    Examples:

      bgresp config init
    """
    context = Context.of(common)
    path = places.config_path(context.environ)
    if os.path.lexists(path):
        raise ConfigError(f"{path} is there already", hint="bgresp config edit")
    write(path, profiles.template())
    return done(context, {"config": str(path)})


def remove(options: Remove, common: Common) -> int:
    """Drop a profile that `config add` made.

    config.toml is never touched.

    Examples:

      bgresp config remove work
    """
    context = Context.of(common)
    path = places.config_path(context.environ)
    target = profiles.path_of(path, options.name)
    try:
        target.unlink()
    except FileNotFoundError:
        raise _not_ours(path, options.name) from None
    except OSError as error:
        raise OutputError(f"cannot remove {target}: {error.strerror}") from None
    jobs = context.recorder.ledger.open_jobs()
    count = sum(job.profile == options.name for job in jobs)
    if count:
        context.say(f"{count} open job(s) of it keep their endpoint and their key")
    return done(context, {"profile": options.name, "path": str(target)})


def edit(common: Common) -> int:
    """Open config.toml in $VISUAL or $EDITOR, and check it afterwards.

    Where there is none, it begins as `config init` writes it.

    Examples:

      bgresp config edit
    """
    context = Context.of(common)
    path = places.config_path(context.environ)
    argv = _editor(context)
    if not os.path.lexists(path):
        write(path, profiles.template())
    profile = context.common.profile or context.environ.get("BGRESP_PROFILE")
    _run([*argv, str(path)], context.environ_of_children(profile))
    mistakes = list(profiles.mistakes(files.load(path)))
    for mistake in mistakes[:-1]:
        errors.show(context.streams, mistake)
    if mistakes:
        raise mistakes[-1]
    return done(context, {"config": str(path)})


def _not_ours(path: Path, name: str) -> ConfigError:
    """Return why a profile cannot be removed: it is elsewhere, or nowhere."""
    try:
        line = profiles.line_of(path.read_text("utf-8", "replace"), name)
    except OSError:
        line = None
    if line is not None:
        return ConfigError(
            f"profile {name!r} stands in {path}, line {line}, which is yours to write",
            hint="bgresp config edit",
        )
    if name in files.built_in():
        return ConfigError(f"profile {name!r} is built in")
    made = sorted(file.stem for file in (path.parent / "profiles").glob("*.toml"))
    hint = meant(name, made) if made else "there is none in profiles/"
    return ConfigError(f"no profile {name!r}", hint=hint)


def _editor(context: Context) -> list[str]:
    """Return the editor's argv; $VISUAL and $EDITOR may hold arguments."""
    for name in ("VISUAL", "EDITOR"):
        given = context.environ.get(name, "").strip()
        if given:
            try:
                return shlex.split(given)
            except ValueError:
                raise ConfigError(f"{name} cannot be read: {given!r}") from None
    found = next(filter(None, map(shutil.which, EDITORS)), None)
    if found is None:
        raise ConfigError("no editor is known", hint="export EDITOR=...")
    return [found]


def _run(argv: list[str], environ: dict[str, str]) -> None:
    """Run the editor; Ctrl-C is the editor's while it runs.

    A handler, unlike being ignored, is not handed down to the editor.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        done = subprocess.run(  # noqa: S603  the user's own editor
            argv, check=False, env=environ
        )
    except OSError as error:
        said = f"cannot run the editor {argv[0]!r}: {error.strerror}"
        raise ConfigError(said, hint="export EDITOR=...") from None
    finally:
        signal.signal(signal.SIGINT, before)
    if done.returncode != 0:
        raise ConfigError(f"the editor {argv[0]!r} ended with {done.returncode}")


def write(path: Path, text: str, *, force: bool = False) -> None:
    """Write a private file whole; what is there is only replaced with `force`."""
    try:
        path.parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {path.parent}: {error.strerror}") from None
    output.write_file(path, text, force=force)


def done(context: Context, record: dict[str, str]) -> int:
    """Print which file it was."""
    if context.is_json:
        context.show_records([record], single=True)
    else:
        context.streams.line(record.get("path") or record["config"])
    return 0
