"""`bgresp import`: ids that this machine did not submit."""

import json
from pathlib import Path

from tests.cli.killed import died
from tests.cli.ledger import ident, key, last, picture, records, seed
from tests.cli.processes import Start
from tests.command import Run
from tests.fakeanswers import Forever, as_json
from tests.fakeserver import FakeServer
from tests.fakewire import response_of


def test_an_id_is_adopted_once(bgresp: Run, server: FakeServer, state: Path) -> None:
    """An imported id is in the ledger with its status; again changes nothing."""
    server.script("get", as_json(response_of("in_progress", response_id="resp_far")))
    ran = bgresp("import", "resp_far", "-q")
    assert (0, "resp_far\n") == (ran.code, ran.out)
    assert ("resp_far", "in_progress") == (last(state)["id"], last(state)["status"])
    before = picture(state)
    again = bgresp("import", "resp_far", "-q")
    assert (0, "resp_far\n") == (again.code, again.out)
    assert before == picture(state)
    assert 1 == len(server.requests)


def test_a_finished_one_brings_its_answer(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """The answer of an imported job is saved at once."""
    server.script("get", as_json(response_of("completed", "Four.")))
    assert 0 == bgresp("import", ident(1)).code
    server.refuse()
    assert "Four.\n" == bgresp("get", ident(1)).out


def test_it_is_given_a_name(bgresp: Run, server: FakeServer, state: Path) -> None:
    """Name, group and labels are kept, for an id that was known already too."""
    server.script("get", as_json(response_of("queued")))
    told = ("-n", "essay", "--group", "night", "-l", "a=b")
    assert 0 == bgresp("import", ident(1), *told).code
    record = json.loads(bgresp("status", "--local", "essay", "--json").out)
    assert ("night", {"a": "b"}) == (record["group"], record["labels"])
    assert 0 == bgresp("import", ident(1), "-l", "c=d", "-n", "poem").code
    record = json.loads(bgresp("status", "--local", "poem", "--json").out)
    assert ("night", {"a": "b", "c": "d"}) == (record["group"], record["labels"])


def test_an_unknown_id_costs_the_others_nothing(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Exit 3 tells of an id that the endpoint does not have; the rest is adopted."""
    server.script("get", as_json(response_of("queued")), job=ident(1))
    ran = bgresp("import", "resp_nowhere", ident(1), "-q")
    assert (3, ident(1) + "\n") == (ran.code, ran.out)
    assert "resp_nowhere" in ran.err


def test_at_once_is_once(start: Start, server: FakeServer, state: Path) -> None:
    """Two processes that import one id make one record."""
    server.script("get", Forever(as_json(response_of("queued"))), job=ident(1))
    both = [start("import", ident(1), "-q") for _ in range(2)]
    assert [(0, ident(1) + "\n")] * 2 == [
        (ran.code, ran.out) for ran in (one.finish() for one in both)
    ]
    assert 1 == len({record["key"] for record in records(state)})


def test_what_a_lost_submit_made_settles_it(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """An id that carries the key of a submit that died is that submit's."""
    lost = died(server, state, accepted=True)
    ran = bgresp("import", ident(1), "-q")
    assert (0, ident(1) + "\n") == (ran.code, ran.out)
    assert {lost} == {record["key"] for record in records(state)}
    assert ident(1) == last(state)["id"]


def test_what_another_machine_submitted_is_adopted(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """A key of another ledger is no key of ours."""
    theirs = response_of("queued") | {"metadata": {"bgresp_key": key(7)}}
    server.script("get", as_json(theirs))
    assert 0 == bgresp("import", ident(1)).code
    assert key(7) != last(state)["key"]


def test_usage(bgresp: Run, server: FakeServer, state: Path) -> None:
    """Nothing is asked for what cannot be an id, or a name for two."""
    seed(state)
    for args in (
        [],
        ["../x"],
        ["a b"],
        ["resp_1", "resp_2", "-n", "x"],
        ["resp_1", "-n", "@1"],
    ):
        assert 2 == bgresp("import", *args).code
    assert 2 == bgresp("import", "resp_1", "-l", "novalue").code
    assert () == server.requests
