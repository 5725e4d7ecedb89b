"""From the options of a submit to drafts: the record and the body of each request."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bgresp.cli import inputs, refs
from bgresp.cli.context import Context
from bgresp.cli.options import pairs, seconds
from bgresp.config.settings import Settings
from bgresp.core.errors import UsageError
from bgresp.core.model import Job
from bgresp.core.request import Request, digest, render
from bgresp.engine.submit import Draft

if TYPE_CHECKING:
    from bgresp.cli.submit import Options


@dataclass(frozen=True, slots=True)
class Drafting:
    """What all drafts of one command share."""

    settings: Settings
    request: Request
    job: Job
    stream: bool
    keep: bool

    @classmethod
    def of(cls, context: Context, options: "Options") -> "Drafting":
        """Read the options once.

        Raises UsageError, ConfigError, NoSuchJobError.
        """
        settings = context.settings(model=options.model)
        changes = [inputs.change(item) for item in options.changes or []]
        body = inputs.json_or_file(options.body, "--body") if options.body else None
        system = options.system
        request = Request(
            model=settings.model,
            instructions=inputs.text_or_file(system, "-s") if system else None,
            previous_id=_previous(context, options.previous),
            metadata=pairs(options.metadata, "--metadata"),
            max_output_tokens=options.max_output_tokens,
            body=body,
            changes=tuple(changes),
        )
        stream = options.stream
        if stream is None:
            stream = settings.stream or options.watch
        return cls(
            settings=settings,
            request=request,
            job=_record(settings, options, request),
            stream=stream and "stream" in settings.dialect.ops,
            keep=not options.no_keep_prompt,
        )

    def draft(self, text: str | None) -> Draft:
        """Return the draft of one prompt; None where a raw body says it all.

        Raises UsageError.
        """
        from dataclasses import replace

        asked = replace(self.request, text=text)
        dialect = self.settings.dialect
        body: dict[str, Any] = render(asked, dialect, self.settings.vars)
        if self.stream:
            body |= dialect.stream_body
        elif body.get("stream") is True:
            raise UsageError("a body with stream: true needs --stream or --watch")
        model = body.get("model")
        job = replace(
            self.job,
            model=model if isinstance(model, str) else None,
            streamable=self.stream,
            request_sha256=digest(body),
            extra={**self.job.extra, **_unstored(body)},
        )
        return Draft(job, body, stream=self.stream, keep=self.keep)


def _unstored(body: dict[str, Any]) -> dict[str, Any]:
    return {"store": False} if body.get("store") is False else {}


def _record(settings: Settings, options: "Options", request: Request) -> Job:
    import time

    return Job(
        key="",
        name=options.name,
        group=options.group,
        submit_key=options.key,
        labels=pairs(options.label, "-l"),
        profile=settings.profile,
        base_url=settings.base_url,
        dialect=settings.dialect.name,
        vars=settings.vars,
        submitted_at=time.time(),
        previous_id=request.previous_id,
        expect=seconds(options.expect),
        output_path=options.output if options.output != inputs.STDIN else None,
        extra={"key_source": str(settings.key_source)},
    )


def _previous(context: Context, ref: str | None) -> str | None:
    """Return the response id to continue from; an unknown one is taken as an id."""
    if ref is None:
        return None
    job = refs.find(context, ref)
    if job is not None and job.id is None:
        raise UsageError(f"--previous {ref}: that job has no response id")
    return ref if job is None else job.id
