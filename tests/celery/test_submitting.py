"""One task's executions side by side, against a broker and a real endpoint."""

import asyncio
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.celery.arguments import Arguments, endpoint_of, ready
from bgresp.celery.executions import PATIENCE, LaterError, Submitting
from bgresp.celery.intents import Intent
from bgresp.core.errors import ConfigError, UnknownOutcomeError, UnreachableError
from bgresp.core.model import Status
from tests import fakeanswers as fa
from tests.celery.conftest import intents_at
from tests.fakeserver import FakeServer
from tests.proof.broker import tasks_of
from tests.tunnelproxy import BASE_URL, Connect, TunnelProxy

pytestmark = pytest.mark.timeout(120)

LISTING = """
[profiles.work]
dialect = "listing"
base_url = "{url}"
api_key_env = "WORK_KEY"
[dialects.listing.ops]
list = "GET /responses?order=desc&limit={{limit}}&after={{after}}"
"""
NOW = -5.0  # less the slack: an intent belongs to a dead execution at once


def execution(url: str, token: str, within: float, **options: Any) -> Submitting:
    """Return an execution of task `t`."""
    asked = Arguments.read("hi", {"model": "m", **options})
    made = ready("t", asked)
    wanted = Intent("t", token, asked.digest, made.job)
    return Submitting(intents_at(url), wanted, made, within, tries=0, jitter=0.5)


