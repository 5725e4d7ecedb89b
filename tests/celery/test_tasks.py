"""The tasks in a worker's thread, over a broker: what a caller gets for what it runs."""

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from celery.contrib.testing.worker import start_worker
from celery.exceptions import TaskRevokedError
from celery.worker import state as worker_state

from bgresp.celery.arguments import Arguments
from bgresp.celery.tasks import Tasks
from bgresp.core.errors import (
    ConfigError,
    RefusedError,
    UnknownOutcomeError,
    UsageError,
)
from tests import fakeanswers as fa
from tests.celery.conftest import Broker, intents_at
from tests.fakeserver import FakeServer
from tests.fakewire import FOX
from tests.proof.broker import outcome, tasks_of

pytestmark = [
    pytest.mark.timeout(120),
    # Celery's result backend calls what redis-py deprecates.
    pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def installed(broker: Broker) -> Iterator[Tasks]:
    """Run a worker in a thread for the file's tests: it takes a second to leave."""
    made = tasks_of(broker.url)
    made.app.conf.worker_enable_remote_control = False  # Lua that the twin has not
    # One backend for this thread and the worker's, which can be closed below.
    made.app.conf.result_backend_thread_safe = True
    with start_worker(made.app, perform_ping_check=False, loglevel="CRITICAL"):
        yield made
    backend, pool = cast("Any", made.app.backend), cast("Any", made.app.pool)
    consumer = backend.result_consumer
    consumer.subscribed_to.clear()  # or a result that goes late looks for its broker
    consumer.stop()
    backend.client.connection_pool.disconnect()
    pool.force_close_all()
    made.app.close()


@pytest.fixture
def tasks(
    installed: Tasks, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Tasks]:
    monkeypatch.setenv("BGRESP_BASE_URL", server.base_url)
    yield installed
    worker_state.revoked.clear()


def posts(server: FakeServer) -> Counter[str]:
    return Counter(seen.json["input"] for seen in server.creates)


def test_every_end(tasks: Tasks, server: FakeServer) -> None:
    """A task ends otherwise than its job, or posts more than it may."""
    script: dict[str, tuple[fa.Answer, ...]] = {
        "answered": (),
        "refused": (fa.refusal(400, "no such model"),),
        "lost": (fa.Performed(fa.RESET),),
        "cut": (fa.Snapshot(change=fa.halved),),
        "gateway": (fa.html(502),),
        "limited": (fa.refusal(429, "slow down", retry_after="1"),),
    }
    results: dict[str, Any] = {}
    for many, (text, answers) in enumerate(script.items(), 1):
        server.script("create", *answers)
        results[text] = tasks.run(text, task_id=f"end-{text}", labels={"of": text})
        server.wait_for("create", many)
    ends = {text: outcome(result) for text, result in results.items()}
    for text in ("answered", "limited"):
        record = ends[text]
        assert ("completed", 0, FOX) == (
            record["status"],
            record["exit_code"],
            record["text"],
        )
        assert {"of": text} == record["labels"]
    assert isinstance(ends["refused"], RefusedError)
    for text in ("lost", "cut", "gateway"):
        assert isinstance(ends[text], UnknownOutcomeError)
        assert "bgresp_key=" in str(ends[text])
    assert dict.fromkeys(script, 1) | {"limited": 2} == posts(server)


def test_an_id_is_one_request(tasks: Tasks, server: FakeServer) -> None:
    """Another request under a used id gets the old one's answer, or is posted."""
    result = tasks.run("one", task_id="same", labels={"a": "b"})
    changed: list[tuple[str, dict[str, Any]]] = [
        ("other", {"labels": {"a": "b"}}),
        ("one", {}),
        ("one", {"labels": {"a": "b"}, "model": "other"}),
    ]
    for text, options in changed:  # before it was answered, and after
        with pytest.raises(UsageError, match="same was used for another request"):
            tasks.run(text, task_id="same", **options)
    record = outcome(result)
    for text, options in changed:
        with pytest.raises(UsageError, match="same was used for another request"):
            tasks.run(text, task_id="same", **options)
        with pytest.raises(UsageError, match="same was used for another request"):
            tasks.submit.apply_async((text,), options, task_id="same")
    again = outcome(tasks.run("one", task_id="same", labels={"a": "b"}))
    assert (FOX, record["id"]) == (again["text"], again["id"])
    assert {"one": 1} == posts(server)


def test_an_id_that_failed(tasks: Tasks, server: FakeServer) -> None:
    """A failed id can be taken for another request, or is never tried again."""
    server.script("create", fa.refusal(401))
    assert isinstance(outcome(tasks.run("key", task_id="key")), ConfigError)
    with pytest.raises(UsageError, match="used for another request"):
        tasks.run("other", task_id="key")
    assert isinstance(outcome(tasks.app.AsyncResult("key")), ConfigError)
    assert "resp_" in outcome(tasks.run("key", task_id="key").parent)["id"]
    assert {"key": 2} == posts(server)


def test_a_failure_that_is_half_told_is_forgotten_whole() -> None:
    """A worker tells of the task, then of its answer: a new run gets the old error."""
    said = {"t": ["FAILURE"], "t.answer": ["PENDING", "PENDING", "FAILURE"]}
    forgotten: list[str] = []
    app: Any = SimpleNamespace(
        AsyncResult=lambda id_: SimpleNamespace(state=said[id_].pop(0)),
        backend=SimpleNamespace(forget=forgotten.append),
    )
    Tasks(app, None, None, None)._forget_failure("t")
    assert ["t", "t.answer"] == forgotten


def test_another_request_by_its_name(
    tasks: Tasks, broker: Broker, server: FakeServer
) -> None:
    """A program that knows the task's name alone can take a used id."""
    asked = Arguments.read("one", {}).digest
    intents_at(broker.url).bind("named", asked, 60.0)  # sent, not yet taken
    options: dict[str, Any] = {"task_id": "named", "expires": 60}
    sent = tasks.app.send_task("bgresp.submit", args=("other",), **options)
    assert isinstance(outcome(sent), UsageError)
    assert () == server.requests


@pytest.mark.parametrize("which", ["first", "second.answer"])
def test_a_revoked_id_says_so(tasks: Tasks, server: FakeServer, which: str) -> None:
    """A caller waits for ever for what a revoked id never gives."""
    worker_state.revoked.add(which)
    task = which.removesuffix(".answer")
    result = tasks.run("one", task_id=task)
    assert isinstance(outcome(result), TaskRevokedError)
    for _ in range(2):
        with pytest.raises(UsageError, match=f"task {which} was revoked"):
            tasks.run("one", task_id=task)
    assert (task == "second") is bool(posts(server))


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("a\x00b", {}, "text: the prompt has NUL bytes"),
        ("a\ud800b", {}, "'text' has characters that are not UTF-8"),
        ("", {}, "text: the prompt is empty"),
        ("one", {"instructions": "a\x00b"}, "instructions: the prompt has NUL bytes"),
        ("one", {"labels": {"a": "\udfff"}}, "'labels' has characters"),
        ("one", {"body": {"a": [{"\ud800": 1}]}}, "'body' has characters"),
        ("one", {"body": {"a": float("nan")}}, "'body' is not JSON"),
        ("one", {"body": {"a": object()}}, "'body' is not JSON"),
    ],
)
def test_what_the_command_line_refuses(
    tasks: Tasks, server: FakeServer, text: str, options: dict[str, Any], said: str
) -> None:
    """A prompt that is no text is sent to the workers, or by one to the endpoint."""
    with pytest.raises(UsageError, match=said):
        tasks.run(text, **options)
    with pytest.raises(UsageError, match=said):
        tasks.submit(text, **options)
    assert () == server.requests


def test_a_delivery_ends_the_waiting(tasks: Tasks, server: FakeServer) -> None:
    """A job whose end a webhook told is asked about once, and its answer is there."""
    told = tasks.run("told", task_id="told", interval=3600.0)
    job = outcome(told.parent)["id"]
    server.script("get", fa.Snapshot("completed"), job=job)
    event = {"type": "response.completed", "data": {"id": job}}
    for other in ({"type": "batch.completed", "data": {"id": job}}, event, event):
        tasks.heard.apply_async((other,), task_id=f"wh-{other['type']}")
    assert ("completed", FOX) == (outcome(told)["status"], outcome(told)["text"])
    assert 1 == len(server.asked("get", job))


def test_a_delivery_of_nothing(tasks: Tasks) -> None:
    """What is no delivery is taken, or costs a worker a traceback."""
    for delivery in (7, "", "a\ud800b", {"type": "response.completed", "data": 7}):
        with pytest.raises(UsageError):
            tasks.heard(delivery)
    tasks.heard({})
    with pytest.raises(UsageError, match="interval takes seconds above 0"):
        tasks.run("x", interval=0)
