"""What options name: prompts, bodies, pairs, checked before anything is sent.

And the request that they make together, which submit and batch share. Every refusal is
a UsageError that names the file and the reason.
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from bgresp.cli.context import Context
from bgresp.cli.options import Annotated, opt
from bgresp.core.errors import UsageError
from bgresp.core.request import (
    MAX_BYTES,
    MAX_PROMPT,
    OURS,
    Part,
    Request,
    check_clashes,
    checked_prompt,
    file_part,
    url_part,
)
from bgresp.core.text import NotUtf8Error, parse_json, text_of
from bgresp.render.streams import as_json

if TYPE_CHECKING:
    from bgresp.config.settings import Settings

STDIN: Final = "-"
WHERE_KEYS_GO: Final = (
    "export OPENAI_API_KEY=..., or the variable that `bgresp config show` names"
)
_MOST_BYTES: Final = 4 * MAX_PROMPT
MAX_SCHEMA_NAME: Final = 64  # of text.format.name, as the characters below: OpenAI
_NOT_IN_NAME: Final = r"[^A-Za-z0-9_-]+"
_TOOL: Final = r"[A-Za-z0-9_.:-]+"
UNKNOWN: Final = "application/octet-stream"
_PACKED: Final = {"gzip": "application/gzip", "bzip2": "application/x-bzip2"}
_WEB: Final = ("http://", "https://")


def prompt(name: str) -> str:
    """Read a prompt from a file, or from stdin where the name is `-`."""
    shown = "stdin" if name == STDIN else name
    return checked_prompt(_text(name, shown), shown)


def text_or_file(value: str, option: str) -> str:
    """Read STR, or @FILE."""
    if not value.startswith("@"):
        check_utf8(value, option)
        return value.removeprefix("\ufeff")
    shown = f"{option} {value}"
    return _text(value[1:], shown)


def check_utf8(word: str, option: str) -> None:
    """Refuse a word of the command line that is no text: a body would have no letter.

    Raises UsageError.
    """
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"{option}: {word[:80]!r} is not UTF-8") from None


def json_or_file(value: str, option: str) -> dict[str, Any]:
    """Read a JSON object, or @FILE that holds one."""
    shown = f"{option} {value}" if value.startswith("@") else option
    return json_object(text_or_file(value, option), shown)


def json_object(text: str, option: str) -> dict[str, Any]:
    """Parse a JSON object."""
    try:
        found = parse_json(text)
    except ValueError as error:
        raise UsageError(f"{option}: not JSON ({str(error)[:80]})") from None
    if not isinstance(found, dict):
        raise UsageError(f"{option}: must be a JSON object")
    return found


def key_as_name() -> UsageError:
    """Return the refusal of --key where an API key was given; it is not said again."""
    return UsageError(
        "--key takes a name for one job, and this looks like an API key: nothing was "
        "sent or written",
        hint=WHERE_KEYS_GO,
    )


def pairs(items: list[str] | None, option: str) -> dict[str, str]:
    """Read repeated K=V options.

    Raises UsageError when one has no `=`, or a name is given twice with two values.
    """
    found: dict[str, str] = {}
    for item in items or []:
        name, mark, value = item.partition("=")
        if not mark or not name:
            raise UsageError(f"{option} takes K=V, not {item!r}")
        if found.setdefault(name, value) != value:
            raise UsageError(f"{option} gives {name!r} twice, with two values")
    return found


def labels(environ: Mapping[str, str], given: list[str] | None) -> dict[str, str]:
    """Return the labels of a new job: those of BGRESP_LABELS, and of -l.

    Raises UsageError when one has no `=`.
    """
    usual = [item.strip() for item in environ.get("BGRESP_LABELS", "").split(",")]
    named = pairs([item for item in usual if item], "BGRESP_LABELS")
    return {**named, **pairs(given, "-l")}


def changes(items: Iterable[str]) -> tuple[tuple[str, Any], ...]:
    """Read repeated --set; a path that is given twice has one value."""
    found: dict[str, Any] = {}
    for item in items:
        path, value = _change(item)
        if as_json(found.setdefault(path, value)) != as_json(value):
            raise UsageError(f"--set gives {path!r} twice, with two values")
    return tuple(found.items())


def _change(item: str) -> tuple[str, Any]:
    """Read one --set PATH=VALUE: VALUE is JSON, else text."""
    path, mark, value = item.partition("=")
    if not mark:
        raise UsageError(f"--set takes PATH=VALUE, not {item!r}")
    try:
        return path, parse_json(value)
    except ValueError:
        return path, value


def stdin() -> BinaryIO:
    """Return stdin as bytes. Raises UsageError where it is closed."""
    if sys.stdin is None:
        raise UsageError("stdin is closed")
    return sys.stdin.buffer


def read_bytes(name: str, shown: str, *, most: int) -> bytes | None:
    """Read a file, or stdin for `-`; None where it is larger than `most`."""
    try:
        if name == STDIN:
            raw = stdin().read(most + 1)
        else:
            path = Path(name)
            if path.is_dir():
                raise UsageError(f"{shown}: is a directory")
            with path.open("rb") as file:
                raw = file.read(most + 1)
    except FileNotFoundError:
        hint = "a prompt on the command line needs -t" if shown == name else ""
        raise UsageError(f"{shown}: no such file", hint=hint) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "cannot be read"
        raise UsageError(f"{shown}: {reason}") from None
    return raw if len(raw) <= most else None


def _text(name: str, shown: str) -> str:
    raw = read_bytes(name, shown, most=_MOST_BYTES)
    if raw is None:
        raise UsageError(f"{shown}: larger than {_MOST_BYTES >> 20} MiB")
    try:
        return text_of(raw, None if name == STDIN else name)
    except NotUtf8Error as error:
        raise UsageError(f"{shown}: {error}", hint=error.hint) from None


class Shape(NamedTuple):
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
        opt("--schema", help="Ask for JSON of this schema.", metavar="@FILE"),
    ] = None
    tool: Annotated[
        list[str] | None,
        opt("--tool", help="A tool it may use (repeat).", metavar="NAME|JSON"),
    ] = None
    max_output_tokens: Annotated[
        int | None,
        opt("--max-output-tokens", help="End the answer after N tokens.", metavar="N"),
    ] = None
    previous: Annotated[
        str | None,
        opt("--previous", help="Continue from an earlier job.", metavar="REF"),
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

    webhook_url: Annotated[
        str | None,
        opt(
            "--webhook-url",
            help="Let the endpoint notify URL of the end.",
            metavar="URL",
        ),
    ] = None
    webhook_secret_env: Annotated[
        str | None,
        opt(
            "--webhook-secret-env",
            help="The variable with the webhook's secret.",
            metavar="NAME",
        ),
    ] = None

    @property
    def stdin_uses(self) -> int:
        """Return how many of the options read stdin."""
        return [self.system, self.body, self.schema].count("@" + STDIN)


def request_of(context: Context, shape: Shape, settings: "Settings") -> Request:
    """Return the request that the options describe, without a prompt.

    Raises UsageError, NoSuchJobError.
    """
    if shape.max_output_tokens is not None and shape.max_output_tokens < 1:
        raise UsageError("--max-output-tokens takes 1 or more")
    _check_words(shape)
    request = Request(
        model=settings.model,
        instructions=text_or_file(shape.system, "-s") if shape.system else None,
        previous_id=_previous(context, shape.previous),
        metadata=_metadata(shape.metadata),
        attachments=_attachments(shape.attach or ()),
        tools=_tools(shape.tool or ()),
        schema=_format(shape.schema) if shape.schema is not None else None,
        max_output_tokens=shape.max_output_tokens,
        body=None if shape.body is None else json_or_file(shape.body, "--body"),
        changes=changes(shape.changes or ()),
        variables=pairs(shape.var, "--var"),
    )
    # A profile's model is a default: only one that was asked for can clash.
    check_clashes(request._replace(model=shape.model), settings.dialect)
    return request


def _check_words(shape: Shape) -> None:
    """Refuse what would go into a request and is no text; an @FILE may be named so.

    Raises UsageError.
    """
    for name, annotated in Shape.__annotations__.items():
        value = getattr(shape, name)
        words = value if isinstance(value, list) else [value]
        for word in words:
            if isinstance(word, str) and not word.startswith("@"):
                check_utf8(word, annotated.__metadata__[0].names[0])


def ask_for_webhook(context: Context, shape: Shape) -> None:
    """Let new jobs ask for the webhook that the options name.

    Raises UsageError.
    """
    from bgresp.config import secret

    given = (shape.webhook_url, shape.webhook_secret_env)
    options = ("--webhook-url", "--webhook-secret-env")
    said = dict(zip(secret.WEBHOOK, given, strict=True))
    context.webhook = secret.webhook(said, options)
    if context.webhook is not None:
        context.hidden.add(context.webhook.variable)  # no hook sees it


def check_webhook(context: Context, settings: "Settings") -> None:
    """Refuse a webhook without its secret, before anything is written.

    Raises ConfigError.
    """
    from bgresp.config.secret import with_secret

    webhook = with_secret(settings.webhook, context.environ)
    if webhook is not None:
        webhook.checked()


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
            if not re.fullmatch(_TOOL, item):
                raise UsageError(f"--tool takes NAME or a JSON object, not {item!r}")
            found.append({"type": item})
            continue
        tool = json_object(item, "--tool")
        if not isinstance(tool.get("type"), str):
            raise UsageError("--tool: the object needs a 'type'")
        found.append(tool)
    return tuple(found)


def _format(value: str) -> dict[str, Any]:
    """Read --schema @FILE as OpenAI's `text.format`: named, and strict."""
    if not value.startswith("@"):
        raise UsageError(f"--schema takes @FILE, not {value[:80]!r}")
    schema = json_or_file(value, "--schema")
    title = schema.get("title")
    named = title if isinstance(title, str) else Path(value[1:]).stem
    name = re.sub(_NOT_IN_NAME, "_", named).strip("_")[:MAX_SCHEMA_NAME]
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

    from bgresp.cli import refs

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
    if path == STDIN:
        raise UsageError(f"{shown}: stdin has no name; give a PATH or a URL")
    data = read_bytes(path, shown, most=room)
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
    import mimetypes

    kind, packed = mimetypes.guess_type(f"./{name}", strict=False)
    return _PACKED.get(packed, UNKNOWN) if packed else kind or UNKNOWN
