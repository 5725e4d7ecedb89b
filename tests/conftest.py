"""What all tests share: no home, a clean environment, an endpoint, the command."""

import gc
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from tests import command, golden
from tests.command import Changes, Ran, Run, empty_config
from tests.fakeserver import FakeServer

# Else no process could use what another compiled, with pytest's asserts; git ignores it.
sys.dont_write_bytecode = False

# Where the tests run in the background signals may be ignored, and bgresp minds that.
for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        with suppress(ValueError):  # not the main thread
            signal.signal(_number, signal.SIG_DFL)

# What a developer's shell or a CI runner may have set and bgresp, httpx or Rich read.
_FOREIGN = re.compile(
    r"(BGRESP|OPENAI)_.*|.*_API_KEY|.*_PROXY|SSL_CERT_.*|NO_COLOR|FORCE_COLOR|CI"
    r"|(REQUESTS|CURL)_CA_BUNDLE"
    r"|TERM|TERM_PROGRAM|COLORTERM|COLUMNS|LINES|TTY_.*|EDITOR|VISUAL|PAGER"
    r"|PYTHON(DONTWRITEBYTECODE|IOENCODING|UNBUFFERED|WARNINGS)",
    re.IGNORECASE,
)


# Thousands of folders are made, synced and removed: no disk needs to do it. The proofs
# stay on it.
_MEMORY = "/dev/shm"  # noqa: S108


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take options: pytest asks a conftest of the top folder only."""
    said = "run the proofs with RELIABILITY.md's full figures"
    parser.addoption("--full", action="store_true", help=said)
    said = "write the golden texts anew"
    parser.addoption("--golden", action="store_true", help=said)


def pytest_configure(config: pytest.Config) -> None:
    """Take the same examples each time, so that a failure is the change's; --full: more.

    Hypothesis is a plugin, too, which pytest rewrites: that is kept from here on.
    """
    from hypothesis import settings

    settings.register_profile(
        "bgresp", derandomize=True, deadline=None, max_examples=50
    )
    settings.register_profile("full", settings.get_profile("bgresp"), max_examples=500)
    settings.load_profile("full" if config.getoption("--full") else "bgresp")
    if config.option.markexpr == "not proof" and _has_room(_MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _MEMORY)


def _has_room(folder: str) -> bool:
    """Say whether a folder takes what all tests write, and some more."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return os.access(folder, os.W_OK) and found.f_bavail * found.f_frsize > 1 << 30


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Take two workers more than there are cores: much of a test is waiting."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    known = hasattr(os, "sched_getaffinity")
    return (len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1) + 2


# What these folders hold are proofs, and what they import is a fifth of all that tests do.
_PROOFS = [Path(__file__).parent / name for name in ("proof", "interop")]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the proofs' folders unread where no proof was chosen, and none was named."""
    if config.option.markexpr != "not proof" or collection_path not in _PROOFS:
        return None
    named = [Path(arg.partition("::")[0]).resolve() for arg in config.args]
    return None if any(path.is_relative_to(collection_path) for path in named) else True


def pytest_collection(session: pytest.Session) -> None:
    """Read a share of what is collected first: each worker another one.

    All collect the same, and in a fresh checkout would compile it all, each for itself,
    pytest's rewritten asserts, too: a seventh of what all tests cost.
    """
    share = getattr(session.config, "workerinput", None)
    top = Path(__file__).parent
    if share is not None:
        gc.disable()  # what is collected stays
    if share is None or [top] != [Path(arg).resolve() for arg in session.config.args]:
        return
    modules = [*top.parent.glob("bgresp/**/*.py"), *top.glob("**/*.py")]
    read = [
        path
        for path in sorted(modules, key=lambda path: (-path.stat().st_size, path))
        if not any(path.is_relative_to(folder) for folder in _PROOFS)
    ]
    number = int(share["workerid"].removeprefix("gw"))
    for path in read[number :: share["workercount"]]:
        name = ".".join(path.relative_to(top.parent).with_suffix("").parts)
        if path.name.startswith("test_"):
            with suppress(Exception, pytest.skip.Exception):  # its collection tells
                import_module(name)
        else:
            SourceFileLoader(name, str(path)).get_code(name)


def pytest_collection_finish() -> None:
    """Look for garbage from now on, and nowhere among what was collected."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in the proofs' folders: unmarked it would never run."""
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in _PROOFS):
            item.add_marker(pytest.mark.proof)


@pytest.fixture(autouse=True, scope="session")
def no_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Put a file where the home should be: nothing can be read or made in it.

    A test that forgets to choose a folder fails, and the path says why.
    """
    home = tmp_path_factory.getbasetemp() / "you-forgot-BGRESP_STATE_DIR-or-_CONFIG"
    home.touch()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("XDG_")]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setattr(tempfile, "tempdir", str(home.parent))  # of the tests, no command
        yield home


@pytest.fixture(autouse=True, scope="session")
def clean_env() -> Iterator[None]:
    """Take away every variable that could reach a test from outside."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if _FOREIGN.fullmatch(name)]:
            patch.delenv(name)
        yield


@pytest.fixture(name="golden")
def _golden(request: pytest.FixtureRequest) -> golden.Golden:
    """Compare a text with a golden one, or write it: `--golden`."""
    write = bool(request.config.getoption("--golden"))
    test = request.node.nodeid.partition("::")[0]
    return lambda name, found: golden.compare(name, found, write=write, test=test)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """Run a scripted endpoint; an answer left unused fails the test."""
    with FakeServer() as running:
        yield running


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Choose a ledger's folder, which does not exist yet."""
    return tmp_path / "state"


@pytest.fixture
def run(state: Path, tmp_path: Path) -> Run:
    """Run the real command as a process, with `state` and an empty config.toml."""
    chosen = {
        "BGRESP_STATE_DIR": str(state),
        "BGRESP_CONFIG": empty_config(tmp_path / "config" / "config.toml"),
    }

    def start(
        *args: str,
        env: Changes | None = None,
        stdin: str | bytes | None = None,
        cwd: Path | None = None,
    ) -> Ran:
        changes = {**chosen, **(env or {})}
        return command.run(args, changes, stdin=stdin, cwd=cwd or tmp_path)

    return start
