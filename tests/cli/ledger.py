"""The ledger as a test writes and reads it: plain JSON Lines, without our own code."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.fakeserver import FakeServer
from tests.fakewire import Json, response_of

MOMENT = "2026-01-02T03:04:05.000Z"
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
FIELDS = (
    *("schema", "key", "id", "name", "group", "labels", "profile", "base_url", "model"),
    *("status", "raw_status", "created_at", "submitted_at", "finished_at"),
    *("checked_at", "expires_at", "cursor", "usage", "error", "incomplete_reason"),
    *("retry_of", "previous_id", "output_path", "request_sha256", "submit_key", "row"),
    *("last_error", "exit_code", "ended_with", "refusal", "model_asked", "took_exact"),
)


def ident(number: int) -> str:
    """Return the id that a fake server gives its nth job."""
    return f"resp_{number:032x}"


def key(number: int, moment: str = MOMENT) -> str:
    """Return the key, a ULID, of the nth job, submitted then."""
    value = int(datetime.fromisoformat(moment).timestamp() * 1000) << 80 | number
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


def records(state: Path) -> list[Json]:
    """Return every line of the journal, oldest first."""
    path = state / "ledger.jsonl"
    text = path.read_text("utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def last(state: Path) -> Json:
    """Return the last line of the journal."""
    return records(state)[-1]


def seed(state: Path, *jobs: Json, server: FakeServer | None = None) -> None:
    """Write jobs into the ledger, oldest first; `text` is saved as their answer."""
    for folder in ("", "responses", "requests", "progress", "inflight"):
        (state / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    start = len({line["key"] for line in records(state)}) + 1
    with (state / "ledger.jsonl").open("a") as file:
        for number, job in enumerate(jobs, start):
            file.write(json.dumps(_line(state, number, job, server)) + "\n")


def _line(state: Path, number: int, job: Json, server: FakeServer | None) -> Json:
    line: dict[str, Any] = {
        "v": 1,
        "key": key(number, job.get("submitted_at", MOMENT)),
        "id": ident(number),
        "status": "queued",
        "profile": "openai",
        "dialect": "openai",
        "base_url": server.base_url if server else "http://127.0.0.1:9/v1",
        "key_source": "env:BGRESP_API_KEY",
        "submitted_at": MOMENT,
        "streamable": False,
        **job,
    }
    text = line.pop("text", None)
    if text is not None:
        answer = response_of(line["status"], text, response_id=line["id"])
        (state / "responses" / f"{line['key']}.json").write_text(json.dumps(answer))
    return line


def note(
    state: Path, *base_urls: str, source: str = "env:BGRESP_API_KEY", of: str = "openai"
) -> None:
    """Note, as a submit does, that a key goes to some base URLs.

    The file lies beside the config.toml of the tests, never in the state folder.
    """
    path = state.parent / "config" / "endpoints.jsonl"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("a") as file:
        for base_url in base_urls:
            pair = {"base_url": base_url, "key_source": source, "profile": of}
            file.write(json.dumps(pair) + "\n")
    path.chmod(0o600)


def picture(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
