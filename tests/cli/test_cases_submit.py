"""RELIABILITY.md section 8 A: submits that are sent once, refused here, or waited out.

What a reply does to a submit is in test_cases_submit_faults.py.
"""

import shutil
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ledger import ident, last, records
from tests.cli.processes import Shell, Start
from tests.command import Ran, Run, has_bug
from tests.fakeanswers import Forever, refusal
from tests.fakeserver import FakeServer
from tests.hastyclock import SCALE
from tests.proof.warmed import Task, WarmedProcess

AT_ONCE = 20
AGAIN = "; trying again in "


def statuses(state: Path) -> list[str]:
    """Return every status that was recorded, oldest first."""
    return [line["status"] for line in records(state)]


def assert_not_sent(ran: Ran, state: Path, why: str, code: int = 6) -> None:
    """Check for the exit code, its line, and the record that says so."""
    assert (code, "") == (ran.code, ran.out), ran
    line = ran.err.splitlines()[-1]
    assert line.startswith("bgresp: not sent: ")
    assert why in line
    assert not has_bug(ran.err)
    assert ["submitting", "rejected"] == statuses(state)
    assert "not_sent" == last(state)["error"]["code"]


def test_case_01_normal(bgresp: Run, server: FakeServer, state: Path) -> None:
    """An accepted submit prints its id and nothing else; one POST was sent."""
    ran = bgresp("submit", "-t", "hi")
    assert (0, f"{ident(1)}\n", "") == (ran.code, ran.out, ran.err)
    assert (1, 1) == (len(server.creates), len(server.requests))
    assert ["submitting", "queued"] == statuses(state)
    assert ident(1) == last(state)["id"]


def test_case_02_refused(hasty: Run, server: FakeServer, state: Path) -> None:
    """Refused four times: no POST, exit 6, and the line names the host."""
    server.refuse()
    ran = hasty("submit", "-t", "hi")
    host = server.base_url.removeprefix("http://").removesuffix("/v1")
    assert_not_sent(ran, state, f"could not connect to {host}: Connect")
    assert (3, ()) == (ran.err.count(AGAIN), server.creates)


def test_case_03_refused_then_up(start: Start, server: FakeServer, state: Path) -> None:
    """An endpoint that comes up while we try gets one POST and makes one job."""
    server.refuse()
    submit = start("submit", "-t", "hi")
    submit.until(AGAIN.encode(), "err")
    server.accept()
    ran = submit.finish()
    assert (0, f"{ident(1)}\n") == (ran.code, ran.out)
    assert (1, [ident(1)]) == (len(server.creates), list(server.jobs))
    assert ["submitting", "queued"] == statuses(state)


def test_case_04_no_such_host(hasty: Run, state: Path) -> None:
    """A host that no resolver knows: exit 6, and the line names it."""
    # A resolver that is not there either must not hold up the test.
    env = {"BGRESP_BASE_URL": "https://nowhere.invalid/v1"}
    env |= {"RES_OPTIONS": "timeout:1 attempts:1"}
    ran = hasty("submit", "-t", "hi", env=env)
    assert_not_sent(ran, state, "could not connect to nowhere.invalid: ")
    assert 3 == ran.err.count(AGAIN)


class Handshake(socketserver.BaseRequestHandler):
    """Shakes hands, or is hung up on."""

    def handle(self) -> None:
        with suppress(OSError):
            self.request.do_handshake()


