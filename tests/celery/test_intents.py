"""Intents in Redis: one execution may post, and what is known only grows."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from bgresp.celery.intents import Intent, Intents
from bgresp.core.errors import ConfigError
from bgresp.core.model import Job, ResponseError, Status
from tests.celery.conftest import intents_at
from tests.proof.conftest import Figure

pytestmark = pytest.mark.timeout(120)

TASKS = ("one", "two", "three")
NOT_SENT = ResponseError("not_sent", "Connection refused")
OUTCOMES: dict[str, dict[str, Any]] = {
    "accepted": {"status": Status.QUEUED, "id": "resp_1"},
    "not sent": {"status": Status.REJECTED, "error": NOT_SENT},
    "refused": {"status": Status.REJECTED, "error": ResponseError("bad", "No.")},
    "unknown": {"status": Status.UNKNOWN, "last_error": "no reply came"},
}


def wanted(task: str, token: str) -> Intent:
    return Intent(task, token, "digest", Job(key=f"KEY-{task}"))


class Executions(RuleBasedStateMachine):
    """Claims, posts that end in all ways or none, deaths, late words."""

    intents: ClassVar[Intents]
    count: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.intents.redis.flushdb()
        self.mine: dict[str, list[Intent]] = {task: [] for task in TASKS}
        self.told: dict[str, list[str]] = {task: [] for task in TASKS}

    @rule(task=st.sampled_from(TASKS))
    def execution(self, task: str) -> None:
        """Win a claim only where nothing was sent that may be a job."""
        token = f"token-{Executions.count}"
        Executions.count += 1
        found = self.intents.claim(wanted(task, token))
        assert self.intents.claim(wanted(task, token)).owner == found.owner
        free = not self.mine[task] or self.told[task][-1] in {"not sent", "refused"}
        assert free is (found.owner == token)
        if found.owner == token:
            self.mine[task].append(found)
            self.told[task].append("nothing")
            assert Status.SUBMITTING is found.job.status

    @rule(task=st.sampled_from(TASKS), what=st.sampled_from(sorted(OUTCOMES)))
    def outcome(self, task: str, what: str) -> None:
        """Tell what came of a POST; an id, once told, stays."""
        if not self.mine[task] or self.told[task][-1] not in {"nothing", "unknown"}:
            return
        mine = self.mine[task][-1]
        changes = OUTCOMES[what]
        now = self.intents.record(mine, mine.job._replace(**changes))
        self.told[task][-1] = what
        assert changes["status"] is now.job.status

    @rule(task=st.sampled_from(TASKS))
    def given_up(self, task: str) -> None:
        """Another execution gives a dead one up, from what it saw."""
        found = self.intents.find(task)
        if found is None or found.job.status is not Status.SUBMITTING:
            return
        changes = OUTCOMES["unknown"]
        self.intents.record(found, found.job._replace(**changes))
        self.told[task][-1] = "unknown"

    @rule(task=st.sampled_from(TASKS))
    def late(self, task: str) -> None:
        """Say something too late, which changes nothing."""
        if len(self.mine[task]) < 2:
            return
        before, old = self.intents.find(task), self.mine[task][0]
        self.intents.record(old, old.job._replace(status=Status.UNKNOWN))
        assert before == self.intents.find(task)

    @rule(task=st.sampled_from(TASKS))
    def read(self, task: str) -> None:
        """Find what was told of the last claim, with the time of the first."""
        found = self.intents.find(task)
        assert (found is None) is (not self.mine[task])
        if found is None:
            return
        assert found.owner == self.mine[task][-1].owner
        assert found.since == self.mine[task][0].since
        assert (found.job.id is not None) is (self.told[task][-1] == "accepted")
        name = f"m:bgresp:intent:{task}"
        assert 50_000 < self.intents.redis.pttl(name) <= 60_000


def test_the_protocol(
    url: str, request: pytest.FixtureRequest, figure: Figure, full: bool
) -> None:
    """Some order of claims, outcomes, deaths and late words lets two executions post."""
    real = "redis-server" in request.node.name
    many = 1000 if full else 60 if real else 20
    Executions.intents = intents_at(url, "m:")
    run_state_machine_as_test(
        Executions,
        settings=settings(max_examples=many, stateful_step_count=30, deadline=None),
    )
    figure(
        f"Celery intents: {Executions.count} executions of {many} histories against "
        f"{'redis-server' if real else 'its twin'}: none posted where another might have"
    )


def test_many_at_once(url: str, figure: Figure) -> None:
    """Of 16 executions that claim at the same moment more than one may post."""
    intents = intents_at(url)
    with ThreadPoolExecutor(16) as pool:
        for round_ in range(20):
            task = f"race-{round_}"

            def claimed(n: int, task: str = task) -> bool:
                token = f"{task}-{n}"
                return intents.claim(wanted(task, token)).owner == token

            assert 1 == sum(pool.map(claimed, range(16)))
            first = intents.find(task)
            assert first is not None
            changes = OUTCOMES["not sent"]
            intents.record(first, first.job._replace(**changes))
            assert 1 == sum(pool.map(claimed, range(100, 116)))
    figure("Celery intents: 20 times 32 claims at once, one winner a turn")


def test_an_intent_that_was_lost_is_put_back(url: str) -> None:
    """Who posted cannot record the id when the store lost the intent."""
    intents = intents_at(url)
    mine = intents.claim(wanted("lost", "token"))
    intents.redis.flushdb()
    changes = OUTCOMES["accepted"]
    intents.record(mine, mine.job._replace(**changes))
    found = intents.find("lost")
    assert found is not None
    assert "resp_1" == found.job.id


@pytest.mark.parametrize("said", sorted(OUTCOMES))
def test_an_earlier_owner_says_nothing_any_more(url: str, said: str) -> None:
    """Who lost the claim puts its own outcome over that of who posts now."""
    intents = intents_at(url)
    old = intents.claim(wanted("late", "one"))
    intents.record(old, old.job._replace(**OUTCOMES["not sent"]))
    mine = intents.claim(wanted("late", "two"))
    assert "two" == mine.owner
    now = intents.record(old, old.job._replace(**OUTCOMES[said]))
    assert ("two", Status.SUBMITTING) == (now.owner, now.job.status)
    found = intents.find("late")
    assert found is not None
    assert ("two", Status.SUBMITTING, None) == (
        *(found.owner, found.job.status, found.job.id),
    )


def test_what_is_no_intent_is_not_taken_for_absent(url: str) -> None:
    """A foreign value under an intent's name is overwritten, and posted again."""
    intents = intents_at(url)
    intents.redis.set("bgresp:intent:odd", b"[1]")
    with pytest.raises(ConfigError, match="cannot be read"):
        intents.claim(wanted("odd", "token"))


def test_a_hold_only_grows(url: str) -> None:
    """A shorter Retry-After shortens a longer one."""
    intents = intents_at(url)
    assert 0.0 == intents.held("e")
    intents.hold("e", 50.0)
    intents.hold("e", 5.0)
    assert 40.0 < intents.held("e") <= 50.0


@pytest.mark.parametrize("seconds", [1e9, 1e30])
def test_no_hold_is_for_years(url: str, seconds: float) -> None:
    """An absurd Retry-After stops all workers for longer than an hour, or for none."""
    intents = intents_at(url)
    intents.hold(f"e{seconds}", seconds)
    assert 3000.0 < intents.held(f"e{seconds}") <= 3600.0


def test_a_store_that_evicts_is_refused(url: str) -> None:
    """A submit goes out where Redis may drop an intent to make room."""
    intents, policy = intents_at(url), intents_at(url).redis.config_set
    policy("maxmemory", str(64 << 20))
    policy("maxmemory-policy", "volatile-lru")
    try:
        with pytest.raises(ConfigError, match="volatile-lru, and must be noeviction"):
            intents.check()
    finally:
        policy("maxmemory-policy", "noeviction")
        intents.check()
        policy("maxmemory", "0")
