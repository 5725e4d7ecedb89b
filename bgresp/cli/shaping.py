"""From the options that shape a request to the request: everything they name is read.

Every refusal is raised here, before anything is sent.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bgresp.cli import attachments, inputs, refs
from bgresp.cli.context import Context
from bgresp.cli.pairs import pairs
from bgresp.cli.shape import Shape
from bgresp.config.settings import Settings
from bgresp.core.errors import UsageError
from bgresp.core.request import OURS, Request, check_clashes

MAX_SCHEMA_NAME: Final = 64  # of text.format.name, as the characters below: OpenAI
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")
_TOOL: Final = re.compile(r"[A-Za-z0-9_.:-]+")


def asked(context: Context, shape: Shape, settings: Settings) -> Request:
    """Return the request that the options describe, without a prompt.

    Raises UsageError, NoSuchJobError.
    """
    if shape.max_output_tokens is not None and shape.max_output_tokens < 1:
        raise UsageError("--max-output-tokens takes 1 or more")
    request = Request(
        model=settings.model,
        instructions=inputs.text_or_file(shape.system, "-s") if shape.system else None,
        previous_id=_previous(context, shape.previous),
        metadata=_metadata(shape.metadata),
        attachments=attachments.parts(shape.attach or ()),
        tools=_tools(shape.tool or ()),
        schema=_format(shape.schema) if shape.schema is not None else None,
        max_output_tokens=shape.max_output_tokens,
        body=None if shape.body is None else inputs.json_or_file(shape.body, "--body"),
        changes=inputs.changes(shape.changes or ()),
        variables=pairs(shape.var, "--var"),
    )
    # A profile's model is a default: only one that was asked for can clash.
    check_clashes(replace(request, model=shape.model), settings.dialect)
    return request


def _metadata(given: list[str] | None) -> dict[str, str]:
    found = pairs(given, "--metadata")
    if OURS in found:
        raise UsageError(f"--metadata {OURS}: the name is bgresp's own")
    return found


def _tools(given: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """Read --tool: `web_search` is `{"type": "web_search"}`, or a whole JSON object."""
    found = []
    for item in given:
        if not item.lstrip().startswith("{"):
            if not _TOOL.fullmatch(item):
                raise UsageError(f"--tool takes NAME or a JSON object, not {item!r}")
            found.append({"type": item})
            continue
        tool = inputs.json_object(item, "--tool")
        if not isinstance(tool.get("type"), str):
            raise UsageError("--tool: the object needs a 'type'")
        found.append(tool)
    return tuple(found)


def _format(value: str) -> dict[str, Any]:
    """Read --schema @FILE as OpenAI's `text.format`: named, and strict."""
    if not value.startswith("@"):
        raise UsageError(f"--schema takes @FILE, not {value[:80]!r}")
    schema = inputs.json_or_file(value, "--schema")
    title = schema.get("title")
    named = title if isinstance(title, str) else Path(value[1:]).stem
    name = _NOT_IN_NAME.sub("_", named).strip("_")[:MAX_SCHEMA_NAME]
    return {
        "type": "json_schema",
        "name": name or "answer",
        "schema": schema,
        "strict": True,
    }


def _previous(context: Context, ref: str | None) -> str | None:
    """Return the response id to continue from; an unknown one is taken as an id."""
    if ref is None:
        return None
    job = refs.find(context, ref)
    if job is not None and job.id is None:
        raise UsageError(f"--previous {ref}: that job has no response id")
    return ref if job is None else job.id
