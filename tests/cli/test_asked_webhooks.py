"""`submit --webhook-url`: the endpoint is asked to tell of a job's end; no secret stays."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ledger import records
from tests.command import Ran, Run
from tests.fakeanswers import RESET, Performed, Reply, Snapshot, Stream, refusal
from tests.fakeserver import FakeServer
from tests.fakewire import Json

SECRET = "whsec_c2VjcmV0IG9mIGEgdGVzdA=="  # noqa: S105
URL = "https://hooks.example.com/end"
BOTH = {"webhook_url": URL, "webhook_secret_env": "HOOK_SECRET"}
ENV = {"HOOK_SECRET": SECRET}
ASKED = ("--webhook-url", URL, "--webhook-secret-env", "HOOK_SECRET")
# An endpoint without a list: what is lost there stays so.
OWN = '[dialects.own]\nextends = "mka1"\nops = { list = "" }\n'

Profile = Callable[..., None]


@pytest.fixture
def profile(server: FakeServer, tmp_path: Path) -> Profile:
    """Write a configuration whose profile `p` leads to the server."""

    def write(dialect: str = "mka1", **keys: str) -> None:
        said = {"dialect": dialect, "base_url": server.base_url, **keys}
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in said.items()]
        path = tmp_path / "config" / "config.toml"
        path.write_text(f"[profiles.p]\n{''.join(lines)}{OWN}")

    return write


def asked(server: FakeServer) -> list[tuple[Any, Any]]:
    """Return the webhook that each create asked for."""
    names = ("webhook_url", "webhook_secret")
    return [tuple(seen.json.get(name) for name in names) for seen in server.creates]


def is_nowhere(*ran: Ran, state: Path, secret: str = SECRET) -> bool:
    """Say whether a secret is in no file of the state folder, and was not said."""
    said = "".join(one.out + one.err for one in ran)
    files = [path for path in state.rglob("*") if path.is_file()]
    assert files
    return secret not in said and not any(
        secret.encode() in path.read_bytes() for path in files
    )


@pytest.mark.parametrize("dialect", ["mka1", "local"])
def test_the_create_asks_and_nothing_keeps_the_secret(
    server: FakeServer, bgresp: Run, profile: Profile, state: Path, dialect: str
) -> None:
    """It is in the bytes of the create alone; the request's digest does not know it."""
    profile(dialect)
    plain = bgresp(
        "submit", "-p", "p", "-t", "hi", "-m", "m", "--body", '{"x":"\\u00fc"}'
    )
    told = bgresp(
        *("submit", "-p", "p", "-t", "hi", "-m", "m", "--body", '{"x":"\\u00fc"}'),
        *("-v", *ASKED),
        env=ENV,
    )
    assert (0, 0) == (plain.code, told.code), told.err
    assert [(None, None), (URL, SECRET)] == asked(server)
    first, second = (seen.json for seen in server.creates)
    own = {"webhook_url", "webhook_secret", "metadata"}
    assert {k: first[k] for k in first.keys() - own} == {
        k: second[k] for k in second.keys() - own
    }
    assert is_nowhere(plain, told, state=state)
    (one, two) = {r["key"]: r for r in records(state)}.values()
    assert one["request_sha256"] == two["request_sha256"]
    again = bgresp(
        *("submit", "-p", "p", "-t", "hi", "-m", "m", "--body", '{"x":"\\u00fc"}'),
        *("--unique", *ASKED),
        env=ENV,
    )
    assert (0, 2) == (again.code, len(server.creates)), again.err


