"""`bgresp config`: show what holds, and change it.

A config.toml that is there is never written, but by the editor: a profile that `add`
makes has a file of its own in profiles/, which alone `remove` knows.
"""

import os
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer

from bgresp.cli import output, records
from bgresp.cli.context import Context
from bgresp.cli.inputs import pairs
from bgresp.cli.options import (
    ENGINE,
    Common,
    UpstreamApi,
    UpstreamKeyEnv,
    WholeRequest,
    opt,
)
from bgresp.config import files, places, profiles
from bgresp.config.files import meant
from bgresp.config.profiles import told
from bgresp.config.secret import MISSING, KeySource
from bgresp.config.settings import Flags, pair_of, resolve
from bgresp.config.urls import MissingError, as_options, note_endpoints, noted_path
from bgresp.core.errors import ConfigError, OutputError, UsageError, worst
from bgresp.core.text import counted
from bgresp.ledger.files import PRIVATE_DIR, PRIVATE_FILE
from bgresp.render.streams import as_json
from bgresp.render.table import show_rows
from bgresp.serve.engine_options import EngineOptions

SCHEMA: Final = "bgresp.config/1"
EDITORS: Final = ("sensible-editor", "nano", "vi")
Known = Annotated[str, typer.Argument(metavar="PROFILE", help="The profile.")]


def path(common: Common) -> int:
    """Print where config.toml, the profiles and the ledger's folder are.

    Examples:

      bgresp config path
      BGRESP_CONFIG=./bgresp.toml bgresp config path --json
    """
    context = Context.of(common, ())
    config = places.config_path(context.environ)
    found = {
        "config": str(config),
        "profiles": str(config.parent / "profiles"),
        "state": str(places.state_path(context.environ)),
    }
    if context.is_json:
        records.show(context, [found], single=True)
    else:
        show_rows(context.streams, [list(place) for place in found.items()])
    return 0


def show(common: Common) -> int:
    """Print each value in effect and its origin; keys only as `set`.

    -p shows another profile; -v adds what its dialect says. No key is read, no
    api_key_cmd is run. Mistakes elsewhere in the configuration are told: exit 4.

    Examples:

      bgresp config show
      bgresp config show -p work -v
    """
    from bgresp.config.profiles import Effective, mistakes

    context = Context.of(common, ())
    effective = Effective(context.flags, context.environ, context.config)
    values = list(effective.all(everything=common.verbose))
    if common.jsonl:
        records.show(context, [asdict(value) for value in values], single=False)
    elif common.json:
        held = {v.key: {"value": v.value, "origin": v.origin} for v in values}
        record = {"schema": SCHEMA, "config": str(context.config.path), "values": held}
        records.show(context, [record], single=True)
    else:
        show_rows(context.streams, [[v.key, _plain(v.value), v.origin] for v in values])
    lost = files.astray(context.environ)
    if lost is not None:
        context.say(lost)
    wrong = list(mistakes(context.config))
    for mistake in wrong:
        context.tell_error(mistake)
    return int(worst(mistake.code for mistake in wrong))


def _plain(value: Any) -> str:
    if value is None or value == "":
        return "not set"
    return value if isinstance(value, str) else as_json(value)


class Remove(NamedTuple):
    """What `config remove` takes."""

    name: Known


def init(common: Common) -> int:
    """Write a config.toml that explains itself, where there is none.

    Examples:

      bgresp config init
    """
    context = Context.of(common, ())
    path = places.config_path(context.environ)
    if os.path.lexists(path):
        raise ConfigError(f"{path} is there already", hint="bgresp config edit")
    _write(path, profiles.template())
    return _done(context, {"config": str(path)})


def remove(options: Remove, common: Common) -> int:
    """Remove a profile that `config add` made.

    config.toml is never touched.

    Examples:

      bgresp config remove work
    """
    context = Context.of(common, ())
    path = places.config_path(context.environ)
    target = profiles.path_of(path, options.name)
    try:
        target.unlink()
    except FileNotFoundError:
        raise _not_ours(path, options.name) from None
    except OSError as error:
        message = f"cannot remove {target}: {error.strerror}"
        raise OutputError(message, hint=ELSEWHERE) from None
    jobs = context.recorder.ledger.open_jobs()
    count = sum(job.profile == options.name for job in jobs)
    if count:
        keep = "keeps its" if count == 1 else "keep their"
        context.say(f"{counted(count, 'open job')} of it {keep} endpoint and key")
    _forget_default(context, files.default_path(path), options.name)
    return _done(context, {"profile": options.name, "path": str(target)})


