"""`bgresp config add`: a profile in a file of its own; config.toml is never written."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from bgresp.cli.configuring import Name, done, write
from bgresp.cli.context import Context
from bgresp.cli.inputs import pairs
from bgresp.cli.options import Common, opt
from bgresp.cli.panels import ENGINE
from bgresp.config import files, places, profiles
from bgresp.config.variables import MissingError, as_options
from bgresp.core.errors import ConfigError, UsageError
from bgresp.serve.engine_options import EngineOptions


@dataclass(frozen=True, slots=True)
class Add:
    """What `config add` takes; --base-url, --allow-http and -H are its own too."""

    name: Name
    dialect: Annotated[
        str | None,
        opt("--dialect", help="How it is spoken to (openai).", metavar="D"),
    ] = None
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
    command: Annotated[
        str | None,
        opt(
            "--exec",
            help="Serve this program here (dialect local).",
            metavar="CMD",
            panel=ENGINE,
        ),
    ] = None
    whole_request: Annotated[
        bool,
        opt("--exec-json", help="Give CMD the whole request.", panel=ENGINE),
    ] = False
    upstream: Annotated[
        str | None,
        opt(
            "--upstream",
            help="Serve this server here (dialect local).",
            metavar="URL",
            panel=ENGINE,
        ),
    ] = None
    upstream_key_env: Annotated[
        str | None,
        opt(
            "--upstream-key-env",
            help="Its key is in this variable.",
            metavar="NAME",
            panel=ENGINE,
        ),
    ] = None
    upstream_api: Annotated[
        str | None,
        opt(
            "--upstream-api",
            help="What it speaks; else it is found out.",
            metavar="responses|chat",
            panel=ENGINE,
        ),
    ] = None
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
    context = Context.of(common)
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

    write(target, tomli_w.dumps(profile), force=options.force)
    for note in notes:
        context.say(note)
    env = options.api_key_env
    if env and not context.environ.get(env):
        context.say(f"{env} is not set yet: export {env}=...")
    return done(context, {"profile": options.name, "path": str(target)})


def _table(options: Add, common: Common) -> dict[str, Any]:
    """Return the profile as its file will say it; only what was given."""
    env = options.api_key_env
    key = options.upstream_key_env
    served = options.command is not None or options.upstream is not None
    try:
        command = shlex.split(options.command or "")
    except ValueError as error:
        raise UsageError(f"--exec: {error}") from None
    if options.command is not None and not command:
        raise UsageError("--exec takes a program and its arguments")
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
        "--exec": options.command,
        "--upstream": options.upstream,
        "--upstream-key-env": options.upstream_key_env,
        "--upstream-api": options.upstream_api,
    }
    words = ["bgresp", "config", "add", options.name]
    words += [word for pair in given.items() if pair[1] for word in pair if word]
    words += [word for pair in options.var or () for word in ("--var", pair)]
    words += [word for name in common.headers() for word in ("-H", f"{name}: ...")]
    words += ["--exec-json"] * options.whole_request
    words += ["--allow-http"] * common.allow_http + ["--force"] * options.force
    return " ".join([shlex.join(words), *as_options(missing)])
