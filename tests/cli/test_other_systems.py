"""Systems that are not Linux: what Python's modules lack there, nothing here needs."""

import json
from pathlib import Path

import pytest

from tests.cli.ledger import ident
from tests.command import Run, has_bug, running_first
from tests.fakeserver import FakeServer
from tests.fakewire import FOX

# What CPython 3.11 to 3.14 has on Linux and not on macOS, as far as a program of this
# kind may come upon it.
_LACKING = {
    "os": (
        *("fdatasync", "pipe2", "getrandom", "posix_fallocate", "posix_fadvise"),
        *("memfd_create", "copy_file_range", "splice", "eventfd", "pidfd_open"),
        *("sched_getaffinity", "sched_setaffinity", "setresuid", "getxattr"),
        *("O_PATH", "O_TMPFILE", "O_DIRECT", "O_NOATIME", "O_LARGEFILE"),
    ),
    "fcntl": ("F_OFD_SETLK", "F_OFD_SETLKW", "F_SETPIPE_SZ", "F_ADD_SEALS"),
    "select": ("epoll",),
    "signal": ("sigtimedwait", "sigwaitinfo", "SIGPWR", "SIGSTKFLT"),
    "socket": ("SOCK_CLOEXEC", "SOCK_NONBLOCK", "SO_BINDTODEVICE", "TCP_USER_TIMEOUT"),
}
_AS_ON_MACOS = f"""
import importlib, os, sys
sys.modules["trio"] = None  # httpcore imports it where selenium brought it; not as on macOS
for module, names in {_LACKING!r}.items():
    found = importlib.import_module(module)
    for name in names:
        if hasattr(found, name):
            delattr(found, name)
if hasattr(os, "process_cpu_count"):  # since 3.13; made of what macOS lacks
    os.process_cpu_count = os.cpu_count
if "WITNESS" in os.environ:
    open(os.environ["WITNESS"], "a").write("x")
"""


@pytest.fixture
def as_on_macos(tmp_path: Path) -> dict[str, str]:
    """Return the variables of a Python that lacks what macOS lacks."""
    folder = tmp_path / "macos"
    folder.mkdir()
    witness = {"WITNESS": str(tmp_path / "witness")}
    return running_first(_AS_ON_MACOS, folder) | witness


def test_a_whole_job_without_what_linux_alone_has(
    run: Run, server: FakeServer, tmp_path: Path, as_on_macos: dict[str, str]
) -> None:
    """On macOS a job is submitted, followed, listed, printed, and the doctor content.

    A real process each: what is imported at the start is part of it.
    """
    env = {"BGRESP_BASE_URL": server.base_url, "BGRESP_API_KEY": "k"} | as_on_macos
    ran = run("submit", "-t", "hi", "--key", "k1", "-o", "answer.txt", env=env)
    assert (0, f"{ident(1)}\n") == (ran.code, ran.out), ran.err
    assert FOX + "\n" == (tmp_path / "answer.txt").read_text()
    listed = run("list", "--json", env=env)
    assert [ident(1)] == [job["id"] for job in json.loads(listed.out)], listed.err
    assert FOX + "\n" == run("get", env=env).out
    rows = b'{"id": "a", "text": "one"}\n'
    args = ("batch", "-", "--group", "g", "--results", "all.jsonl")
    batch = run(*args, stdin=rows, env=env)
    assert (0, f"{ident(2)}\n") == (batch.code, batch.out), batch.err
    doctor = run("doctor", env=env)
    assert not has_bug(doctor.err)
    assert (0, 1) == (doctor.code, doctor.out.count("write")), doctor.out
    assert 5 == len((tmp_path / "witness").read_text())
