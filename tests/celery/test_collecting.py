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
from tests.fakewire import response_of

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


def state(status: str) -> fa.Reply:
    """Return the answer to a question about the job."""
    return fa.as_json(response_of(status, "done", response_id="resp_1"))


def advanced(told: Open, seconds: float, intents: Intents) -> dict[str, Any] | Open:
    """Collect what is open again, so many seconds from now."""
    record, plan = told.record, told.plan
    then = time.time() + seconds
    return collect(record, plan, intents, jitter=0.0, clock=lambda: then)


def test_a_webhook_tells(intents: Intents, server: FakeServer) -> None:
    """With an interval nobody asks the endpoint before a delivery named the job."""
    server.script("get", state("completed"))
    told = open_of(asked(record(server), intents, interval=300.0))
    assert 2.0 <= told.seconds <= 2.5
    told = open_of(advanced(told, 60.0, intents))
    assert 5.0 == told.seconds
    intents.note_delivery("resp_2", "wh_0")  # of another
    told = open_of(advanced(told, 290.0, intents))
    assert 5.0 == told.seconds
    assert () == server.requests
    intents.note_delivery("resp_1", "wh_1")
    done = advanced(told, 291.0, intents)
    assert isinstance(done, dict)
    assert "completed" == done["status"]
    assert 1 == len(server.asked("get"))


def test_a_delivery_before_its_record(intents: Intents, server: FakeServer) -> None:
    """A delivery that came before anybody collects the job is not lost."""
    intents.note_delivery("resp_1", "wh_1")
    server.script("get", state("completed"))
    assert isinstance(asked(record(server), intents, interval=300.0), dict)


def test_a_lost_webhook(intents: Intents, server: FakeServer) -> None:
    """Without a delivery the job is asked about once an interval."""
    server.script("get", state("in_progress"), state("completed"))
    told = open_of(asked(record(server, age=301.0), intents, interval=300.0))
    assert 1 == len(server.asked("get"))
    told = open_of(advanced(told, 299.0, intents))
    assert 1.0 >= told.seconds
    assert 1 == len(server.asked("get"))
    assert isinstance(advanced(told, 300.0, intents), dict)


def test_a_delivery_that_was_early(intents: Intents, server: FakeServer) -> None:
    """One delivery, true or not, costs a few questions; then the interval holds."""
    server.script("get", fa.Forever(state("in_progress")))
    intents.note_delivery("resp_1", "wh_1")
    told = open_of(asked(record(server), intents, interval=300.0))
    waited = 0.0
    for _ in range(30):
        waited += told.seconds
        intents.note_delivery("resp_1", "wh_1")  # its message came again
        told = open_of(advanced(told, waited, intents))
    assert 3 == len(server.asked("get"))
    intents.note_delivery("resp_1", "wh_2")
    open_of(advanced(told, waited, intents))
    assert 4 == len(server.asked("get"))


@pytest.mark.parametrize("is_told", [True, False])
def test_a_fault_is_not_put_off(
    intents: Intents, server: FakeServer, *, is_told: bool
) -> None:
    """An endpoint that was away when it was to be asked is asked again soon."""
    server.script("get", fa.refusal(503), state("completed"))
    if is_told:
        intents.note_delivery("resp_1", "wh_1")
    job = record(server, age=10.0 if is_told else 3601.0)
    told = open_of(asked(job, intents, interval=3600.0))
    assert isinstance(advanced(told, 61.0, intents), dict)


def test_patience_ends_with_a_question(intents: Intents, server: FakeServer) -> None:
    """A job that ended untold is not asked about when patience ends."""
    server.script("get", state("in_progress"))
    told = record(server, age=59.5)
    with pytest.raises(NotFinishedError, match="resp_1 is not finished"):
        asked(told, intents, interval=300.0, timeout=60.0)
    server.script("get", state("completed"))
    assert isinstance(asked(told, intents, interval=300.0, timeout=60.0), dict)


def test_clocks_that_differ(intents: Intents, server: FakeServer) -> None:
    """A record from a clock that is a day ahead is put off for a day."""
    server.script("get", fa.Forever(state("in_progress")))
    told = open_of(asked(record(server, age=-86_400.0), intents, interval=300.0))
    assert 1 == len(server.asked("get"))
    open_of(advanced(told, 300.0, intents))
    assert 2 == len(server.asked("get"))


@pytest.mark.parametrize("interval", [0, -1, float("inf"), float("nan"), "5m", True])
def test_an_interval_that_is_none(interval: Any) -> None:
    """What is no duration is found out in the middle of a job's life."""
    with pytest.raises(UsageError, match="interval takes seconds above 0"):
        plan_of(interval=interval)


def test_a_plan_for_the_last_version(intents: Intents, server: FakeServer) -> None:
    """A worker of the last version is sent what it does not know, and drops the job."""
    server.script("get", state("in_progress"))
    told = open_of(asked(record(server), intents, expect=9.0))
    assert {"expect", "counted", "started"} >= set(told.plan.to_message())
    assert told.plan == plan_of(**told.plan.to_message())
