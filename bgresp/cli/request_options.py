"""The options that shape a request, of `submit` and as defaults of `batch`.

`request_of` reads and checks everything they name: every refusal is raised before
anything is sent.
"""

import mimetypes
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import unquote, urlsplit

from bgresp.cli import inputs, refs
from bgresp.cli.context import Context
from bgresp.cli.options import opt
from bgresp.core.errors import UsageError
from bgresp.core.request import (
    MAX_BYTES,
    OURS,
    Part,
    Request,
    check_clashes,
    file_part,
    url_part,
)

if TYPE_CHECKING:
    from bgresp.config.settings import Settings

MAX_SCHEMA_NAME: Final = 64  # of text.format.name, as the characters below: OpenAI
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")
_TOOL: Final = re.compile(r"[A-Za-z0-9_.:-]+")
UNKNOWN: Final = "application/octet-stream"
_PACKED: Final = {"gzip": "application/gzip", "bzip2": "application/x-bzip2"}
_WEB: Final = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Shape:
    """What is asked, but for the prompt itself."""

    model: Annotated[
        str | None, opt("-m", "--model", help="The model.", metavar="M")
    ] = None
    system: Annotated[
        str | None,
        opt("-s", "--system", help="Instructions.", metavar="STR|@FILE"),
    ] = None
    attach: Annotated[
        list[str] | None,
        opt("--attach", help="A file or image (repeat).", metavar="PATH|URL"),
    ] = None
    var: Annotated[
        list[str] | None,
        opt("--var", help="Fill {{K}} in the texts (repeat).", metavar="K=V"),
    ] = None
    schema: Annotated[
        str | None,
        opt("--schema", help="The answer is JSON of this schema.", metavar="@FILE"),
    ] = None
    tool: Annotated[
        list[str] | None,
        opt("--tool", help="A tool it may use (repeat).", metavar="NAME|JSON"),
    ] = None
    max_output_tokens: Annotated[
        int | None,
        opt("--max-output-tokens", help="Stop the answer there.", metavar="N"),
    ] = None
    previous: Annotated[
        str | None, opt("--previous", help="Continue from a job.", metavar="REF")
    ] = None
    metadata: Annotated[
        list[str] | None,
        opt("--metadata", help="Metadata for the endpoint (repeat).", metavar="K=V"),
    ] = None
    body: Annotated[
        str | None,
        opt("--body", help="The raw request body.", metavar="@FILE|JSON"),
    ] = None
    changes: Annotated[
        list[str] | None,
        opt("--set", help="Set a field of the body (repeat).", metavar="PATH=VALUE"),
    ] = None

    @property
    def stdin_uses(self) -> int:
        """Return how many of the options read stdin."""
        return [self.system, self.body, self.schema].count("@" + inputs.STDIN)


def request_of(context: Context, shape: Shape, settings: "Settings") -> Request:
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
        attachments=_attachments(shape.attach or ()),
        tools=_tools(shape.tool or ()),
        schema=_format(shape.schema) if shape.schema is not None else None,
        max_output_tokens=shape.max_output_tokens,
        body=None if shape.body is None else inputs.json_or_file(shape.body, "--body"),
        changes=inputs.changes(shape.changes or ()),
        variables=inputs.pairs(shape.var, "--var"),
    )
    # A profile's model is a default: only one that was asked for can clash.
    check_clashes(replace(request, model=shape.model), settings.dialect)
    return request


def _metadata(given: list[str] | None) -> dict[str, str]:
    found = inputs.pairs(given, "--metadata")
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


def _attachments(given: Sequence[str]) -> tuple[Part, ...]:
    """Return a message part for each PATH or URL, in their order."""
    found: list[Part] = []
    room = MAX_BYTES
    for item in given:
        if item.lower().startswith(_WEB):
            found.append(url_part(_checked_url(item), _kind(urlsplit(item).path)))
            continue
        data = _read(item, room)
        room -= len(data)
        found.append(file_part(Path(item).name, _kind(item), data))
    return tuple(found)


def _checked_url(url: str) -> str:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if not host or not url.isprintable() or " " in url:
        raise UsageError(f"--attach {url!r}: not a URL")
    return url


def _read(path: str, room: int) -> bytes:
    shown = f"--attach {path}"
    if path == inputs.STDIN:
        raise UsageError(f"{shown}: stdin has no name; give a PATH or a URL")
    data = inputs.read_bytes(path, shown, most=room)
    if data is None:
        limit = MAX_BYTES // 1_000_000
        raise UsageError(
            f"{shown}: the attachments are larger than {limit} MB together",
            hint="upload it to where the endpoint can fetch it, and attach its URL",
        )
    if not data:
        raise UsageError(f"{shown}: is empty")
    return data


def _kind(path: str) -> str:
    """Guess a media type from the end of a path or of a URL's path."""
    name = unquote(path.rpartition("/")[2])
    kind, packed = mimetypes.guess_type(f"./{name}", strict=False)
    return _PACKED.get(packed, UNKNOWN) if packed else kind or UNKNOWN
