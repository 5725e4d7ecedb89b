"""Responses and requests on disk: the raw bytes, one file a job, named by our key."""

import os
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

    def save_text(self, key: str, text: str) -> None:
        """Save a text that only events told, where the response carries none."""
        raw = text.encode("utf-8", "surrogatepass")
        files.replace(self.state / "responses" / f"{key}.txt", raw)

    def text(self, key: str) -> str | None:
        """Return the text that only events told."""
        raw = files.read(self.state / "responses" / f"{key}.txt")
        return None if raw is None else raw.decode("utf-8", "surrogatepass")

    def save_request(self, key: str, raw: bytes) -> None:
        """Save the request body durably."""
        files.replace(self.request_path(key), raw)

    def request(self, key: str) -> bytes | None:
        """Return the saved request; None where it was not kept."""
        return files.read(self.request_path(key))

    def notices(self, key: str) -> bool:
        """Mark that somebody is told of a job's end; say whether none was before.

        Of several processes one is the first.
        """
        path = self.state / "notices" / key
        files.make_private(path.parent)
        with files.blamed(path, "write"):
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                os.close(os.open(path, flags, files.PRIVATE_FILE))
            except FileExistsError:
                return False
            files.sync_folder(path.parent)
        return True

    def forget(self, key: str) -> None:
        """Drop everything of a job but its line in the journal."""
        names = ("responses/{}.json", "responses/{}.txt", "requests/{}.json")
        for name in (*names, "progress/{}.jsonl", "notices/{}"):
            path = self.state / name.format(key)
            with files.blamed(path, "remove"):
                path.unlink(missing_ok=True)
