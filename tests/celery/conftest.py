"""The broker of these tests: the twin in the plain suite, a redis-server in the proofs.

Each scenario runs against both, so that the twin cannot differ where it matters.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from redis import Redis

from bgresp.celery.intents import Intents
from tests.celery.twin import Twin
from tests.command import empty_config
from tests.proof.broker import missing, redis_server
from tests.proof.conftest import figure, full  # noqa: F401  fixtures


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is; `advance` puts its clock forward, in the twin alone."""

    url: str
    advance: Callable[[float], None] | None = None


def intents_at(url: str, prefix: str = "") -> Intents:
    """Return the intents in a broker."""
    return Intents(Redis.from_url(url), prefix, kept=60.0)


REAL = pytest.param(
    "redis-server",
    marks=[
        pytest.mark.proof,
        pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}"),
    ],
)


@pytest.fixture(params=["twin", REAL], scope="module")
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    """Run a broker for a file's tests."""
    if request.param == "twin":
        with Twin() as twin:
            yield Broker(twin.url, twin.advance)
        return
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield Broker(url)


@pytest.fixture
def url(broker: Broker) -> Iterator[str]:
    """Return where the broker is, which forgets everything after the test."""
    yield broker.url
    with Redis.from_url(broker.url) as redis:
        redis.flushdb()


@pytest.fixture(autouse=True)
def chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Choose what a worker's environment says: a configuration, and keys."""
    folder = tmp_path_factory.mktemp("config")
    monkeypatch.setenv("BGRESP_CONFIG", empty_config(folder / "config.toml"))
    monkeypatch.setenv("BGRESP_API_KEY", "k")
    monkeypatch.setenv("WORK_KEY", "k")
