"""Names of profiles: which there are, and which may be meant."""

import difflib
from collections.abc import Sequence

from bgresp.config.files import Config, built_in


def known_profiles(config: Config) -> list[str]:
    """Return every name that `-p` takes."""
    return sorted({*config.profiles, *config.dialects, *built_in()})


def meant(name: str, known: Sequence[str]) -> str:
    """Return a hint: which name may be meant, and which there are."""
    close = difflib.get_close_matches(name, known, n=1)
    first = f"did you mean {close[0]}? " if close else ""
    return f"{first}known: {', '.join(known)}"
