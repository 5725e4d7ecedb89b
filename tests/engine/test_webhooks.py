"""Which deliveries are believed, and what they are taken to say."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.engine.recorder import Recorder
from bgresp.engine.webhooks import DeliveryError, Listener, headers_of, verified
from bgresp.ledger.saved import KEPT, Deliveries, Delivery
from tests.webhooks import OTHER, SECRET, event, signed

BODY = event("resp_1")
GOOD = signed(BODY)
NOW = 1_000_000.0


def read(
    headers: dict[str, str], body: bytes = BODY, secrets: tuple[str, ...] = (SECRET,)
) -> Delivery | None:
    return verified(headers, body, secrets, now=NOW)


def test_a_signed_delivery_names_its_job() -> None:
    """What the library signs is read: its id, the kind, the job."""
    expected = Delivery("wh_1", "response.completed", "resp_1", NOW)
    assert expected == read(signed(BODY))


def test_any_of_several_secrets_will_do() -> None:
    """While a secret is rotated deliveries of both are taken, and both in one header."""
    assert read(signed(BODY, secret=OTHER), secrets=(SECRET, OTHER)) is not None
    mine, other = signed(BODY), signed(BODY, secret=OTHER)
    both = f"{other['webhook-signature']} v1a,xx v1, {mine['webhook-signature']}"
    assert read({**mine, "webhook-signature": both}) is not None
    plain = {**mine, "webhook-signature": "v1,x y,z,w = v1 \u00ff"}
    with pytest.raises(DeliveryError):
        read(plain)


def test_a_secret_without_prefix_is_the_key_itself() -> None:
    """As OpenAI's own SDK reads it: only `whsec_` means base64."""
    digest = hmac.new(b"plain secret", b"", hashlib.sha256)
    now = str(int(time.time()))
    digest.update(f"wh_1.{now}.".encode() + BODY)
    sign = "v1," + base64.b64encode(digest.digest()).decode()
    headers = {
        "webhook-id": "wh_1",
        "webhook-timestamp": now,
        "webhook-signature": sign,
    }
    assert read(headers, secrets=("plain secret",)) is not None


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param(signed(BODY, secret=OTHER), BODY, id="forged"),
        pytest.param(signed(BODY, age=1000), BODY, id="old"),
        pytest.param(signed(BODY, age=-1000), BODY, id="future"),
        pytest.param(GOOD, BODY[:-1], id="truncated"),
        pytest.param(GOOD, BODY + b" ", id="grown"),
        pytest.param({**GOOD, "webhook-id": "wh_2"}, BODY, id="another id"),
        pytest.param({}, BODY, id="nothing"),
        pytest.param({**GOOD, "webhook-timestamp": "nan"}, BODY, id="nan"),
        pytest.param({**GOOD, "webhook-timestamp": "9" * 400}, BODY, id="infinite"),
        pytest.param({**GOOD, "webhook-signature": "v1"}, BODY, id="no comma"),
        pytest.param({**GOOD, "webhook-signature": "v1,a,b"}, BODY, id="commas"),
        pytest.param({**GOOD, "webhook-signature": "v1,\u00e9"}, BODY, id="latin"),
        pytest.param(signed(b"[]"), b"[]", id="no object"),
        pytest.param(signed(b"{"), b"{", id="no JSON"),
        pytest.param(signed(b"[" * 9999), b"[" * 9999, id="deep"),
        pytest.param(signed(BODY, id_="x" * 600), BODY, id="long id"),
        pytest.param({"x-webhook-signature": "sha256=00"}, BODY, id="bare"),
    ],
)
def test_what_is_not_believed(headers: dict[str, str], body: bytes) -> None:
    """Forged, old, future, cut, malformed: refused, and never another exception."""
    with pytest.raises(DeliveryError):
        read(headers, body)


@given(
    st.dictionaries(
        st.sampled_from([*GOOD, "x-webhook-signature"]), st.text(max_size=40)
    ),
    st.binary(max_size=60),
)
def test_nothing_a_stranger_sends_raises(headers: dict[str, str], body: bytes) -> None:
    """Whatever is sent without the secret is a DeliveryError."""
    with pytest.raises(DeliveryError):
        read(headers, body)


@pytest.mark.parametrize(
    "kind",
    ["batch.completed", "eval.run.failed", "response.queued", "response.created", ""],
)
def test_other_events_are_about_no_end(kind: str) -> None:
    """A batch, an evaluation, a job that begins: believed, and nothing to do."""
    body = event("resp_1", kind)
    assert read(signed(body), body) is None


@pytest.mark.parametrize("form", ["hex", "prefixed", "base64"])
def test_the_bare_signature_of_mka1(form: str) -> None:
    """An HMAC of the body is taken, however it is written; its own digest names it."""
    body = json.dumps({"id": "resp_9", "object": "response", "status": "failed"})
    digest = hmac.new(b"s3", body.encode(), hashlib.sha256)
    sign = {
        "hex": digest.hexdigest(),
        "prefixed": f"sha256={digest.hexdigest()}",
        "base64": base64.b64encode(digest.digest()).decode(),
    }[form]
    found = read({"x-webhook-signature": sign}, body.encode(), ("s2", "s3"))
    assert found is not None
    assert ("response.failed", "resp_9") == (found.type, found.job_id)
    assert hashlib.sha256(body.encode()).hexdigest() == found.id


def test_deliveries_are_remembered_and_forgotten(tmp_path: Path) -> None:
    """What came is there after a restart, once, whatever a crash tore; not for ever."""
    now = [NOW]
    one, two = (Delivery(f"wh_{n}", "response.failed", f"r{n}", NOW) for n in (1, 2))
    book = Deliveries(tmp_path, lambda: now[0])
    assert [] == book.load()
    book.append([one, two])
    book.append([], ["wh_1"])
    with book.path.open("ab") as file:
        file.write(b'{"id": "wh_3", "type": "resp')
    again = Deliveries(tmp_path, lambda: now[0])
    assert [two] == again.load()
    assert "wh_1" in again
    assert "wh_3" not in again
    again.append([Delivery("wh_4", "response.failed", "r4", NOW)])
    now[0] += KEPT + 1
    last = Deliveries(tmp_path, lambda: now[0])
    assert [] == last.load()
    assert "wh_1" not in last
    assert b"" == last.path.read_bytes()


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    """However many deliveries come, their file holds a few lines for each at most."""
    book = Deliveries(tmp_path, lambda: NOW)
    book.load()
    for _ in range(40):
        book.append([Delivery("wh", "response.failed", "r", NOW)] * 100, ["wh"] * 100)
    assert len(book.path.read_bytes().splitlines()) < 1_500


def test_without_a_secret_everything_is_taken() -> None:
    """Nothing can be verified then: a signed delivery is no worse than another."""
    expected = Delivery("wh_1", "response.completed", "resp_1", NOW)
    assert expected == read(signed(BODY), secrets=())
    bare = read({"x-webhook-signature": "x"}, secrets=())
    assert bare is not None
    assert hashlib.sha256(BODY).hexdigest() == bare.id


def test_two_headers_of_one_name() -> None:
    """Of two that count none is chosen; others may come as often as they like."""
    pairs = [(name.encode(), value.encode()) for name, value in GOOD.items()]
    cookies = [(b"Cookie", b"a"), (b"Cookie", b"b")]
    assert {**GOOD, "cookie": "b"} == headers_of([*pairs, *cookies])
    for name in [*GOOD, "X-Webhook-Signature"]:
        twice = [(name.upper().encode(), b"x"), (name.encode(), b"x")]
        with pytest.raises(DeliveryError, match="two headers"):
            headers_of(twice)


def test_a_listener_that_is_never_restarted(tmp_path: Path) -> None:
    """What is older than an endpoint may deliver again is dropped as it goes, too."""
    now = [NOW]
    book = Deliveries(tmp_path, lambda: now[0])
    book.load()
    for number in range(40):
        ids = [f"wh_{number}_{n}" for n in range(100)]
        came = [Delivery(id_, "response.failed", "r", now[0]) for id_ in ids]
        book.append(came)
        book.append([], ids)
        now[0] += KEPT / 10
    assert len(book.path.read_bytes().splitlines()) < 5_000
    assert "wh_0_0" not in book
    assert "wh_39_0" in book


def test_a_listener_that_waits_does_nothing(tmp_path: Path) -> None:
    """While nothing is delivered it sleeps, and does not look at its clock."""
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return 1e6

    async def idle() -> None:
        listener = Listener(
            lambda: pytest.fail("nobody is to be asked"),
            Recorder.at(tmp_path),
            lambda _: None,
            lambda *_: None,
            lambda _: None,
            clock=clock,
        )
        task = asyncio.create_task(listener.run())
        for _ in range(200):
            await asyncio.sleep(0)
        assert task.cancel()

    asyncio.run(idle())
    assert looks < 5
