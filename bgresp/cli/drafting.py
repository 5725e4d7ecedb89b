"""From the options of a submit to drafts: the record and the body of each request."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from bgresp.cli import inputs, shaping
from bgresp.cli.context import Context
from bgresp.cli.options import seconds
from bgresp.cli.pairs import labels
from bgresp.cli.shape import Shape
from bgresp.config.settings import Settings
from bgresp.core.errors import RefusedError, UsageError
from bgresp.core.model import Job
from bgresp.core.request import Request, check_clashes, unused
from bgresp.engine.draft import Draft, drafted

if TYPE_CHECKING:
    from bgresp.cli.submit import Options


def drafts(
    context: Context, shape: Shape, options: "Options", prompts: list[str | None]
) -> list[Draft]:
    """Return a draft for each prompt; None where a raw body says it all.

    Raises UsageError, RefusedError, ConfigError, NoSuchJobError: nothing was sent.
    """
    settings = context.settings(model=shape.model, keyed=not options.dry_run)
    request = shaping.asked(context, shape, settings)
    requests = [replace(request, text=text) for text in prompts]
    for name in unused(requests):
        raise UsageError(f"--var {name}: no text has {{{{{name}}}}}")
    stream = options.stream
    if stream and "stream" not in settings.dialect.ops:
        said = f"a {settings.dialect.name} endpoint cannot stream a job"
        raise RefusedError(said, hint="without --stream it is polled")
    if stream is None:
        stream = settings.stream or options.watch
    job = _record(context, settings, options)
    found = []
    for one in requests:
        prompt = Request(text=one.text, body=one.body, changes=one.changes)
        check_clashes(prompt, settings.dialect)
        draft = drafted(job, one, settings.dialect, stream=stream)
        found.append(replace(draft, keep=not options.no_keep_prompt))
    return found


def _record(context: Context, settings: Settings, options: "Options") -> Job:
    return Job(
        key="",
        name=options.name,
        group=options.group,
        submit_key=options.key,
        labels=labels(context.environ, options.label),
        profile=settings.profile,
        base_url=settings.base_url,
        dialect=settings.dialect.name,
        vars=settings.vars,
        submitted_at=time.time(),
        expect=seconds(options.expect),
        output_path=options.output if options.output != inputs.STDIN else None,
        extra=settings.kept,
    )