def test_a_profile_asks_for_every_job(
    server: FakeServer, bgresp: Run, profile: Profile, state: Path, tmp_path: Path
) -> None:
    """submit, batch and retry ask as the profile says; a hook never sees the secret."""
    profile(**BOTH)
    (tmp_path / "m.jsonl").write_text('{"id":"a","text":"x"}\n')
    ran = [
        bgresp("submit", "-p", "p", "-t", "hi", "-m", "m", "--wait", env=ENV),
        bgresp("batch", "m.jsonl", "-p", "p", "-m", "m", env=ENV),
    ]
    bgresp("wait", "@last")
    ran.append(bgresp("retry", "@last", env=ENV))
    assert [0, 0, 0] == [one.code for one in ran], ran
    assert is_nowhere(*ran, state=state)
    assert {(URL, SECRET)} == {*asked(server)}


def test_a_retry_cannot_know_the_options(
    server: FakeServer, bgresp: Run, profile: Profile, state: Path
) -> None:
    """What options asked for is not in the ledger: a retry says so, and sends it."""
    profile()
    job = bgresp(
        *("submit", "-p", "p", "-t", "hi", "-m", "m", "--wait", "-q", *ASKED), env=ENV
    )
    assert 0 == job.code, job.err
    ran = bgresp("retry", "@last", env=ENV)
    assert (0, True) == (ran.code, "asked for a webhook" in ran.err), ran.err
    assert [(URL, SECRET), (None, None)] == asked(server)


def test_what_is_sent_again_asks_again(
    server: FakeServer, bgresp: Run, profile: Profile, state: Path
) -> None:
    """A re-send has the same webhook, or says that it goes without."""
    profile("own", **BOTH)
    server.script("create", Performed(RESET), Performed(RESET))
    args = ("submit", "-p", "p", "-m", "m", "-t")
    lost = [bgresp(*args, text, env=ENV) for text in "ab"]
    assert [7, 7] == [one.code for one in lost]
    first, second = sorted({r["key"] for r in records(state)})
    ran = bgresp("resolve", first, "--resend", env=ENV)
    bare = bgresp("resolve", second, "--resend")
    assert "sent again without its webhook" in bare.err
    assert is_nowhere(*lost, ran, bare, state=state)
    assert (URL, SECRET) == asked(server)[2]
    assert (None, None) == asked(server)[-1]


def test_an_endpoint_that_quotes_the_secret(
    server: FakeServer, bgresp: Run, profile: Profile, state: Path
) -> None:
    """What a refusal says of the secret is neither shown nor recorded."""
    profile()
    server.script("create", refusal(400, f"bad webhook_secret {SECRET}, sorry"))
    ran = bgresp("submit", "-p", "p", "-t", "hi", "-m", "m", "-v", *ASKED, env=ENV)
    assert (5, True) == (ran.code, "sorry" in ran.err), ran.err
    assert is_nowhere(ran, state=state)


def test_a_secret_in_the_request_itself(
    server: FakeServer, bgresp: Run, profile: Profile, state: Path
) -> None:
    """What would be kept with the request is refused by name, and not repeated."""
    profile()
    body = json.dumps({"webhook_secret": SECRET})
    for given in (("--set", f"webhook_secret={SECRET}"), ("--body", body)):
        for more in ((), ("--dry-run",)):
            ran = bgresp("submit", "-p", "p", "-t", "x", "-m", "m", *given, *more)
            assert (2, "", True) == (ran.code, ran.out, "webhook-secret-env" in ran.err)
            assert SECRET not in ran.err
    row = json.dumps({"id": "a", "body": {"input": "x", "webhook_secret": SECRET}})
    ran = bgresp("batch", "-", "-p", "p", "-m", "m", "--group", "g", stdin=row)
    assert (2, False) == (ran.code, SECRET in ran.err + ran.out), ran
    assert () == server.creates
    assert not (state / "requests").exists()


def echoed(reply: Reply) -> Reply:
    """Let a response say all that its request said, the secret too."""
    told = json.loads(reply.body)
    told["request"] = {"webhook_url": URL, "webhook_secret": SECRET}
    told |= {"webhook_secret": SECRET, "instructions": f"sign with {SECRET}"}
    return replace(reply, body=json.dumps(told).encode())


