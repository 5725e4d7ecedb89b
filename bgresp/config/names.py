"""Names of profiles: which there are, and which may be meant."""

from collections.abc import Sequence

from bgresp.config.files import Config, built_in
from bgresp.core.text import nearest


def known_profiles(config: Config) -> list[str]:
    """Return every name that `-p` takes."""
    return sorted({*config.profiles, *config.dialects, *built_in()})


def meant(name: str, known: Sequence[str]) -> str:
    """Return a hint: which name may be meant, and which there are."""
    close = nearest(name, known)
    first = "" if close is None else f"did you mean {close}? "
    return f"{first}known: {', '.join(known)}"