def test_a_copy_waits_for_the_one_at_work(
    url: str, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that comes again too early posts, or calls a live submit unknown."""
    monkeypatch.setenv("BGRESP_BASE_URL", server.base_url)
    server.script("create", fa.HANG)
    ends: list[BaseException] = []

    def work() -> None:
        try:
            execution(url, "first", 1.0).run()
        except UnknownOutcomeError as error:
            ends.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    server.wait_for("create")
    with pytest.raises(LaterError) as later:
        execution(url, "second", 1.0).run()
    assert 0 < later.value.seconds <= 6.0
    thread.join()
    with pytest.raises(UnknownOutcomeError, match="no reply came"):
        execution(url, "third", 3.0).run()
    assert 1 == len(ends)
    assert 1 == len(server.creates)


def test_calls_without_a_broker(
    url: str, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two direct calls of the task, which have no id, are taken for one job."""
    monkeypatch.setenv("BGRESP_BASE_URL", server.base_url)
    tasks = tasks_of(url)
    records = [tasks.submit(text, model="m") for text in ("one", "one", "two")]
    assert [record["id"] for record in records] == list(server.jobs)


def test_a_time_limit_while_the_reply_is_awaited(
    url: str, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A soft time limit of Celery leaves a job that nobody names, or posts again."""

    class TimeLimitError(Exception):
        pass

    def stop(number: int, frame: object) -> None:
        raise TimeLimitError

    def limit() -> None:
        server.wait_for("create")
        os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setenv("BGRESP_BASE_URL", server.base_url)
    server.script("create", fa.HANG)
    before = signal.signal(signal.SIGUSR1, stop)
    thread = threading.Thread(target=limit)
    thread.start()
    try:
        with pytest.raises(UnknownOutcomeError, match="may have been accepted"):
            execution(url, "first", 30.0).run()
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    with pytest.raises(UnknownOutcomeError, match="may have been accepted"):
        execution(url, "second", 30.0).run()
    assert 1 == len(server.creates)


def test_a_late_reply_settles_what_was_given_up(
    url: str, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply that comes when all took its execution for dead is thrown away."""
    monkeypatch.setenv("BGRESP_BASE_URL", server.base_url)
    intents, one = intents_at(url), execution(url, "first", 3.0)
    mine = intents.claim(one.wanted)
    with pytest.raises(UnknownOutcomeError, match="the worker died"):
        execution(url, "second", NOW).run()
    intents.record(mine, mine.job._replace(status=Status.QUEUED, id="resp_late"))
    assert "resp_late" == execution(url, "third", NOW).run().id
    assert () == server.creates


def test_an_endpoint_that_lists_settles_it(url: str) -> None:
    """A submit that died stays unknown though the endpoint's list shows its job."""
    with FakeServer(listing=True) as server:
        config = LISTING.format(url=server.base_url)
        Path(os.environ["BGRESP_CONFIG"]).write_text(config)
        body = {"include": ["web_search_call.action.sources"]}
        dead = execution(url, "first", 3.0, profile="work", body=body)
        intents_at(url).claim(dead.wanted)
        asyncio.run(_posted(dead))
        found = execution(url, "second", NOW, profile="work", body=body).run()
        assert [found.id] == list(server.jobs)
        assert 1 == len(server.creates)
        # What its request asked to include is asked for with the answer.
        sent = [seen.query["include[]"] for seen in server.asked("get")]
        assert body["include"] == sent


async def _posted(dead: Submitting) -> None:
    """Send what the dead execution sent before it died."""
    api, job = Api(endpoint_of(dead.ready.settings)), dead.ready.job
    create = api.create(dead.ready.body, key=job.key, stream=False, sent=Sent())
    async for _ in create:
        pass


def test_an_endpoint_that_stays_away(
    url: str, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A submit is tried for ever, or given up before its day is over."""
    monkeypatch.setenv("BGRESP_BASE_URL", server.base_url)
    server.refuse()
    intents = intents_at(url)
    with pytest.raises(LaterError) as later:
        execution(url, "first", 3.0).run()
    assert 0 < later.value.seconds <= 60.0
    for ago, error in ((PATIENCE - 60.0, LaterError), (PATIENCE, UnreachableError)):
        found = intents.find("t")
        assert found is not None
        since = replace(found, since=intents.now() - ago)
        intents.redis.set("bgresp:intent:t", since.encoded())
        with pytest.raises(error):
            execution(url, f"after {ago}", 3.0).run()
    last = intents.find("t")
    assert last is not None
    assert (Status.REJECTED, True) == (last.job.status, last.may_be_claimed)


@pytest.mark.parametrize("how", [Connect.UNAUTHORIZED, Connect.FORBIDDEN])
def test_a_proxy_that_lets_nothing_through(
    url: str,
    server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    how: Connect,
) -> None:
    """What a person must set right is tried for a day, or what may pass is given up."""
    monkeypatch.setenv("BGRESP_BASE_URL", BASE_URL)
    with TunnelProxy(server.address, how) as proxy:
        for name, value in proxy.environ(tmp_path).items():
            monkeypatch.setenv(name, value)
        wrong = how is Connect.UNAUTHORIZED
        with pytest.raises(ConfigError if wrong else LaterError):
            execution(url, "first", 30.0).run()
        assert 1 == proxy.connects
    found = intents_at(url).find("t")
    assert found is not None
    assert (True, ()) == (found.may_be_claimed, server.requests)


def test_a_profile_asks_for_its_webhook(
    url: str, server: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The create has the secret, the intent has not; without one nothing is claimed."""
    config = tmp_path / "config.toml"
    config.write_text(
        f'[profiles.work]\ndialect = "mka1"\nbase_url = "{server.base_url}"\n'
        'api_key_env = "WORK_KEY"\nwebhook_url = "https://hooks.example.com/"\n'
        'webhook_secret_env = "HOOK_SECRET"\n'
    )
    monkeypatch.setenv("BGRESP_CONFIG", str(config))
    with pytest.raises(ConfigError, match="'HOOK_SECRET' is not set"):
        execution(url, "first", 9.0, profile="work").run()
    assert None is intents_at(url).find("t")
    monkeypatch.setenv("HOOK_SECRET", "whsec_c2VjcmV0")
    job = execution(url, "second", 9.0, profile="work").run()
    (create,) = server.creates
    assert "whsec_c2VjcmV0" == create.json["webhook_secret"]
    kept = intents_at(url).find("t")
    assert kept is not None
    assert "whsec_c2VjcmV0" not in repr((job, kept.raw))
