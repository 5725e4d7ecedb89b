"""What a submit settles before it sends: the dead of its own endpoint."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bgresp.cli.context import Context
from bgresp.cli.options import Common
from bgresp.core.errors import BgrespError
from bgresp.engine.settle import Settled, settle_all
from tests import fakeanswers as fa
from tests.cli.killed import configure, died
from tests.cli.ledger import seed
from tests.command import Run
from tests.fakeserver import FakeServer


def unopened(error: BgrespError) -> None:
    """Take that an endpoint could not be opened: here each can."""
    raise error


@pytest.fixture
def context(
    chosen: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Context:
    """Return the context of a command with `-p listed`."""
    configure(tmp_path)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    return Context.of(Common(profile="listed"))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def settle(context: Context, *, here: bool) -> Settled:
    at = context.settings() if here else None
    settling = settle_all(
        context.endpoints, context.recorder, say=context.say, failed=unopened, at=at
    )
    return asyncio.run(settling)


def statuses(state: Path) -> dict[str, str]:
    lines = (state / "ledger.jsonl").read_text().splitlines()
    return {line["key"]: line["status"] for line in map(json.loads, lines)}


@pytest.mark.parametrize("here", [True, False])
def test_another_endpoint_holds_up_nobody(
    context: Context, server: FakeServer, state: Path, *, here: bool
) -> None:
    """With `at` only that endpoint is asked; a dead submit elsewhere is unknown."""
    with FakeServer(listing=True) as ours, FakeServer(listing=True) as theirs:
        mine = died(ours, state, "listed", accepted=True, submitted_at=now())
        other = died(theirs, state, "listed", accepted=True, submitted_at=now())
        context.common = Common(profile="listed", base_url=ours.base_url)
        done = settle(context, here=here)
        assert [mine, other] == sorted(job.key for job in done.jobs)
        status = "unknown" if here else "in_progress"
        assert {mine: "in_progress", other: status} == statuses(state)
        assert (1, 0 if here else 1) == (
            len(ours.asked("list")),
            len(theirs.asked("list")),
        )


def test_an_endpoint_that_is_gone_is_no_news(context: Context, state: Path) -> None:
    """A dead submit whose profile was removed becomes unknown, and costs nothing."""
    seed(state, {"status": "submitting", "id": None, "dialect": "gone"})
    done = settle(context, here=False)
    assert ([], ["unknown"]) == (done.codes, [job.status for job in done.jobs])


def test_an_endpoint_that_is_down_has_a_code(
    context: Context, server: FakeServer, state: Path
) -> None:
    """A list that cannot be had is told, and nothing is claimed."""
    lost = died(server, state, "listed", submitted_at=now())
    server.refuse()
    done = settle(context, here=False)
    assert ([6], {lost: "unknown"}) == (done.codes, statuses(state))


def test_a_conflict_about_our_own_key_is_adopted(bgresp: Run, tmp_path: Path) -> None:
    """A gateway posted twice and tells of the second: exit 7, then the list tells."""
    configure(tmp_path)
    conflict = fa.refusal(409, "in use", code="idempotency_key_in_use")
    with FakeServer(listing=True) as ours:
        ours.script("create", fa.Performed(conflict))
        words = ("submit", "-t", "x", "--key", "k", "-p", "listed")
        env = {"BGRESP_BASE_URL": ours.base_url}
        ran = bgresp(*words, env=env)
        assert (7, "") == (ran.code, ran.out)
        assert "HTTP 409: in use" in ran.err
        ran = bgresp(*words, env=env)
        (job,) = ours.jobs
        assert (0, f"{job}\n", 1) == (ran.code, ran.out, len(ours.creates)), ran.err
