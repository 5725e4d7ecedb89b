"""What a child process gets of our environment: everything but keys.

A program that is run for a job, a hook or an endpoint has no business with the keys of
every profile; what it needs is passed on by name.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

_KEYS: Final = re.compile(
    r"(.*_)?(API_?KEY|ACCESS_KEY|SECRET_KEY|PRIVATE_KEY|TOKEN|SECRET|PASSWORD)",
    re.IGNORECASE,
)


def is_key(name: str) -> bool:
    """Say whether a variable's name is that of a key by its look."""
    return _KEYS.fullmatch(name) is not None


def without_keys(
    environ: Mapping[str, str],
    *,
    named: Collection[str] = (),
    passed: Collection[str] = (),
) -> dict[str, str]:
    """Return an environment without keys.

    `named` are variables that a profile or a dialect names as its key; `passed` are
    those that the user passes on all the same.
    """
    return {
        name: value
        for name, value in environ.items()
        if name in passed or not (name in named or is_key(name))
    }
