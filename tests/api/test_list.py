"""The endpoint's own list, a page at a time."""

from bgresp.api.client import PAGE
from bgresp.core.dialect import Op
from bgresp.core.signals import Fault, FaultKind
from tests.endpoint import dialect, endpoint, using
from tests.fakeanswers import Reply, as_json, html, refusal
from tests.fakeserver import FakeServer

LISTED = dialect(
    ops={"list": Op("GET", "/responses?order=desc&limit={limit}&after={after}")}
)


def test_a_page_is_asked_for_as_the_dialect_says(server: FakeServer) -> None:
    """The first page has no `after`, the next one goes on after an id."""
    page = {"object": "list", "data": [{"id": "resp_1"}], "has_more": True}
    server.script("list", as_json(page), as_json(page))
    place = endpoint(server.base_url, spoken=LISTED)
    assert page == using(place, lambda api: api.list())
    assert page == using(place, lambda api: api.list("resp_1"))
    first = {"order": "desc", "limit": str(PAGE)}
    asked = [seen.query for seen in server.asked("list")]
    assert [first, {**first, "after": "resp_1"}] == asked


def test_what_is_no_list_is_a_fault(server: FakeServer) -> None:
    """A reply without an array of data is never taken for an empty list."""
    answers = (as_json({"object": "list"}), as_json([]), html(200), Reply(200, b"{"))
    server.script("list", *answers)
    place = endpoint(server.base_url, spoken=LISTED)
    for _ in answers:
        answer = using(place, lambda api: api.list())
        assert isinstance(answer, Fault)
        assert FaultKind.UNREADABLE is answer.kind


def test_a_refused_list_is_a_fault(server: FakeServer) -> None:
    """An endpoint that has no list after all says so in the fault."""
    server.script("list", refusal(404, "Invalid URL"))
    place = endpoint(server.base_url, spoken=LISTED)
    answer = using(place, lambda api: api.list())
    assert isinstance(answer, Fault)
    assert (FaultKind.GONE, "Invalid URL") == (answer.kind, answer.message)