def _forget_default(context: Context, path: Path, name: str) -> None:
    """Take back that a profile is the default, where `config use` chose it."""
    with suppress(OSError, UnicodeDecodeError):
        if path.read_text("utf-8").strip() == name:
            path.unlink()
            context.say(f"{name} was the default: bgresp config use NAME")


def list_(common: Common) -> int:
    """List every profile: its endpoint, its file, and whether its key is set.

    Built-in ones need nothing but their key. No key is read.

    Examples:

      bgresp config list
      bgresp config list --json | jq -r '.[] | select(.default).name'
    """
    context = Context.of(common, PROFILE_FIELDS)
    config, wanted = context.config, common.wanted_fields()
    rows = [_profile_row(context, name) for name in files.known_profiles(config)]
    usual = _default_of(context)
    for row in rows:
        row["default"] = row["name"] == usual
    rows.sort(key=lambda row: (row["origin"] == BUILT_IN, row["name"]))
    if context.is_json:
        named = wanted or PROFILE_FIELDS
        records.show(
            context, [{n: row[n] for n in named} for row in rows], single=False
        )
    elif common.quiet:
        for row in rows:
            context.streams.line(row["name"])
    else:
        show_rows(context.streams, [_profile_cells(row, wanted) for row in rows])
    return 0


PROFILE_FIELDS: Final = (
    *("name", "default", "dialect", "base_url", "model", "key", "origin"),
)
BUILT_IN: Final = "built in"
ELSEWHERE: Final = "bgresp config path; BGRESP_CONFIG names another file"


def _profile_row(context: Context, name: str) -> dict[str, Any]:
    """Return what is known of a profile; what it lacks is said in place of its URL."""
    config = context.config
    # These hold for every profile, and would hide what a profile says itself.
    environ = {k: v for k, v in context.environ.items() if not k.startswith("BGRESP_")}
    row = dict.fromkeys(PROFILE_FIELDS) | {"name": name}
    origin = config.origins.get(name)
    row["origin"] = str(origin) if origin is not None else BUILT_IN
    if origin is None and name in config.dialects:
        row["origin"] = str(config.path)
    try:
        found = resolve(Flags(profile=name), environ, config, keyed=False)
    except ConfigError as error:
        row["base_url"] = error.message.removeprefix(f"profile {name!r}: ")
        return row
    row["dialect"], row["base_url"] = found.dialect.name, found.base_url
    row["model"], row["key"] = found.model, told(found.key_source, environ)
    return row


def _profile_cells(row: dict[str, Any], wanted: tuple[str, ...]) -> list[str]:
    if wanted:
        return [_plain(row[name]) for name in wanted]
    name = f"{row['name']}{' *' if row['default'] else ''}"
    return [name, *(_plain(row[n]) for n in ("key", "base_url", "origin"))]


def _default_of(context: Context) -> str | None:
    """Return the profile that is used without -p; None where it is no profile."""
    try:
        return resolve(Flags(), context.environ, context.config, keyed=False).profile
    except ConfigError:
        return context.config.default_profile


class Use(NamedTuple):
    """What `config use` takes."""

    name: Known


def use(options: Use, common: Common) -> int:
    """Make a profile the default; it need not have its key yet.

    Examples:

      bgresp config use work
    """
    context = Context.of(common, ())
    path = places.config_path(context.environ)
    config = files.load(path)
    name, known = options.name, files.known_profiles(config)
    if name not in known:
        raise ConfigError(f"no profile {name!r}", hint=meant(name, known))
    chosen = files.default_path(path)
    if config.default_profile is not None and config.default_origin != str(chosen):
        line = profiles.line_of_default(path.read_text("utf-8-sig", "replace"))
        where = f"{path}, line {line}," if line else str(path)
        raise ConfigError(
            f"{where} names {config.default_profile!r} as the default",
            hint="bgresp config edit",
        )
    _write(chosen, f"{name}\n", force=True)
    return _done(context, {"config": str(chosen)})


def edit(common: Common) -> int:
    """Open config.toml in $VISUAL or $EDITOR, and check it afterwards.

    Where there is none, it begins as `config init` writes it.

    Examples:

      bgresp config edit
    """
    context = Context.of(common, ())
    path = places.config_path(context.environ)
    argv = _editor(context)
    if not os.path.lexists(path):
        _write(path, profiles.template())
    profile = context.common.profile or context.environ.get("BGRESP_PROFILE")
    _run([*argv, str(path)], context.environ_of_children(profile))
    mistakes = list(profiles.mistakes(files.load(path)))
    for mistake in mistakes[:-1]:
        context.tell_error(mistake)
    if mistakes:
        raise mistakes[-1]
    return _done(context, {"config": str(path)})


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
        _done = subprocess.run(  # noqa: S603  the user's own editor
            argv, check=False, env=environ
        )
    except OSError as error:
        message = f"cannot run the editor {argv[0]!r}: {error.strerror}"
        raise ConfigError(message, hint="export EDITOR=...") from None
    finally:
        signal.signal(signal.SIGINT, before)
    if _done.returncode != 0:
        raise ConfigError(f"the editor {argv[0]!r} ended with {_done.returncode}")


def _write(path: Path, text: str, *, force: bool = False) -> None:
    """Write a private file whole; what is there is only replaced with `force`."""
    try:
        path.parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot make {path.parent}: {error.strerror}"
        raise OutputError(message, hint=ELSEWHERE) from None
    output.write_file(path, text, force=force, mode=PRIVATE_FILE, hint=ELSEWHERE)


def _done(context: Context, record: dict[str, str]) -> int:
    """Print which file it was."""
    if context.is_json:
        records.show(context, [record], single=True)
    else:
        context.streams.line(record.get("path") or record["config"])
    return 0


class Add(NamedTuple):
    """What `config add` takes; --base-url, --allow-http and -H are its own too."""

    name: Annotated[str, typer.Argument(metavar="NAME", help="The profile.")]
    dialect: Annotated[
        str | None,
        opt("--dialect", help="The API that it speaks (openai).", metavar="D"),
    ] = None
    model: Annotated[
        str | None, opt("-m", "--model", help="Its default model.", metavar="M")
    ] = None
    api_key_env: Annotated[
        str | None,
        opt("--api-key-env", help="The variable that has its key.", metavar="N"),
    ] = None
    api_key_file: Annotated[
        str | None,
        opt("--api-key-file", help="Or the file that has it.", metavar="FILE"),
    ] = None
    api_key_cmd: Annotated[
        str | None,
        opt("--api-key-cmd", help="Or a program that prints it.", metavar="CMD"),
    ] = None
    stream: Annotated[bool, opt("--stream", help="Create its jobs streamable.")] = False
    var: Annotated[
        list[str] | None,
        opt("--var", help="A variable of its dialect (repeat).", metavar="K=V"),
    ] = None
    command: Annotated[
        str | None,
        opt(
            "--exec",
            help="Serve a program on this machine (dialect local).",
            metavar="CMD",
            panel=ENGINE,
        ),
    ] = None
    whole_request: WholeRequest = False
    upstream: Annotated[
        str | None,
        opt(
            "--upstream",
            help="Serve a server on this machine (dialect local).",
            metavar="URL",
            panel=ENGINE,
        ),
    ] = None
    upstream_key_env: UpstreamKeyEnv = None
    upstream_api: UpstreamApi = None
    force: Annotated[bool, opt("--force", help="Replace a profile of this name.")] = (
        False
    )


def add(options: Add, common: Common) -> int:
    """Write a profile into a file of its own, profiles/NAME.toml.

    Examples:

      bgresp config add work --base-url https://llm.example/v1 --api-key-env MY_KEY
      bgresp config add team --dialect mka1 --var end_user=user-7 -m large
      bgresp config add night --upstream http://127.0.0.1:11434/v1 -m llama3.2
      bgresp config add shout --exec 'tr a-z A-Z'
    """
    context = Context.of(common, ())
    if common.profile is not None:
        raise UsageError("the new profile is NAME; -p has no meaning here")
    path = places.config_path(context.environ)
    target = profiles.path_of(path, options.name)
    profile = _table(options, common)
    config = files.load(path)
    profiles.known_dialect(profile["dialect"], config)
    _refuse_taken(options, config, target)
    try:
        notes = profiles.checked(options.name, profile, config)
    except MissingError as error:
        error.hint = _again(options, common, error.names)
        raise
    import tomli_w

    _write(target, tomli_w.dumps(profile), force=options.force)
    for note in notes:
        context.say(note)
    _say_of_key(context, files.load(path), options)
    return _done(context, {"profile": options.name, "path": str(target)})


def _say_of_key(context: Context, config: files.Config, options: Add) -> None:
    """Say what a new profile needs yet before it has a key."""
    env, name = options.api_key_env, options.name
    if env and not context.environ.get(env):
        context.say(f"{env} is not set yet: export {env}=...")
        return
    environ = {k: v for k, v in context.environ.items() if not k.startswith("BGRESP_")}
    source = resolve(Flags(profile=name), environ, config, keyed=False).key_source
    if source.kind == "file" and not Path(source.name).expanduser().is_file():
        context.say(f"{source.name} is not there yet: it holds the key alone")
    elif source == KeySource(MISSING):
        ways = "--api-key-env, --api-key-file or --api-key-cmd"
        context.say(f"{name} has no key configured: add it again with {ways} --force")
    elif source.kind == MISSING:
        context.say(f"{source.name} is not set yet: export {source.name}=...")


def _argv(given: str | None, option: str) -> list[str]:
    """Read a program and its arguments; nothing where none was given."""
    try:
        command = shlex.split(given or "")
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
    if given is not None and not command:
        raise UsageError(f"{option} takes a program and its arguments")
    return command


def _table(options: Add, common: Common) -> dict[str, Any]:
    """Return the profile as its file will say it; only what was given."""
    env = options.api_key_env
    key = options.upstream_key_env
    served = options.command is not None or options.upstream is not None
    command = _argv(options.command, "--exec")
    ways = (env, options.api_key_file, options.api_key_cmd)
    if sum(way is not None for way in ways) > 1:
        message = "--api-key-env, --api-key-file and --api-key-cmd exclude each other"
        raise UsageError(message)
    EngineOptions(
        command=tuple(command),
        whole_request=options.whole_request,
        upstream=options.upstream,
        upstream_key_env=key,
        upstream_api=options.upstream_api,
    ).check()
    found: dict[str, Any] = {
        "dialect": options.dialect or ("local" if served else "openai"),
        "base_url": common.base_url,
        "model": options.model,
        "api_key_env": profiles.variable(env) if env is not None else None,
        "api_key_file": options.api_key_file,
        "api_key_cmd": _argv(options.api_key_cmd, "--api-key-cmd") or None,
        "stream": options.stream or None,
        "allow_http": common.allow_http or None,
        "vars": pairs(options.var, "--var") or None,
        "headers": common.headers() or None,
        "exec": command or None,
        "exec_json": options.whole_request or None,
        "upstream": options.upstream,
        "upstream_key_env": key and profiles.variable(key, "--upstream-key-env"),
        "upstream_api": options.upstream_api,
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


def _again(options: Add, common: Common, missing: tuple[str, ...]) -> str:
    """Return the same command with the variables that are missing.

    A header's value may be a secret: it is left to be written again.
    """
    given = {
        "--dialect": options.dialect,
        "--base-url": common.base_url,
        "-m": options.model,
        "--api-key-env": options.api_key_env,
        "--api-key-file": options.api_key_file,
        "--api-key-cmd": options.api_key_cmd,
        "--exec": options.command,
        "--upstream": options.upstream,
        "--upstream-key-env": options.upstream_key_env,
        "--upstream-api": options.upstream_api,
    }
    words = ["bgresp", "config", "add", options.name]
    words += [word for pair in given.items() if pair[1] for word in pair if word]
    words += [word for pair in options.var or () for word in ("--var", pair)]
    words += [word for name in common.headers() for word in ("-H", f"{name}: ...")]
    words += ["--exec-json"] * options.whole_request + ["--stream"] * options.stream
    words += ["--allow-http"] * common.allow_http + ["--force"] * options.force
    return " ".join([shlex.join(words), *as_options(missing)])


class Trust(NamedTuple):
    """What `config trust` takes."""

    url: Annotated[
        str, typer.Argument(metavar="BASE_URL", help="Where the key may be sent.")
    ]


def trust(options: Trust, common: Common) -> int:
    """Let a profile's key be sent to a base URL that jobs in the ledger name.

    A ledger may come from elsewhere: a key is sent to the base URL of a job only where
    the configuration, an earlier submit or this command says so. It is the key that
    submit --base-url BASE_URL would use; -p says of which profile. No key is read; the
    pair is kept in endpoints.jsonl beside config.toml.

    Examples:

      bgresp config trust https://llm.example.com/v1
      bgresp config trust https://llm.example.com/v1 -p work
    """
    context = Context.of(common, ())
    flags = context.flags._replace(base_url=options.url)
    settings = resolve(flags, context.environ, context.config)
    source = str(settings.key_source)
    pair = pair_of(settings)._replace(trusted=True)
    path = noted_path(context.config.path)
    note_endpoints(path, [pair], context.machine.noted)
    if context.is_json:
        record = {"endpoints": str(path), "base_url": pair.base_url}
        record |= {"key_source": source, "profile": pair.profile}
        records.show(context, [record], single=True)
    else:
        context.streams.line(f"{source} of {pair.profile} may go to {pair.base_url}")
    return 0
