"""Responses and requests on disk: the raw bytes, one file a job, named by our key.

May import core and ledger.files.
"""

from dataclasses import dataclass
from pathlib import Path

from bgresp.ledger import files


@dataclass(frozen=True, slots=True)
class Answers:
    """The folders of one state folder."""

    state: Path

    def response_path(self, key: str) -> Path:
        """Return where a job's final response lies."""
        return self.state / "responses" / f"{key}.json"

    def request_path(self, key: str) -> Path:
        """Return where a job's request lies."""
        return self.state / "requests" / f"{key}.json"

    def save_response(self, key: str, raw: bytes) -> None:
        """Save the raw response durably, replacing what was there."""
        files.replace(self.response_path(key), raw)

    def response(self, key: str) -> bytes | None:
        """Return the saved response; None while there is none."""
        return files.read(self.response_path(key))

    def save_request(self, key: str, raw: bytes) -> None:
        """Save the request body durably."""
        files.replace(self.request_path(key), raw)

    def request(self, key: str) -> bytes | None:
        """Return the saved request; None where it was not kept."""
        return files.read(self.request_path(key))

    def forget(self, key: str) -> None:
        """Drop everything of a job but its line in the journal."""
        folders = ("responses", "requests", "progress")
        for folder, suffix in zip(folders, ("json", "json", "jsonl"), strict=True):
            path = self.state / folder / f"{key}.{suffix}"
            with files.blamed(path, "remove"):
                path.unlink(missing_ok=True)
