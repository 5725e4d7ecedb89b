"""What options name: prompts, bodies, pairs, checked before anything is sent.

Every refusal is a UsageError that names the file and the reason.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from bgresp.core.errors import UsageError
from bgresp.core.request import MAX_PROMPT, checked_prompt
from bgresp.core.text import NotUtf8Error, parse_json, text_of
from bgresp.render.streams import as_json

STDIN: Final = "-"
WHERE_KEYS_GO: Final = (
    "export OPENAI_API_KEY=..., or the variable that `bgresp config show` names"
)
_MOST_BYTES: Final = 4 * MAX_PROMPT


def prompt(name: str) -> str:
    """Read a prompt from a file, or from stdin where the name is `-`."""
    shown = "stdin" if name == STDIN else name
    return checked_prompt(_text(name, shown), shown)


def text_or_file(value: str, option: str) -> str:
    """Read STR, or @FILE."""
    if not value.startswith("@"):
        return value.removeprefix("\ufeff")
    shown = f"{option} {value}"
    return _text(value[1:], shown)


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


def read_bytes(name: str, shown: str, *, most: int) -> bytes | None:
    """Read a file, or stdin for `-`; None where it is larger than `most`."""
    try:
        if name == STDIN:
            if sys.stdin is None:
                raise UsageError("stdin is closed")
            raw = sys.stdin.buffer.read(most + 1)
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
