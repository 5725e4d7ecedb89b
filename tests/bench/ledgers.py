"""Ledgers of any size, written at once: as many jobs as there are, two lines each."""

import json
from pathlib import Path
from typing import Final

from bgresp.core.model import EndedWith, Job, Status, Usage
from bgresp.ledger import journal
from bgresp.ledger.line import encode, new_key, seal

NOW: Final = 1_780_000_000.0
GROUP: Final = "rows"
OPEN: Final = "resp_open"  # how the ids of jobs begin that go on running
_KEY: Final = "KEY-OF-THE-JOB"
_NUMBER: Final = "-THE-NTH"
_ID: Final = f"resp_{'0' * 40}{_NUMBER}"
_CHECKSUM: Final = len(b',"c":"00000000"}\n')


def ident(number: int) -> str:
    """Return the id of the nth job."""
    return f"resp_{number:048x}"


def of_ended(base_url: str) -> list[Job]:
    """Return the records of a job that completed: its intent, and its end."""
    intent = Job(
        key=_KEY,
        name=f"name-{_NUMBER}",
        dialect="openai",
        base_url=base_url,
        submitted_at=NOW,
    )
    done = intent._replace(
        id=_ID,
        status=Status.COMPLETED,
        usage=Usage(1, 2, 3),
        ended_with=EndedWith.TEXT,
    )
    return [intent, done]


def of_open(base_url: str, profile: str) -> list[Job]:
    """Return the record of a job of a batch that the endpoint runs."""
    return [
        Job(
            key=_KEY,
            status=Status.QUEUED,
            id=OPEN + _ID[len(OPEN) :],
            group=GROUP,
            profile=profile,
            base_url=base_url,
            dialect="openai",
            model="m",
            model_asked="m",
            raw_status="queued",
            created_at=NOW,
            submitted_at=NOW,
            checked_at=NOW,
            expires_at=NOW + 1e9,
            streamable=False,
            request_sha256="0" * 56 + _NUMBER,
            row=f"row-{_NUMBER}",
            extra={"key_source": "env:BGRESP_API_KEY", "key_digest": "a2be2bb6"},
        )
    ]


def write(state: Path, jobs: int, records: list[Job]) -> None:
    """Write so many jobs with these records, and the answer of the newest.

    A segment is sealed when it is as long as bgresp lets one grow.
    """
    (state / "responses").mkdir(mode=0o700, parents=True)
    state.chmod(0o700)
    parts = [encode(record)[:-_CHECKSUM] + b"}" for record in records]
    key, number = "", 0
    path = state / "ledger.jsonl"
    while number < jobs:
        with path.open("wb") as file:
            while number < jobs and file.tell() < journal.SEAL_BYTES:
                key = new_key(NOW + number, number, after=key or None)
                file.writelines(_line(part, key, number) for part in parts)
                number += 1
        if number < jobs:
            journal.seal(state)
    part = {"type": "output_text", "text": "The quick brown fox."}
    message = {"type": "message", "role": "assistant", "content": [part]}
    answer = {"id": ident(number - 1), "status": "completed", "output": [message]}
    (state / "responses" / f"{key}.json").write_text(json.dumps(answer))


def _line(body: bytes, key: str, number: int) -> bytes:
    body = body.replace(_KEY.encode(), key.encode(), 1)
    return seal(body.replace(_NUMBER.encode(), b"%08x" % number))