def in_fields(reply: Reply) -> Reply:
    """Let it stand in its field alone: a process that does not know it finds it."""
    told = json.loads(echoed(reply).body)
    del told["instructions"]
    return replace(reply, body=json.dumps(told, indent=1).encode())


def echoing(events: list[Json]) -> list[Json]:
    """Let each response of a stream do so."""
    secret = {"webhook_secret": SECRET}
    return [
        {**event, "response": {**event["response"], **secret}}
        if "response" in event
        else event
        for event in events
    ]


def test_an_endpoint_that_echoes_the_request(
    server: FakeServer, bgresp: Run, profile: Profile, state: Path
) -> None:
    """No saved answer, record or printed JSON has the secret, whoever asks for it."""
    profile()
    submit = ("submit", "-p", "p", "-t", "hi", "-m", "m", *ASKED)
    server.script("create", Snapshot(change=echoed), Snapshot(change=echoed))
    server.script("get", Snapshot("completed", change=echoed))
    ran = [bgresp(*submit, "--wait", "--json", "-v", env=ENV)]
    ran += [bgresp("get", "@last", "--part", "raw"), bgresp("show", "@last", "--json")]
    assert [0, 0, 0] == [one.code for one in ran], ran
    assert "[secret]" in ran[1].out
    assert "webhook_secret" in ran[1].out
    ran.append(bgresp(*submit, env=ENV))
    server.script("get", Snapshot("completed", change=in_fields))
    ran += [bgresp("sync", "--jsonl"), bgresp("get", "@last", "--json")]
    server.script("create", Stream(change=echoing))
    ran.append(bgresp(*submit, "--watch", "--stream", "--jsonl", env=ENV))
    server.script("stream", Stream(change=echoing))
    ran.append(bgresp("watch", "@last", "--events"))
    assert {0} == {one.code for one in ran}, ran
    assert is_nowhere(*ran, state=state)


@pytest.mark.parametrize(
    ("dialect", "args", "code", "said"),
    [
        ("openai", ASKED, 5, "a openai endpoint takes no webhook"),
        ("mka1", ASKED[:2], 2, "--webhook-url and --webhook-secret-env need"),
        ("mka1", ASKED[2:], 2, "--webhook-url and --webhook-secret-env need"),
        ("mka1", ("--webhook-url", "ftp://x", *ASKED[2:]), 2, "takes a URL"),
        ("mka1", (*ASKED[:3], SECRET), 2, "takes the name of a variable"),
        ("mka1", (*ASKED[:3], "NO_SUCH"), 4, "'NO_SUCH' is not set"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    server: FakeServer,
    bgresp: Run,
    profile: Profile,
    state: Path,
    dialect: str,
    args: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    """By name, before anything is sent or written; what may be a secret is not said."""
    profile(dialect)
    for verb in (("submit", "-t", "hi"), ("batch", "-", "--group", "g")):
        ran = bgresp(
            *(*verb, "-p", "p", "-m", "m", *args),
            stdin='{"id":"a","text":"x"}',
            env=ENV,
        )
        assert (code, True) == (ran.code, said in ran.err), ran.err
        assert SECRET not in ran.err
    assert () == server.creates
    assert not (state / "ledger.jsonl").exists()


def test_a_profile_that_cannot_ask_says_so(
    server: FakeServer, bgresp: Run, profile: Profile
) -> None:
    """Half a webhook, or one that the dialect has not, is a mistake of configuration."""
    profile("openai", **BOTH)
    ran = bgresp("submit", "-p", "p", "-t", "hi", "-m", "m", env=ENV)
    assert (4, True) == (ran.code, "takes no webhook" in ran.err), ran.err
    profile(webhook_url=URL)
    ran = bgresp("submit", "-p", "p", "-t", "hi", "-m", "m", env=ENV)
    assert (4, True) == (ran.code, "need each other" in ran.err), ran.err
    assert () == server.creates
