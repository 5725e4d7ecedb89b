"""bgresp.celery with a real Redis, real workers and kill -9: never a second POST."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from bgresp.core.errors import (
    ConfigError,
    RefusedError,
    UnknownOutcomeError,
    UsageError,
)
from bgresp.core.model import Job
from tests import fakeanswers as fa
from tests.command import ROOT, empty_config, environment
from tests.fakeserver import FakeServer
from tests.fakewire import FOX
from tests.pages import fenced, page
from tests.proof.broker import (
    DEADLINE,
    POST_TIMEOUT,
    VISIBILITY,
    Worker,
    missing,
    outcome,
    redis_process,
    redis_server,
    tasks_of,
)
from tests.proof.conftest import Figure
from tests.webhooks import SECRET

if TYPE_CHECKING:
    from bgresp.celery.tasks import Tasks

pytestmark = [
    pytest.mark.proof,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}"),
]

SENTINEL = "sk-sentinel-0123456789"


@dataclass(frozen=True, slots=True)
class Scheduler:
    """A broker, an endpoint, and what workers of both need."""

    tasks: "Tasks"
    server: FakeServer
    env: dict[str, str]
    folder: Path

    def worker(self, *options: str) -> Worker:
        """Start a worker and wait until it takes tasks."""
        return Worker.start(self.env, self.folder, *options)

    @property
    def posts(self) -> Counter[str]:
        """Count the POSTs by prompt."""
        return Counter(seen.json["input"] for seen in self.server.creates)

    @property
    def keys(self) -> dict[str, str]:
        """Return the keys that were posted, by prompt."""
        seen = (create.json for create in self.server.creates)
        return {body["input"]: body["metadata"]["bgresp_key"] for body in seen}


@pytest.fixture
def scheduler(server: FakeServer, tmp_path: Path) -> Iterator[Scheduler]:
    """Run a broker; nothing a worker did or logged may hold the key."""
    with redis_server(tmp_path) as url:
        env = {
            "BGRESP_BROKER_URL": url,
            "BGRESP_BASE_URL": server.base_url,
            "BGRESP_API_KEY": SENTINEL,
            "BGRESP_CONFIG": empty_config(tmp_path / "config.toml"),
        }
        tasks = tasks_of(url)
        yield Scheduler(tasks, server, env, tmp_path)
        consumer = cast("Any", tasks.app.backend).result_consumer
        consumer.subscribed_to.clear()  # or a result that goes late looks for its broker
        for path in (path for path in tmp_path.rglob("*") if path.is_file()):
            assert SENTINEL.encode() not in path.read_bytes(), path


def test_every_end(scheduler: Scheduler) -> None:
    """A task ends otherwise than its job, or posts more than it may."""
    run, server = scheduler.tasks.run, scheduler.server
    script: dict[str, tuple[fa.Answer, ...]] = {
        "answered": (),
        "refused": (fa.refusal(400, "no such model"),),
        "limited": (fa.refusal(429, "slow down", retry_after="1"),),
        "lost": (fa.Performed(fa.RESET),),
        "cut": (fa.Snapshot(change=fa.halved),),
        "silent": (fa.HANG,),
        "gateway": (fa.html(502),),
    }
    ends: dict[str, Any] = {}
    with scheduler.worker():
        for text, answers in script.items():
            server.script("create", *answers)
            ends[text] = outcome(run(text, labels={"of": text}))
        again = outcome(run("twice", task_id="nightly"))
        assert again["id"] == outcome(run("twice", task_id="nightly"))["id"]
        with pytest.raises(UsageError, match="nightly was used for another request"):
            run("another", task_id="nightly")
        assert isinstance(outcome(_by_name(scheduler)), UsageError)
        server.script("create", fa.refusal(401))
        assert isinstance(outcome(run("key", task_id="key")), ConfigError)
        # From another client, as this one may hear of the failure once more: Celery
        # leaves what was published in the socket when it reads a stored state first.
        another = tasks_of(scheduler.env["BGRESP_BROKER_URL"])
        assert FOX == outcome(another.run("key", task_id="key"))["text"]
        cast("Any", another.app.backend).result_consumer.subscribed_to.clear()
    for text in ("answered", "limited"):
        record = ends[text]
        assert ("completed", 0, FOX) == (
            record["status"],
            record["exit_code"],
            record["text"],
        )
        assert {"of": text} == record["labels"]
    assert isinstance(ends["refused"], RefusedError)
    for text in ("lost", "cut", "silent", "gateway"):
        assert isinstance(ends[text], UnknownOutcomeError)
        assert scheduler.keys[text] in str(ends[text])
    one = dict.fromkeys((*script, "twice"), 1)
    assert one | {"limited": 2, "key": 2} == scheduler.posts
    creates = [s for s in server.creates if s.json["input"] == "limited"]
    first, second = (seen.at for seen in creates)
    assert second - first >= 1.0


def _by_name(scheduler: Scheduler) -> Any:
    """Send a submit as a program does that knows no more than its name."""
    from celery import Celery

    url = scheduler.env["BGRESP_BROKER_URL"]
    app = Celery(broker=url, backend=url, set_as_current=False)
    return app.send_task("bgresp.submit", args=("no expiry",))


def test_an_endpoint_that_comes_back(scheduler: Scheduler) -> None:
    """A task gives up, or posts twice, while the endpoint is away."""
    scheduler.server.refuse()
    with scheduler.worker() as worker:
        result = scheduler.tasks.run("patient")
        worker.wait_for("retry: Retry in")
        scheduler.server.accept()
        assert FOX == outcome(result)["text"]
    assert {"patient": 1} == scheduler.posts


def test_killed_before_the_reply_and_after_the_id(scheduler: Scheduler) -> None:
    """A redelivery posts again, leaves a lost reply open, or an accepted job alone."""
    scheduler.server.script("create", fa.Snapshot(), fa.HANG)
    with scheduler.worker("-c", "1"):
        accepted = scheduler.tasks.run("accepted")
        scheduler.server.wait_for("get")
        interrupted = scheduler.tasks.run("interrupted")
        scheduler.server.wait_for("create", 2)
    with scheduler.worker():
        assert FOX == outcome(accepted)["text"]
        error = outcome(interrupted)
    assert isinstance(error, UnknownOutcomeError)
    assert scheduler.keys["interrupted"] in str(error)
    assert {"accepted": 1, "interrupted": 1} == scheduler.posts


def test_kills_at_random(scheduler: Scheduler, figure: Figure, full: bool) -> None:
    """Somewhere a kill -9 doubles a job, or leaves one without an end."""
    rng, kills, many = random.Random(11), 60 if full else 4, 240 if full else 16
    names = [f"job {n}" for n in range(many)]
    results = {name: scheduler.tasks.run(name, task_id=name) for name in names}
    pools = (("-P", "solo"), ("-c", "2"), ("-P", "threads", "-c", "2"))
    for kill in range(kills):
        with scheduler.worker(*pools[kill % len(pools)]):
            _until_posted(scheduler, len(scheduler.server.creates) + rng.randint(1, 3))
            time.sleep(rng.uniform(0, 0.03))
    time.sleep(VISIBILITY)
    with scheduler.worker("-c", "2"):
        lost = _unheard(results)
        for name in lost:  # kombu lost the message between taking and noting it
            results[name] = scheduler.tasks.run(name, task_id=name)
        ends = {name: outcome(result) for name, result in results.items()}
    unknown = [n for n in names if isinstance(ends[n], UnknownOutcomeError)]
    answered = [n for n in names if n not in unknown]
    doubled = [name for name, count in scheduler.posts.items() if count > 1]
    figure(
        f"Celery: {kills} kills -9 of workers over {many} tasks: {len(doubled)} posted "
        f"twice, {len(answered)} answered, {len(unknown)} unknown and named, "
        f"{len(lost)} sent again under their id"
    )
    assert [] == doubled
    for name in answered:
        assert FOX == ends[name]["text"]
        assert scheduler.keys[name] == ends[name]["key"]
    for name in unknown:
        assert scheduler.keys.get(name, "bgresp_key=") in str(ends[name])
    assert len(answered) > many // 3


def _until_posted(scheduler: Scheduler, count: int) -> None:
    """Wait for so many POSTs, or a while: a worker may have nothing left to do."""
    deadline = time.monotonic() + 3.0
    while len(scheduler.server.creates) < count and time.monotonic() < deadline:
        time.sleep(0.001)


def _unheard(results: dict[str, Any]) -> list[str]:
    """Return the tasks that got no end though nothing of them is in the broker."""
    quiet = 5 * (VISIBILITY + POST_TIMEOUT)
    left, since = set(results), time.monotonic()
    while left:
        ended = {name for name in left if results[name].ready()}
        if ended:
            left, since = left - ended, time.monotonic()
        elif time.monotonic() - since > quiet:
            break
        time.sleep(0.1)
    return sorted(left)


TOLD = """
from tests.webhooks import event, signed
from web import webhook
from work import bgresp

