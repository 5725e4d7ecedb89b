"""Templates of a dialect become requests: bodies, paths and queries, with values."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from bgresp.core.dialect import HOLE, Op


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Fill `{name}` holes in a tree.

    An entry with an unset hole is left out, and a table or list of which nothing is
    left; an item of a list with an unset hole goes whole: a message without its content
    says nothing. A text that is one hole and nothing else keeps the JSON type of its
    value.
    """
    if isinstance(template, Mapping):
        filled = {key: fill(value, values) for key, value in template.items()}
        return {k: v for k, v in filled.items() if _says(v, template[k])}
    if isinstance(template, list):
        return [fill(item, values) for item in template if _is_set(item, values)]
    if not isinstance(template, str):
        return template
    whole = HOLE.fullmatch(template)
    if whole:
        return values.get(whole[1])
    if any(values.get(name) is None for name in HOLE.findall(template)):
        return None
    return HOLE.sub(lambda hole: str(values[hole[1]]), template)


def _says(filled: Any, template: Any) -> bool:
    """Say whether something is left of an entry; what was empty may stay so."""
    if filled is None or filled == "":
        return False
    emptied = isinstance(template, Mapping | list) and template and not filled
    return not emptied


def _is_set(item: Any, values: Mapping[str, Any]) -> bool:
    """Say whether an item of a list has a value in each of its holes."""
    if isinstance(item, Mapping):
        return all(_is_set(value, values) for value in item.values())
    filled = fill(item, values)
    return filled == "" or _says(filled, item)


def target(op: Op, values: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the path and query of an operation; every value is percent-encoded.

    Dots are encoded too where they alone make up a value: `..` must stay an id.
    """
    path, _, query = op.path.partition("?")
    encoded = {name: encode(str(v)) for name, v in values.items() if v is not None}
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    wanted = {name: fill(value, values) for name, _, value in pairs}
    filled = HOLE.sub(lambda hole: encoded.get(hole[1], ""), path)
    return filled, {name: str(v) for name, v in wanted.items() if v is not None}


def encode(value: str) -> str:
    """Percent-encode one path segment, dot segments too."""
    quoted = quote(value, safe="", errors="surrogatepass")
    return quoted.replace(".", "%2E") if set(value) <= {"."} else quoted
