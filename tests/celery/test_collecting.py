"""One question about a task's job, against a broker and a real endpoint."""

import time
from typing import Any

import pytest

from bgresp.celery.executions import Open, PollPlan, collect
from bgresp.celery.intents import Intents
from bgresp.core.errors import ConfigError, NotFinishedError, UsageError
from bgresp.core.times import rfc3339
from tests import fakeanswers as fa
from tests.celery.conftest import intents_at
from tests.fakeserver import FakeServer

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def intents(url: str) -> Intents:
    return intents_at(url)


@pytest.fixture(autouse=True)
def at_server(monkeypatch: pytest.MonkeyPatch, server: FakeServer) -> None:
    monkeypatch.setenv("BGRESP_BASE_URL", server.base_url)


def record(server: FakeServer, *, age: float = 0.0, **changes: Any) -> dict[str, Any]:
    """Return what a submit of so many seconds ago returned."""
    told = {"schema": "bgresp.job/1", "key": "KEY", "id": "resp_1", "status": "queued"}
    told |= {"profile": "openai", "base_url": server.base_url}
    return {**told, "submitted_at": rfc3339(time.time() - age), **changes}


def asked(told: Any, intents: Intents, **plan: Any) -> dict[str, Any] | Open:
    return collect(told, plan_of(**plan), intents, jitter=0.5)


def plan_of(**plan: Any) -> PollPlan:
    return PollPlan(**plan)


def open_of(told: dict[str, Any] | Open) -> Open:
    assert not isinstance(told, dict)
    return told


def test_a_job_that_is_gone_is_lost(intents: Intents, server: FakeServer) -> None:
    """A 404 is believed at once, or never: three of them, over a minute."""
    told, plan = record(server, age=100.0), plan_of()
    for _ in range(3):
        again = open_of(asked(told, intents, counted=plan.counted))
        assert 5.0 <= again.seconds
        told, plan = again.record, again.plan
    told = {**told, "submitted_at": rfc3339(time.time() - 300.0)}
    lost = asked(told, intents, counted=plan.counted)
    assert isinstance(lost, dict)
    assert ("lost", 13, None) == (lost["status"], lost["exit_code"], lost["text"])


def test_retry_after_holds_the_fleet(intents: Intents, server: FakeServer) -> None:
    """An endpoint is asked earlier than it said, by another task."""
    server.script("get", fa.refusal(429, retry_after="30"))
    assert 30.0 <= open_of(asked(record(server), intents)).seconds
    other = record(server, id="resp_2")
    assert 29.0 <= open_of(asked(other, intents)).seconds
    assert 1 == len(server.asked("get"))


def test_what_was_to_be_included_travels(intents: Intents, server: FakeServer) -> None:
    """The second worker does not ask for what the request asked to be included."""
    server.script("get", fa.Forever(fa.Snapshot("in_progress")))
    told = record(server, include=["web_search_call.action.sources"])
    again = open_of(asked(told, intents))
    open_of(asked(again.record, intents))
    sent = [seen.query["include[]"] for seen in server.asked("get")]
    assert ["web_search_call.action.sources"] * 2 == sent


def test_patience_ends(intents: Intents, server: FakeServer) -> None:
    """A timeout does not end the waiting, or ends it too soon."""
    server.script("get", fa.Forever(fa.refusal(503)))
    assert open_of(asked(record(server), intents, timeout=60.0))
    with pytest.raises(NotFinishedError, match="resp_1 is not finished"):
        asked(record(server, age=61.0), intents, timeout=60.0)


def test_a_refused_key(intents: Intents, server: FakeServer) -> None:
    """A key that is refused is tried for ever."""
    server.script("get", fa.refusal(401, "bad key"))
    with pytest.raises(ConfigError, match="resp_1: bad key"):
        asked(record(server), intents)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"base_url": "https://elsewhere.example/v1"}, ConfigError),
        ({"profile": None}, UsageError),
        ({"id": None}, UsageError),
        ({"status": "odd"}, UsageError),
        ({"labels": 7}, UsageError),
        ({"schema": "bgresp.job/9"}, UsageError),
    ],
)
def test_what_is_not_asked(
    changes: dict[str, Any],
    error: type[Exception],
    intents: Intents,
    server: FakeServer,
) -> None:
    """A message can make a worker send its key where its configuration does not."""
    with pytest.raises(error):
        asked(record(server, **changes), intents)
    assert () == server.requests


CALL = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "get_weather",
    "arguments": "{}",
}


def test_a_call_that_waits_is_no_answer(intents: Intents, server: FakeServer) -> None:
    """A job that ended with a call counts as answered; or its record does not say so."""
    response = {"id": "resp_1", "status": "completed", "output": [CALL]}
    server.script("get", fa.as_json(response))
    done = asked(record(server), intents)
    assert isinstance(done, dict)
    assert ("completed", 14, "calls", "") == (
        *(done["status"], done["exit_code"], done["ended_with"], done["text"]),
    )


def test_records_pass_between_versions(intents: Intents, server: FakeServer) -> None:
    """A worker of the last version and one of this cannot read each other's records."""
    new: dict[str, Any] = {
        "ended_with": None,
        "refusal": None,
        "model_asked": "gpt-5",
        "model": "gpt-5",
    }
    response = {"id": "resp_1", "status": "completed", "model": "gpt-5-2025-08-07"}
    for told in (record(server, model="gpt-5"), record(server, **new)):
        server.script("get", fa.as_json(response))
        done: Any = asked(told, intents)
        assert isinstance(done, dict)
        assert ("gpt-5-2025-08-07", "gpt-5") == (done["model"], done["model_asked"])
    # What the last version knew of a record is there still, as it was spelled.
    old = {"schema", "key", "id", "status", "model", "usage", "error", "exit_code"}
    assert old <= set(done)
    assert "completed" == done["status"]
