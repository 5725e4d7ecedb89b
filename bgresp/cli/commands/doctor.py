"""`bgresp doctor`: what may be wrong, and with --fix some of it put right."""

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

from bgresp.cli import records
from bgresp.cli.context import Context
from bgresp.cli.options import Common, opt
from bgresp.cli.refs import PROBE
from bgresp.config.settings import Settings, resolve
from bgresp.core.errors import ConfigError, ExitCode, UsageError
from bgresp.core.model import Job
from bgresp.render.streams import stdin_is_terminal
from bgresp.render.table import show_rows

if TYPE_CHECKING:
    from bgresp.engine.checkup import Check
    from bgresp.engine.endpoints import Capabilities

NOT_WANTED: Final = "nothing was sent"
_LEVELS: Final = {"yes": "ok", "no": "warn", "unknown": "warn"}


class Options(NamedTuple):
    """What `doctor` takes."""

    fix: Annotated[
        bool,
        opt("--fix", help="Make files private, restore records, set bad lines aside."),
    ] = False
    probe: Annotated[
        bool, opt("--probe", help="Submit short jobs to see what the endpoint can do.")
    ] = False
    yes: Annotated[bool, opt("--yes", help="Probe without asking first.")] = False
    model: Annotated[
        str | None, opt("-m", "--model", help="The model to probe with.", metavar="M")
    ] = None


def doctor(options: Options, common: Common) -> int:
    """Check configuration, ledger, locks and clock; or probe an endpoint.

    Prints a line a check: ok, warn or bad, what, detail. Exits 0 when nothing is bad.
    Without --probe no endpoint is asked. A probe submits up to two short jobs, which
    cost what jobs cost, and saves what it saw: watch and cancel rely on it.

    Examples:

      bgresp doctor
      bgresp doctor --fix
      bgresp doctor --probe -p work
    """
    if options.fix and options.probe:
        raise UsageError("--fix and --probe exclude each other")
    if (options.yes or options.model) and not options.probe:
        raise UsageError("--yes and -m belong to --probe")
    if options.probe:
        return probe(Context.of(common, ()), options.model, yes=options.yes)
    from bgresp.engine.checkup import BAD, Checkup

    context = Context.of(common, ())
    checkup = Checkup(
        context.recorder, context.environ, options.fix, os.getuid(), _mountinfo()
    )
    configuration = list(_configuration(context))
    checks = [*configuration, *checkup.all()]
    if context.is_json:
        records.show(context, [asdict(check) for check in checks], single=False)
    else:
        rows = [(one.level, one.check, one.detail) for one in checks]
        show_rows(context.streams, rows)
    bad = [check for check in checks if check.level == BAD]
    if not bad:
        return 0
    unset = all(check in configuration for check in bad)
    return int(ExitCode.CONFIG if unset else ExitCode.INTERNAL)


def _configuration(context: Context) -> "Iterator[Check]":
    from bgresp.config.files import astray
    from bgresp.config.profiles import mistakes
    from bgresp.config.settings import resolve
    from bgresp.engine.checkup import BAD, OK, WARN, Check

    try:
        config = context.config
        wrong = list(mistakes(config))
    except ConfigError as error:
        wrong = [error]
    for mistake in wrong:
        hint = f" ({mistake.hint})" if mistake.hint else ""
        yield Check("config", BAD, f"{mistake.message}{hint}")
    if wrong:
        return
    there = "" if config.path.exists() else " (not there: defaults)"
    lost = astray(context.environ)
    yield Check("config", WARN if lost else OK, lost or f"{config.path}{there}")
    level = BAD
    try:
        meant = resolve(context.flags, context.environ, config, keyed=False)
        level = WARN  # what is left is a key, or a choice, that is yet to be made
        settings = context.settings()
    except ConfigError as error:
        hint = f" ({error.hint})" if error.hint else ""
        yield Check("endpoint", level, f"{error.message}{hint}")
        if level == WARN:
            yield _network(meant)
        return
    source = settings.key_source
    yield Check("endpoint", OK, f"{settings.base_url}, the key from {source}")
    yield _network(settings)


def _network(settings: "Settings") -> "Check":
    """Set up the connection that would be used; nobody is called."""
    from bgresp.api.client import Api, connection
    from bgresp.core.endpoint import Endpoint
    from bgresp.engine.checkup import BAD, OK, Check

    endpoint = Endpoint(settings.profile, settings.base_url, settings.dialect)
    way = Api(endpoint).way
    try:
        connection(endpoint, way, keep_alive=False)
    except ConfigError as error:
        return Check("network", BAD, f"{error.message} ({error.hint})")
    return Check("network", OK, way.told)


def _mountinfo() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return ""


def probe(context: Context, model: str | None, *, yes: bool) -> int:
    """Probe the endpoint for new jobs; return the exit code.

    Raises UsageError where nobody can be asked, and what a submit raises.
    """
    flags = context.flags._replace(model=model)
    settings = resolve(flags, context.environ, context.config)
    if not yes and not _agreed(context, settings, model):
        context.say(NOT_WANTED)
        return int(ExitCode.OK)
    context.detached = "the probe's jobs go on: bgresp list -l probe"
    return context.run(_probed(context, settings))


async def _probed(context: Context, settings: Settings) -> int:
    from bgresp.engine import probe as engine
    from bgresp.ledger import saved

    draft = Job(
        key="",
        name=engine.NAME,
        profile=settings.profile,
        base_url=settings.base_url,
        dialect=settings.dialect.name,
        vars=settings.vars,
        model=settings.model,
        extra={**settings.kept, PROBE: True},
    )
    async with context.api(settings) as api:
        context.note_endpoint(settings)
        probing = engine.Probe(api, context.recorder, draft, context.say)
        card = await probing.run()
    path = saved.save_probed(context.state, card.base_url, card.dialect, card.to_dict())
    _show_capabilities(context, card)
    context.say(f"kept in {path}; watch and cancel go by it")
    return int(ExitCode.REFUSED if card.strands_jobs else ExitCode.OK)


def _agreed(context: Context, settings: Settings, model: str | None) -> bool:
    """Ask a person.

    Raises UsageError where there is none.
    """
    count = 2 if "cancel" in settings.dialect.ops else 1
    jobs = "1 short job" if count == 1 else f"up to {count} short jobs"
    of = f" for {settings.model}" if settings.model else ""
    what = f"the probe submits {jobs}{of} to {settings.base_url}"
    if not stdin_is_terminal():
        given = context.common.base_url
        words = ["bgresp doctor --probe --yes -p", settings.profile]
        words += ["--base-url", given] if given else []
        again = " ".join(words + (["-m", model] if model else []))
        raise UsageError(f"no terminal to ask on: {what}", hint=again)
    context.say(f"{what}, with the key from {settings.key_source}. Go on? [y/N]")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _show_capabilities(context: Context, card: "Capabilities") -> None:
    from bgresp.engine.endpoints import Ability

    if context.is_json:
        records.show(context, [card.to_dict()], single=True)
        return
    rows = []
    for ability in Ability:
        found = card.of(ability)
        level = _LEVELS[found.verdict]
        if ability is Ability.RETRIEVE and card.lacks(ability):
            level = "bad"
        rows.append((level, str(ability), str(found.verdict), found.detail))
    show_rows(context.streams, rows)
