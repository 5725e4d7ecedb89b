"""Submits whose process died: really killed, or as it left them."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request, urlopen

from tests.cli.ledger import MOMENT, last, note, seed
from tests.cli.processes import Start
from tests.fakeanswers import HANG, NoReply, Performed
from tests.fakeserver import FakeServer

ACCEPTED = Performed(HANG)
_LIST = "GET /responses?order=desc&limit={limit}&after={after}"
CONFIG = f"""
[dialects.listed.ops]
list = "{_LIST}"
[dialects.replays.limits]
idempotency = "replay"
[dialects.rejects.limits]
idempotency = "reject"
"""

Died = Callable[..., str]


def configure(folder: Path) -> None:
    """Write a config.toml with endpoints that can list, replay or reject."""
    path = folder / "config" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(CONFIG)


def killed(
    server: FakeServer, start: Start, state: Path, answer: NoReply | Performed = HANG
) -> str:
    """Kill a submit after its POST arrived; return its key."""
    server.script("create", answer)
    started = start("submit", "-t", "hi", "-m", "m")
    server.wait_for("create")
    started.process.kill()
    started.finish()
    record = last(state)
    assert "submitting" == record["status"]
    return str(record["key"])


def died(
    server: FakeServer,
    state: Path,
    dialect: str = "openai",
    *,
    accepted: bool = False,
    submitted_at: str = MOMENT,
) -> str:
    """Leave what a killed submit leaves behind; return its key."""
    job = {"status": "submitting", "id": None, "submitted_at": submitted_at}
    seed(state, {**job, "dialect": dialect, "profile": dialect}, server=server)
    note(state, server.base_url, of=dialect)
    ours = str(last(state)["key"])
    body = {"model": "m", "input": "hi", "metadata": {"bgresp_key": ours}}
    raw = json.dumps({**body, "background": True, "store": True}).encode()
    (state / "requests" / f"{ours}.json").write_bytes(raw)
    if accepted:
        headers = {"Idempotency-Key": ours, "Content-Type": "application/json"}
        with urlopen(  # noqa: S310  the fake server
            Request(f"{server.base_url}/responses", raw, headers)  # noqa: S310
        ):
            pass
    return ours