@contextmanager
def self_signed(folder: Path) -> Iterator[tuple[str, list[object]]]:
    """Run a TLS server that nobody vouches for; tell its URL and who called."""
    made = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    kind = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"]
    subprocess.run(["openssl", "req", *kind, *made], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    callers: list[object] = []

    def answer(*call: Any) -> Handshake:
        callers.append(call)
        return Handshake(*call)

    with socketserver.TCPServer(("127.0.0.1", 0), answer) as server:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"https://127.0.0.1:{server.server_address[1]}/v1", callers
        server.shutdown()
        thread.join()


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes the certificate")
def test_case_04_certificate(bgresp: Run, state: Path, tmp_path: Path) -> None:
    """A certificate that is not to be trusted: exit 4, the reason, one attempt."""
    with self_signed(tmp_path) as (url, callers):
        ran = bgresp("submit", "-t", "hi", env={"BGRESP_BASE_URL": url})
    assert_not_sent(ran, state, "certificate verify failed", code=4)
    assert "(check SSL_CERT_FILE: whose certificates hold)" in ran.err
    assert (0, 1) == (ran.err.count(AGAIN), len(callers))


@pytest.fixture(scope="module")
def warmed() -> Iterator[WarmedProcess]:
    with WarmedProcess() as running:
        yield running


def all_at_once(
    warmed: WarmedProcess, chosen: dict[str, str], folder: Path, *words: str
) -> list[str]:
    """Submit from twenty processes at once; return what each printed."""
    warmed.warm(["submit", "-t", "warm"], {**chosen, "BGRESP_STATE_DIR": str(folder)})
    outs = [folder / f"out-{number}" for number in range(AT_ONCE)]
    argvs = [["submit", "-t", f"from {out.name}", *words] for out in outs]
    ends = warmed.run(
        *(Task([argv], chosen, out) for argv, out in zip(argvs, outs, strict=True))
    )
    assert {0} == {end.code for end in ends}
    return [out.read_text() for out in outs]


def test_case_12_one_key(
    warmed: WarmedProcess,
    chosen: dict[str, str],
    server: FakeServer,
    state: Path,
    tmp_path: Path,
) -> None:
    """Twenty processes under one --key: one POST, and all print its id."""
    printed = all_at_once(warmed, chosen, tmp_path / "many", "--key", "nightly")
    assert [f"{ident(2)}\n"] * AT_ONCE == printed
    assert [ident(1), ident(2)] == list(server.jobs)  # the first warmed the warmed
    assert 2 == len(server.creates)
    assert ["submitting", "queued"] == statuses(state)


def test_case_13_many_jobs(
    warmed: WarmedProcess,
    chosen: dict[str, str],
    server: FakeServer,
    state: Path,
    tmp_path: Path,
) -> None:
    """Twenty processes with a job each: twenty ids, all printed, none lost."""
    printed = all_at_once(warmed, chosen, tmp_path / "many")
    wanted = {ident(number) for number in range(2, AT_ONCE + 2)}
    assert wanted == {line.removesuffix("\n") for line in printed}
    assert wanted | {ident(1)} == set(server.jobs)
    assert AT_ONCE + 1 == len(server.creates)
    found = [line["id"] for line in records(state) if line.get("id")]
    assert (AT_ONCE, wanted) == (len(found), set(found))


def test_case_19_told_to_wait(hasty: Run, server: FakeServer, state: Path) -> None:
    """429 with Retry-After: 2 is sent again two seconds later at the earliest."""
    server.script("create", refusal(429, "Busy.", retry_after="2"))
    ran = hasty("submit", "-t", "hi")
    assert (0, f"{ident(1)}\n") == (ran.code, ran.out)
    first, second = server.creates
    assert SCALE * (second.at - first.at) >= 2.0
    assert (first.body, [ident(1)]) == (second.body, list(server.jobs))
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert ["submitting", "queued"] == statuses(state)


def test_case_20_told_to_wait_too_long(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """429 with Retry-After: 3600 is given up at once, with the time it asked for."""
    server.script("create", refusal(429, "Busy.", retry_after="3600"))
    ran = bgresp("submit", "-t", "hi")
    assert_not_sent(ran, state, "Busy.; the endpoint asks to wait 3600 s")
    assert (1, 1) == (len(server.creates), ran.err.count("\n"))


def test_case_21_told_to_wait_for_ever(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Waits add up: what would end after 120 s in all is not begun, and exit 6."""
    late = refusal(429, "Busy.", retry_after="119.95")
    server.script("create", refusal(429, "Busy.", retry_after="0"), Forever(late))
    ran = bgresp("submit", "-t", "hi")
    assert_not_sent(ran, state, "Busy.")
    assert (2, 1) == (len(server.creates), ran.err.count(AGAIN))
    assert {} == server.jobs


def test_case_29_sixteen_pairs(bgresp: Run, server: FakeServer, state: Path) -> None:
    """Sixteen metadata pairs leave no room for our own: exit 2 before anything."""
    pairs = [word for n in range(16) for word in ("--metadata", f"k{n}=v")]
    ran = bgresp("submit", "-t", "hi", *pairs)
    assert (2, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    assert "metadata takes 16 pairs" in ran.err
    assert ((), False) == (server.requests, state.exists())
    assert 0 == bgresp("submit", "-t", "hi", *pairs[2:]).code
    assert 16 == len(server.creates[0].json["metadata"])


def test_case_30_no_text(
    bgresp: Run, shell: Shell, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """NUL, invalid UTF-8 or 200 MB on stdin: one line, exit 2, nothing sent."""
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(200_000_000)
    done = {
        "stdin: the prompt has NUL bytes": bgresp("submit", "-", stdin=b"a\0b"),
        "stdin: not UTF-8 (byte 3)": bgresp("submit", "-", stdin=b"ab \xff"),
        "stdin: larger than 40 MiB": shell('"$@" < huge', "submit", "-"),
    }
    for said, ran in done.items():
        assert (2, "", 1) == (ran.code, ran.out, ran.err.count("\n")), ran
        assert ran.err.startswith(f"bgresp: {said}")
    assert ((), False) == (server.requests, state.exists())


@pytest.mark.parametrize(
    ("folder", "code"), [("new", 0), ("file", 1)], ids=["missing", "unusable"]
)
def test_39_a_home_that_is_not_there(
    bgresp: Run, server: FakeServer, tmp_path: Path, folder: str, code: int
) -> None:
    """A missing folder is made, private; where that fails: one line, none sent."""
    (tmp_path / "file").touch()
    unset = ("BGRESP_STATE_DIR", "BGRESP_CONFIG", "XDG_CONFIG_HOME")
    env: dict[str, str | None] = dict.fromkeys(unset)
    env |= {"HOME": str(tmp_path / "home"), "XDG_STATE_HOME": str(tmp_path / folder)}
    ran = bgresp("submit", "-t", "x", env=env)
    assert (code, 1 - code) == (ran.code, len(server.creates)), ran
    assert (code, False) == (ran.err.count("\n"), has_bug(ran.err)), ran
    if code == 0:
        (journal,) = (tmp_path / "new").rglob("ledger.jsonl")
        assert 0o700 == journal.parent.stat().st_mode & 0o777
    else:
        assert str(tmp_path / "file") in ran.err
        assert "BGRESP_STATE_DIR" in ran.err
