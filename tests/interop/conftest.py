"""The real command against servers that others wrote, which run over one fake model."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests import command
from tests.cli.forked import ForkServer
from tests.cli.processes import Started
from tests.command import Ran, empty_config
from tests.fakewire import Json
from tests.interop import servers
from tests.interop.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Theirs:
    """One of their servers: a profile of bgresp, and the model behind it."""

    dialect: str
    base_url: str
    upstream: Upstream


@dataclass(slots=True)
class Bench:
    """The command with one of their servers as its only endpoint."""

    theirs: Theirs
    folder: Path
    fork_server: ForkServer
    running: list[Started] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """Return the ledger's folder."""
        return self.folder / "state"

    @property
    def model(self) -> Upstream:
        """Return the model behind the server."""
        return self.theirs.upstream

    def __call__(self, *args: str, key: str = servers.KEY) -> Ran:
        """Run `bgresp ARGS` to its end."""
        environ = command.environment({**self._environ, "BGRESP_API_KEY": key})
        return self.fork_server.run(args, environ, b"", self.folder)

    def start(self, *args: str) -> Started:
        """Start `bgresp ARGS`."""
        started = Started(command.command(*args), self._environ, self.folder)
        self.running.append(started)
        return started

    def submit(self, *args: str) -> str:
        """Submit and return the id."""
        ran = self("submit", *args)
        assert (0, "") == (ran.code, ran.err)
        return ran.out.strip()

    def record(self, ref: str) -> Json:
        """Return what the ledger says, without asking anybody."""
        found: Json = json.loads(self("status", ref, "--local", "--json").out)
        return found

    def delete(self, ref: str) -> None:
        """Delete a response at the server, as its owner might elsewhere."""
        headers = {"Authorization": f"Bearer {servers.KEY}"}
        url = f"{self.theirs.base_url}/responses/{ref}"
        deleted = httpx.delete(url, headers=headers, trust_env=False)
        assert 200 == deleted.status_code

    @property
    def _environ(self) -> Mapping[str, str]:
        return {
            "BGRESP_STATE_DIR": str(self.state),
            "BGRESP_CONFIG": empty_config(self.folder / "config.toml"),
            "BGRESP_PROFILE": self.theirs.dialect,
            "BGRESP_BASE_URL": self.theirs.base_url,
            "BGRESP_API_KEY": servers.KEY,
            "BGRESP_MODEL": "fake",
        }


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """Run the model that their servers ask."""
    with Upstream() as running:
        yield running


@pytest.fixture(scope="session")
def litellm(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Theirs]:
    """Run LiteLLM with a real Redis."""
    need("redis-server", "litellm")
    with servers.redis(tmp_path_factory.mktemp("redis")) as port:
        folder = tmp_path_factory.mktemp("litellm")
        with servers.litellm(folder, upstream.base_url, port) as url:
            yield Theirs("litellm", url, upstream)


@pytest.fixture(scope="session")
def fastresponses(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Theirs]:
    """Run fastresponses with an agent of pydantic-ai."""
    need("fastresponses")
    folder = tmp_path_factory.mktemp("fastresponses")
    with servers.fastresponses(folder, upstream.base_url) as (url, _):
        yield Theirs("fastresponses", url, upstream)


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Keep one process to fork commands from."""
    running = ForkServer()
    yield running
    running.close()


@pytest.fixture
def bench(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    upstream: Upstream,
    fork_server: ForkServer,
) -> Iterator[Bench]:
    """Have the command and the server that the module names; the model holds."""
    theirs: Theirs = request.getfixturevalue(request.module.SERVER)
    upstream.hold()
    made = Bench(theirs, tmp_path, fork_server)
    yield made
    upstream.release()
    for started in made.running:
        started.close()


def need(*names: str) -> None:
    """Skip, and say why, where a program is not installed."""
    missing = servers.missing(*names)
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (.ci/run installs it)")
