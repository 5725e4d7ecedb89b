"""K=V, as options and variables give it."""

from collections.abc import Mapping

from bgresp.core.errors import UsageError


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
