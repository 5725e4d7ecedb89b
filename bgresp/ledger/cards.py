"""Cards of probed endpoints: STATE/probes/, a file each, named by a digest."""

import hashlib
import json
from pathlib import Path

from bgresp.core.capabilities import Capabilities
from bgresp.core.errors import LedgerError
from bgresp.ledger import files


def path_of(state: Path, base_url: str, dialect: str) -> Path:
    """Return a card's file; no text of a user or server is part of its name."""
    named = json.dumps([base_url.rstrip("/"), dialect])
    return state / "probes" / f"{hashlib.sha256(named.encode()).hexdigest()[:40]}.json"


def save(state: Path, card: Capabilities) -> Path:
    """Keep a card in place of an older one.

    Raises LedgerError.
    """
    path = path_of(state, card.base_url, card.dialect)
    files.make_private(path.parent)
    text = json.dumps(card.to_dict(), ensure_ascii=True, indent=1)
    files.replace(path, text.encode("ascii") + b"\n")
    return path


def load(state: Path, base_url: str, dialect: str) -> Capabilities | None:
    """Return the card of an endpoint; None where there is none that can be read."""
    try:
        raw = files.read(path_of(state, base_url, dialect))
        return None if raw is None else Capabilities.read(json.loads(raw))
    except (LedgerError, ValueError, RecursionError):
        return None
