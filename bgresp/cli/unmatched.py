"""Why a selection is empty: a group, label, model or profile that nobody knows."""

from collections.abc import Iterator
from typing import Final

from bgresp.cli.context import Context
from bgresp.cli.options import Refs
from bgresp.core.errors import ConfigError
from bgresp.core.selection import Selector
from bgresp.core.text import did_you_mean

KNOWN: Final = 10  # names that are told


def reason(context: Context, which: Refs) -> tuple[str, str] | None:
    """Return what no job has, and which names there are.

    None where all are known, or none is.
    """
    ledger = context.books.ledger
    for kind, word, selector in _named(context, which):
        if next(ledger.select(selector), None) is not None:
            continue
        known = list(dict.fromkeys(ledger.words.near(kind[0])))
        if kind == "profile":
            known = list(dict.fromkeys([*known, *_configured(context)]))
        if word in known or not known:
            continue
        names = ", ".join(known[:KNOWN]) + (", ..." if len(known) > KNOWN else "")
        return f"no {kind} {word!r}", f"{did_you_mean(word, known)}known: {names}"
    return None


def _named(context: Context, which: Refs) -> Iterator[tuple[str, str, Selector]]:
    """Yield what was asked for by name: the first letter is the index's kind."""
    if which.group is not None:
        yield "group", which.group, Selector(group=which.group)
    for word in which.label or ():
        name, mark, value = word.partition("=")
        yield "label", word, Selector(labels={name: value if mark else None})
    if which.model is not None:
        yield "model", which.model, Selector(model=which.model)
    profile = context.common.profile
    if profile is not None:
        yield "profile", profile, Selector(profile=profile)


def _configured(context: Context) -> list[str]:
    from bgresp.config.names import known_profiles

    try:
        return known_profiles(context.config)
    except ConfigError:
        return []
