"""The state folder itself: private, and explained to a stranger."""

from pathlib import Path
from typing import Final

from bgresp.ledger import files, rescue

README: Final = """\
This folder is the ledger of bgresp, a command-line tool for background jobs of model
endpoints. ledger.jsonl (and sealed/, older lines) has one JSON record a line, the last
one for a key holds; responses/ has the answers, requests/ what was asked. It may hold
private text. index/ is derived and may be deleted.
"""
FOLDERS: Final = ("responses", "requests", "progress", "inflight")


def prepare(state: Path) -> None:
    """Create what is missing, the ballast included.

    Raises LedgerError; then nothing may be sent.
    """
    readme = state / "README"
    with files.blamed(state, "look into"):
        is_new, is_bare = not (state / "inflight").is_dir(), not readme.exists()
    if is_new:
        files.make_private(state)
        for name in FOLDERS:
            files.make_private(state / name)
    rescue.keep_ballast(state)
    if is_bare:
        files.replace(readme, README.encode(), durable=False)