result = bgresp.run("and the sea?", interval=3600.0)
body = event(result.parent.get(timeout=50)["id"])
webhook(body, signed(body))
print(result.get(timeout=50)["text"])
"""


def test_the_topics_examples(scheduler: Scheduler) -> None:
    """The Celery examples of `bgresp help celery` do not run as they stand."""
    blocks = fenced(page("celery"))
    own, caller, web = (text for language, text in blocks if language == "python")
    (scheduler.folder / "work.py").write_text(own)
    (scheduler.folder / "ask.py").write_text(caller)
    (scheduler.folder / "web.py").write_text(web)
    (scheduler.folder / "told.py").write_text(TOLD)
    env = {**scheduler.env, "CELERY_BROKER_URL": scheduler.env["BGRESP_BROKER_URL"]}
    env["CELERY_RESULT_BACKEND"] = env["CELERY_BROKER_URL"]
    env["PYTHONPATH"] = f"{ROOT}:{scheduler.folder}"
    env |= {"OPENAI_API_KEY": "k", "OPENAI_WEBHOOK_SECRET": SECRET}
    with Worker.start(env, scheduler.folder, app="work"):
        for many, script in enumerate(("ask.py", "told.py"), 1):
            ran = subprocess.run(
                [sys.executable, script],
                cwd=scheduler.folder,
                env=env | environment(env) | {"PYTHONPATH": env["PYTHONPATH"]},
                capture_output=True,
                timeout=DEADLINE,
                check=False,
            )
            said = (ran.returncode, ran.stdout.decode().strip())
            assert (0, FOX) == said, ran.stderr
            assert many == len(scheduler.server.creates)


def test_the_own_app(scheduler: Scheduler) -> None:
    """`celery -A bgresp.celery worker` does not take what its `run` sends."""
    ask = "from bgresp.celery import run; print(run('hi').get(timeout=50)['text'])"
    env = environment({**scheduler.env, "CELERY_BROKER_URL": "redis://127.0.0.1:1/0"})
    with Worker.start(env, scheduler.folder, app="bgresp.celery"):
        ran = subprocess.run(
            [sys.executable, "-c", ask],
            env=env,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
    assert (0, FOX) == (ran.returncode, ran.stdout.decode().strip()), ran.stderr


def test_an_intent_outlives_a_kill_of_redis(tmp_path: Path) -> None:
    """With appendfsync always a kill -9 of Redis itself forgets an intent."""
    from redis import Redis

    from bgresp.celery.intents import Intent, Intents

    options = ("--appendfsync", "always")
    with redis_process(tmp_path, *options) as (url, process):
        wanted = Intent("t", "token", "digest", Job(key="KEY"))
        claimed = Intents(Redis.from_url(url), "", kept=60.0).claim(wanted)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with redis_server(tmp_path, *options) as url:
        found = Intents(Redis.from_url(url), "", kept=60.0).claim(
            replace(wanted, owner="another")
        )
        assert ("token", claimed.at) == (found.owner, found.at)
