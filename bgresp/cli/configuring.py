"""`bgresp config init`, `add`, `remove` and `edit`: what changes the configuration.

A config.toml that is there is never written: `add` and `remove` know profiles/ alone.
"""

import os
import shlex
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bgresp.cli import errors, outputs
from bgresp.cli.context import Context
from bgresp.cli.options import Common, opt
from bgresp.cli.pairs import pairs
from bgresp.config import files, profiles
from bgresp.config.names import meant
from bgresp.core.errors import ConfigError, OutputError, UsageError
from bgresp.ledger.files import PRIVATE_DIR

EDITORS: Final = ("sensible-editor", "nano", "vi")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The profile.")]


@dataclass(frozen=True, slots=True)
class Add:
    """What `config add` takes; --base-url, --allow-http and -H are its own too."""

    name: Name
    dialect: Annotated[
        str, opt("--dialect", help="How it is spoken to.", metavar="D")
    ] = "openai"
    model: Annotated[
        str | None, opt("-m", "--model", help="Its usual model.", metavar="M")
    ] = None
    api_key_env: Annotated[
        str | None,
        opt("--api-key-env", help="The variable that has its key.", metavar="N"),
    ] = None
    var: Annotated[
        list[str] | None,
        opt("--var", help="A variable of its dialect (repeat).", metavar="K=V"),
    ] = None
    force: Annotated[bool, opt("--force", help="Replace a profile of this name.")] = (
        False
    )


@dataclass(frozen=True, slots=True)
class Remove:
    """What `config remove` takes."""

    name: Name


def init(common: Common) -> int:
    """Write a config.toml that explains itself, where there is none.

    Examples:

      bgresp config init
    """
    context = Context.of(common)
    path = files.config_path(context.environ)
    if os.path.lexists(path):
        raise ConfigError(f"{path} is there already", hint="bgresp config edit")
    _write(path, profiles.template())
    return _done(context, {"config": str(path)})


def add(options: Add, common: Common) -> int:
    """Write a profile into a file of its own, profiles/NAME.toml.

    Examples:

      bgresp config add work --base-url https://llm.example/v1 --api-key-env MY_KEY
      bgresp config add team --dialect mka1 --var end_user=user-7 -m large
    """
    context = Context.of(common)
    if common.profile is not None:
        raise UsageError("the new profile is NAME; -p has no meaning here")
    path = files.config_path(context.environ)
    target = profiles.path_of(path, options.name)
    profile = _table(options, common)
    config = context.config
    profiles.known_dialect(options.dialect, config)
    _refuse_taken(options, config, target)
    notes = profiles.checked(options.name, profile, config)
    import tomli_w

    _write(target, tomli_w.dumps(profile), force=options.force)
    for note in notes:
        context.say(note)
    env = options.api_key_env
    if env and not context.environ.get(env):
        context.say(f"{env} is not set yet: export {env}=...")
    return _done(context, {"profile": options.name, "path": str(target)})


def remove(options: Remove, common: Common) -> int:
    """Drop a profile that `config add` made.

    config.toml is never touched.

    Examples:

      bgresp config remove work
    """
    context = Context.of(common)
    path = files.config_path(context.environ)
    target = profiles.path_of(path, options.name)
    try:
        target.unlink()
    except FileNotFoundError:
        raise _not_ours(path, options.name) from None
    except OSError as error:
        raise OutputError(f"cannot remove {target}: {error.strerror}") from None
    jobs = context.books.ledger.open_jobs()
    count = sum(job.profile == options.name for job in jobs)
    if count:
        context.say(f"{count} open job(s) of it keep their endpoint and their key")
    return _done(context, {"profile": options.name, "path": str(target)})


def edit(common: Common) -> int:
    """Open config.toml in $VISUAL or $EDITOR, and check it afterwards.

    Where there is none, it begins as `config init` writes it.

    Examples:

      bgresp config edit
    """
    context = Context.of(common)
    path = files.config_path(context.environ)
    argv = _editor(context)
    if not os.path.lexists(path):
        _write(path, profiles.template())
    _run([*argv, str(path)])
    mistakes = list(profiles.mistakes(files.load(path)))
    for mistake in mistakes[:-1]:
        errors.show(context.streams, mistake, as_json=context.is_json)
    if mistakes:
        raise mistakes[-1]
    return _done(context, {"config": str(path)})


def _table(options: Add, common: Common) -> dict[str, Any]:
    """Return the profile as its file will say it; only what was given."""
    env = options.api_key_env
    found: dict[str, Any] = {
        "dialect": options.dialect,
        "base_url": common.base_url,
        "model": options.model,
        "api_key_env": profiles.variable(env) if env is not None else None,
        "allow_http": common.allow_http or None,
        "vars": pairs(options.var, "--var") or None,
        "headers": common.headers() or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _refuse_taken(options: Add, config: files.Config, target: Path) -> None:
    origin = config.origins.get(options.name)
    if origin == config.path:
        raise ConfigError(
            f"profile {options.name!r} stands in {config.path}",
            hint="choose another name, or bgresp config edit",
        )
    if os.path.lexists(target) and not options.force:
        raise ConfigError(
            f"profile {options.name!r} is there already: {target}",
            hint="--force replaces it",
        )


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


def _run(argv: list[str]) -> None:
    """Run the editor; Ctrl-C is the editor's while it runs.

    A handler, unlike being ignored, is not handed down to the editor.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        done = subprocess.run(argv, check=False)  # noqa: S603  the user's own editor
    except OSError as error:
        said = f"cannot run the editor {argv[0]!r}: {error.strerror}"
        raise ConfigError(said, hint="export EDITOR=...") from None
    finally:
        signal.signal(signal.SIGINT, before)
    if done.returncode != 0:
        raise ConfigError(f"the editor {argv[0]!r} ended with {done.returncode}")


def _write(path: Path, text: str, *, force: bool = False) -> None:
    """Write a private file whole; what is there is only replaced with `force`."""
    try:
        path.parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {path.parent}: {error.strerror}") from None
    outputs.write_file(path, text, force=force)


def _done(context: Context, record: dict[str, str]) -> int:
    """Print which file it was."""
    if context.is_json:
        context.show_records([record], single=True)
    else:
        context.streams.line(record.get("path") or record["config"])
    return 0
