"""`bgresp doctor --probe`: ask first, make the jobs, print and keep what was seen."""

import sys
from dataclasses import replace
from typing import Final

from bgresp.cli.context import Context
from bgresp.cli.refs import PROBE
from bgresp.config.settings import Settings, resolve
from bgresp.core.capabilities import Ability, Capabilities, Verdict
from bgresp.core.errors import ExitCode, UsageError
from bgresp.core.model import Job
from bgresp.render.streams import stdin_is_terminal
from bgresp.render.table import show_rows

NOT_WANTED: Final = "nothing was sent"
_LEVELS: Final = {Verdict.YES: "ok", Verdict.NO: "warn", Verdict.UNKNOWN: "warn"}


def probe(context: Context, model: str | None, *, yes: bool) -> int:
    """Probe the endpoint for new jobs; return the exit code.

    Raises UsageError where nobody can be asked, and what a submit raises.
    """
    from bgresp.cli.running import run

    flags = replace(context.flags, model=model)
    settings = resolve(flags, context.environ, context.config)
    if not yes and not _agreed(context, settings, model):
        context.say(NOT_WANTED)
        return int(ExitCode.OK)
    context.detached = "the probe's jobs go on: bgresp list -l probe"
    return run(context, _probed(context, settings))


async def _probed(context: Context, settings: Settings) -> int:
    from bgresp.engine import probe as engine
    from bgresp.ledger import cards

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
    path = cards.save(context.state, card)
    _show(context, card)
    context.say(f"kept in {path}; watch and cancel go by it")
    strands = card.lacks(Ability.RETRIEVE) and not card.lacks(Ability.BACKGROUND)
    return int(ExitCode.REFUSED if strands else ExitCode.OK)


def _agreed(context: Context, settings: Settings, model: str | None) -> bool:
    """Ask a person.

    Raises UsageError where there is none.
    """
    count = 2 if "cancel" in settings.dialect.ops else 1
    jobs = "1 small job" if count == 1 else f"up to {count} small jobs"
    of = f" of {settings.model}" if settings.model else ""
    what = f"the probe makes {jobs}{of} at {settings.base_url}"
    if not stdin_is_terminal():
        given = context.common.base_url
        words = ["bgresp doctor --probe --yes -p", settings.profile]
        words += ["--base-url", given] if given else []
        again = " ".join(words + (["-m", model] if model else []))
        raise UsageError(f"nobody is here to agree: {what}", hint=again)
    context.say(f"{what}, with the key from {settings.key_source}; go on? [y/N]")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _show(context: Context, card: Capabilities) -> None:
    if context.is_json:
        context.show_records([card.to_dict()], single=True)
        return
    rows = []
    for ability in Ability:
        found = card.of(ability)
        level = _LEVELS[found.verdict]
        if ability is Ability.RETRIEVE and card.lacks(ability):
            level = "bad"
        rows.append((level, str(ability), str(found.verdict), found.detail))
    show_rows(context.streams, rows)
