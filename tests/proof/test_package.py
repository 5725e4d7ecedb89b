"""What is installed: the wheel and the sdist, built without a network, looked into."""

import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from bgresp import __version__
from bgresp.cli.commands.completions import FILES
from bgresp.cli.commands.help_ import topics
from bgresp.config.files import built_in
from tests.command import DEADLINE, ROOT, empty_config

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(find_spec("hatchling") is None, reason="needs the extra dev"),
]
# Beside the program: where shells and man look for what it brings, and what that is.
SHARED: Final = {
    "share/bash-completion/completions/bgresp": "bgresp.bash",
    "share/zsh/site-functions/_bgresp": "_bgresp",
    "share/fish/vendor_completions.d/bgresp.fish": "bgresp.fish",
    "share/man/man1/bgresp.1": "bgresp.1",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and the sdist from what git would check out."""
    source = tmp_path_factory.mktemp("source")
    for name in ("bgresp", "completions", "tests"):
        shutil.copytree(
            ROOT / name,
            source / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, source)
    dist = source / "dist"
    argv = [sys.executable, "-m", "hatchling", "build", "-d", str(dist)]
    subprocess.run(argv, cwd=source, check=True, capture_output=True, timeout=DEADLINE)
    return dist


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install the wheel in a fresh venv that has our dependencies, but no checkout."""
    place = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    (wheel,) = built.glob("*.whl")
    pip = [str(place / "bin" / "pip"), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True, timeout=DEADLINE)
    (site,) = place.glob("lib/python*/site-packages")
    others = [path for path in sys.path if path.endswith("-packages")]
    (site / "others.pth").write_text("\n".join(others))
    yield place
    shutil.rmtree(place)


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    """A file that a user needs is not in the wheel, or one that only we need is."""
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        told = email.message_from_bytes(wheel.read(about))
        data = f"bgresp-{__version__}.data/data"
        for place, name in SHARED.items():
            kept = (ROOT / "completions" / name).read_bytes()
            assert kept == wheel.read(f"{data}/{place}"), place
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "bgresp").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package <= names
    brought = {"LICENSE", "dialects.json", "dialects.toml", "py.typed"}
    assert {f"bgresp/{name}" for name in brought} <= package
    info = f"bgresp-{__version__}.dist-info"
    assert f"{info}/licenses/bgresp/LICENSE" in names
    assert {"bgresp", info, f"bgresp-{__version__}.data"} == {
        name.partition("/")[0] for name in names
    }
    assert (__version__, "MIT") == (told["Version"], told["License-Expression"])
    assert None is told["Project-URL"] is told["Home-page"]


def test_the_sdist_can_be_tested(built: Path) -> None:
    """Who has the sdist alone lacks the tests, the scripts or the licence."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    for name in (
        *("pyproject.toml", "README.md", "CHANGELOG.md", "bgresp/LICENSE"),
        *(f"completions/{name}" for name in SHARED.values()),
        *("completions/bgresp.ps1", "tests/conftest.py", "tests/proof/test_package.py"),
    ):
        assert name in names, name


def test_what_is_installed_runs(installed: Path, tmp_path: Path) -> None:
    """The command does without the checkout: version, topics, dialects, scripts."""
    assert f"bgresp {__version__}\n" == ran(installed, tmp_path, "--version")
    for topic in topics():
        kept = (ROOT / "bgresp/topics" / f"{topic}.md").read_text("utf-8")
        heading = kept.partition("\n")[0]
        assert ran(installed, tmp_path, "help", topic).startswith(heading)
    listed = ran(installed, tmp_path, "config", "list")
    assert set(built_in()) <= {line.split()[0] for line in listed.splitlines()}
    for shell, (name, _) in FILES.items():
        kept = (ROOT / "completions" / name).read_text("utf-8")
        assert kept == ran(installed, tmp_path, "completions", shell)
    where = "import bgresp; print(bgresp.__file__)"
    found = alone([str(installed / "bin" / "python"), "-c", where], tmp_path)
    assert found.startswith(str(installed))


def test_the_installed_man_page_renders(installed: Path, tmp_path: Path) -> None:
    """`man bgresp` finds no page where the program is on the PATH, or cannot set it."""
    if shutil.which("man") is None or shutil.which("mandoc") is None:
        pytest.skip("man and mandoc are not installed")
    page = installed / "share/man/man1/bgresp.1"
    lint = subprocess.run(
        ["mandoc", "-Tlint", "-Wwarning", str(page)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in lint.stdout.splitlines() if "missing date" not in line]
    assert ([], "") == (said, lint.stderr)
    path = f"{installed / 'bin'}{os.pathsep}{os.environ['PATH']}"
    shown = alone(["man", "bgresp"], tmp_path, PATH=path, MANPAGER="cat", MANWIDTH="80")
    assert "BGRESP(1)" in shown
    assert "EXIT STATUS" in shown


def ran(installed: Path, folder: Path, *words: str) -> str:
    """Run the installed command; return its stdout."""
    return alone([str(installed / "bin" / "bgresp"), *words], folder)


def alone(argv: list[str], folder: Path, **more: str) -> str:
    """Run a program that sees no checkout; return its stdout."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "BGRESP_STATE_DIR": str(folder / "state"),
        "BGRESP_CONFIG": empty_config(folder / "config.toml"),
        "LC_ALL": "C.UTF-8",
        **more,
    }
    done = subprocess.run(
        argv,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout
