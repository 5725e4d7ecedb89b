"""What a request keeps secret is not repeated, wherever the endpoint quotes it."""

from dataclasses import replace

import pytest

from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.core.signals import Event, Fault, Signal, Snapshot
from tests.endpoint import KEY, endpoint, using
from tests.fakeanswers import Stream, as_json, refusal
from tests.fakeserver import FakeServer
from tests.fakewire import Json, response_of

GATE = "open-sesame-4711"
QUOTED = f"Wrong: {KEY} {GATE}"


def asked(server: FakeServer, *, create: bool = False) -> Signal:
    """Ask with a key, and a secret in a header whose name tells nothing."""
    place = endpoint(
        server.base_url, headers={"X-Gate": GATE}, vars={"organization": "org-12345678"}
    )
    plain = place.dialect.auth._replace(header="X-Who", value="{key}")
    place = place._replace(dialect=place.dialect._replace(auth=plain))

    async def ask(api: Api) -> Signal:
        if not create:
            return await api.retrieve("resp_1")
        body = api.create(b"{}", key="k", stream=True, sent=Sent())
        return [signal async for signal in body][-2]

    return using(place, ask)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_a_refusal_hides_secrets_of_any_name(server: FakeServer, status: int) -> None:
    """A key or a person's own header is repeated because its name tells nothing."""
    named = {"x-request-id": f"r-{GATE}"}
    server.script("get", replace(refusal(status, QUOTED, code=KEY), headers=named))
    found = asked(server)
    assert isinstance(found, Fault)
    assert found.error is not None
    assert "Wrong: [secret] [secret]" == found.message
    assert ("[secret]", "r-[secret]") == (found.error.code, found.request_id)


def test_what_is_no_secret_stays_readable(server: FakeServer) -> None:
    """An organization that the endpoint names is taken out of its message."""
    server.script("get", refusal(404, "No project in org-12345678."))
    found = asked(server)
    assert isinstance(found, Fault)
    assert "No project in org-12345678." == found.message


def test_a_failed_job_hides_secrets(server: FakeServer) -> None:
    """The error of a job that failed brings a key into the ledger; its answer is whole."""
    failed: Json = {
        **response_of("failed", ""),
        "error": {"code": KEY, "message": QUOTED},
    }
    server.script("get", as_json(failed))
    found = asked(server)
    assert isinstance(found, Snapshot)
    assert found.reading.error is not None
    assert "Wrong: [secret] [secret]" == found.reading.error.message
    assert "[secret]" == found.reading.error.code
    assert KEY.encode() in found.raw


def test_a_failing_stream_hides_secrets(server: FakeServer) -> None:
    """The last event of a stream brings a key into the ledger."""
    failed = {**response_of("failed", ""), "error": QUOTED}
    last: Json = {"type": "response.failed", "response": failed, "sequence_number": 0}
    server.script("create", Stream(events=[last]))
    found = asked(server, create=True)
    assert isinstance(found, Event)
    assert found.reading is not None
    assert found.reading.error is not None
    assert "Wrong: [secret] [secret]" == found.reading.error.message


def test_an_error_event_hides_secrets(server: FakeServer) -> None:
    """An `error` that no response follows brings a key into the ledger."""
    error: Json = {"type": "error", "code": KEY, "message": QUOTED}
    server.script("create", Stream(events=[error]))
    found = asked(server, create=True)
    assert isinstance(found, Event)
    assert found.error is not None
    assert ("[secret]", "Wrong: [secret] [secret]") == (
        found.error.code,
        found.error.message,
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            {"message": "Bad value.", "param": "background"},
            "Bad value. (param background)",
        ),
        ({"message": "No 'model'.", "param": "model"}, "No 'model'."),
        ({"message": "Bad.", "param": None}, "Bad."),
        ({"message": "Bad.", "param": ["x"]}, "Bad."),
        ({"message": "Bad.", "param": "\x1b[31m"}, "Bad. (param "),
    ],
)
def test_a_refusal_names_its_parameter(
    server: FakeServer, error: Json, said: str
) -> None:
    """The parameter that an endpoint complains of is not told, or told twice."""
    server.script("get", as_json({"error": error}, 400))
    found = asked(server)
    assert isinstance(found, Fault)
    assert found.message.startswith(said)
    assert "\x1b" not in found.message


def test_a_secret_that_holds_another_is_hidden_whole(server: FakeServer) -> None:
    """The shorter of two secrets is taken out first, and leaves the longer's rest."""
    longer = f"{KEY}-of-the-gate"
    server.script("get", refusal(400, f"Wrong: {longer} and {KEY}."))
    place = endpoint(server.base_url, headers={"X-Gate": longer})
    found = using(place, lambda api: api.retrieve("resp_1"))
    assert isinstance(found, Fault)
    assert "Wrong: [secret] and [secret]." == found.message
