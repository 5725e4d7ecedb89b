"""The command behind a proxy: what was not sent blocks nothing, and says what to set."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.ledger import records
from tests.command import Changes, Run, has_bug
from tests.fakeserver import FakeServer
from tests.tunnelproxy import BASE_URL, Connect, TunnelProxy

ROWS = 12
Behind = Callable[..., dict[str, str]]


@pytest.fixture(name="behind")
def _behind(server: FakeServer, tmp_path: Path) -> Iterator[Behind]:
    """Start a proxy; return the variables of a command behind it."""
    with ExitStack() as stack:

        def start(how: Connect = Connect.LET_THROUGH) -> dict[str, str]:
            proxy = stack.enter_context(TunnelProxy(server.address, how))
            folder = tmp_path / str(proxy.url[-5:])
            folder.mkdir()
            return {**proxy.environ(folder), "BGRESP_BASE_URL": BASE_URL}

        yield start


def statuses(state: Path) -> set[str]:
    """Return what the ledger says of each job in the end."""
    last = {line["key"]: line["status"] for line in records(state)}
    return {*last.values()}


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (Connect.UNAUTHORIZED, 4),
        (Connect.FORBIDDEN, 6),
        (Connect.CLOSE, 6),
        (Connect.NO_TLS, 6),
    ],
)
def test_what_a_proxy_refuses_was_not_sent(
    hasty: Run, server: FakeServer, behind: Behind, how: Connect, code: int
) -> None:
    """Exit 4 where a person must set something, else 6; the same --key goes on."""
    words = ("submit", "-t", "x", "--key", "k")
    ran = hasty(*words, env=behind(how))
    assert (code, "", False) == (ran.code, ran.out, has_bug(ran.err))
    assert "HTTPS_PROXY" in ran.err.splitlines()[-1]
    assert () == server.requests
    ran = hasty(*words, env=behind())
    assert (0, 1) == (ran.code, len(server.creates)), ran.err


def test_a_lost_reply_behind_a_proxy_blocks(
    hasty: Run, server: FakeServer, behind: Behind
) -> None:
    """What may have been accepted is exit 7, and the same --key sends nothing."""
    words = ("submit", "-t", "x", "--key", "k")
    for env in (behind(Connect.NO_REPLY), behind()):
        assert (7, 1) == (hasty(*words, env=env).code, len(server.creates))


def test_a_batch_without_its_authority_leaves_no_row_blocked(
    hasty: Run, server: FakeServer, behind: Behind, state: Path, tmp_path: Path
) -> None:
    """A missing CA costs no row: exit 4, none unknown, and with it all are sent."""
    lines = [json.dumps({"id": f"r{n}", "text": "x"}) for n in range(ROWS)]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    env: Changes = behind()
    ran = hasty("batch", "m.jsonl", "-m", "m", env={**env, "SSL_CERT_FILE": None})
    assert (4, "") == (ran.code, ran.out)
    assert "SSL_CERT_FILE" in ran.err
    assert {"rejected"} == statuses(state)
    ran = hasty("batch", "m.jsonl", "-m", "m", env=env)
    assert (0, ROWS, ROWS) == (
        *(ran.code, len(ran.out.splitlines()), len(server.creates)),
    ), ran.err


def test_doctor_says_which_way_it_would_go(bgresp: Run, behind: Behind) -> None:
    """The proxy and the file of authorities are named with their variables."""
    env = behind(Connect.UNAUTHORIZED)
    ran = bgresp("doctor", env=env)
    assert (
        f"ok\tnetwork\tby the proxy {env['HTTPS_PROXY'][7:]} of HTTPS_PROXY" in ran.out
    )
    assert f"certificates of SSL_CERT_FILE ({env['SSL_CERT_FILE']})" in ran.out
    ran = bgresp("doctor", env={**env, "NO_PROXY": "::1,fd00::/8,llm.test"})
    assert "ok\tnetwork\tno proxy, certificates of" in ran.out


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "SSL_CERT_FILE"])
def test_doctor_finds_what_is_set_wrong(bgresp: Run, behind: Behind, name: str) -> None:
    """A connection that cannot be set up is bad, exit 4, and names the variable."""
    ran = bgresp("doctor", env={**behind(), name: "nonsense://x"})
    assert 4 == ran.code
    assert "bad\tnetwork\t" in ran.out
    assert name in ran.out


@pytest.mark.parametrize("verb", ["status", "cancel", "watch", "wait"])
def test_a_question_that_no_certificate_lets_through_is_for_the_user(
    bgresp: Run, server: FakeServer, behind: Behind, state: Path, verb: str
) -> None:
    """A missing CA is exit 4 of each question, and no news of the job."""
    env: Changes = behind()
    assert 0 == bgresp("submit", "-t", "x", env=env).code
    before = len(server.requests)
    ran = bgresp(verb, "@1", env={**env, "SSL_CERT_FILE": None})
    assert (4, False) == (ran.code, has_bug(ran.err)), ran
    assert "certificate verify failed" in ran.err + ran.out
    assert ({"queued"}, before) == (statuses(state), len(server.requests))
