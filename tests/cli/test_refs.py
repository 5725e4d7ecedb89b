"""REF: every way to name a job, and every way to get it wrong."""

import json
from pathlib import Path

import pytest

from bgresp.core.model import Job, Status
from bgresp.ledger.ledger import Ledger
from tests.cli.ledger import ident, key, last, picture, records, seed
from tests.cli.processes import Each
from tests.command import Run
from tests.fakeanswers import as_json, refusal
from tests.fakeserver import FakeServer
from tests.fakewire import FOX, response_of


@pytest.fixture
def named(state: Path) -> Path:
    """Write four jobs: two that share a prefix and a name, one with an odd id."""
    seed(
        state,
        {"id": "resp_abcd1111", "name": "twin"},
        {"id": "resp_abcd2222", "name": "twin"},
        {"id": "a/b c?#%é..", "name": "resp_abcd1111"},
        {"id": "resp_wxyz", "status": "completed"},
    )
    return state


def test_every_form_finds_its_job(bare: Run, each: Each, named: Path) -> None:
    """Ids, prefixes, names, numbers and keys name the job they should."""
    forms = {
        "resp_abcd1111": 1,
        "resp_abcd2": 2,
        "abcd1": 1,
        "wxyz": 4,
        "twin": 2,
        "@last": 4,
        "@1": 4,
        "@2": 3,
        "@4": 1,
        "a/b c?#%é..": 3,
        key(2): 2,
    }
    done = each(*(["status", "--local", "--fields", "key", form] for form in forms))
    for (form, number), ran in zip(forms.items(), done, strict=True):
        assert (0, key(number) + "\n", "") == (ran.code, ran.out, ran.err), form
    # One that is named twice is one: a retry of it must not be paid for twice.
    typed = ("-", "@1", "wxyz", "abcd1111")
    several = bare("list", *typed, "--fields", "key", stdin="abcd1\n\n  twin \n")
    assert [key(4), key(2), key(1)] == several.out.split()


def test_an_ambiguous_ref_names_the_newest(bare: Run, state: Path) -> None:
    """Of many jobs that a beginning may mean the newest are named, in their order."""
    seed(state, *[{"id": f"resp_same{n:02}"} for n in range(40)])
    ran = bare("status", "--local", "resp_same")
    names = ", ".join(f"resp_same{n}" for n in range(39, 34, -1))
    assert (3, True) == (ran.code, f"'resp_same' is ambiguous: {names}, ..." in ran.err)


def test_what_names_no_job(each: Each, named: Path) -> None:
    """Ambiguous, unknown and empty: exit 3; what is no id at all: exit 2."""
    before = picture(named)
    wrong = {
        ("abcd",): (3, "resp_abcd2222, resp_abcd1111"),
        ("abc",): (3, "no job 'abc'"),
        ("@5",): (3, "there is no @5"),
        ("@0",): (2, "not a reference: '@0' (@last or @1 is the newest job, @2"),
        ("@x",): (2, "not a reference: '@x'"),
        (f"@{'9' * 20}",): (2, "not a reference: '@9999"),
        (f"@{'9' * 5000}",): (2, "not a reference: '@9999"),
        (f"@{'9' * 18}",): (3, "there is no @9999"),
        ("resp_nope",): (3, "no job 'resp_nope'"),
        (key(9),): (3, "no job"),
        ("--group", "none"): (3, "no job matches"),
        ("x/y",): (2, "not an id: 'x/y'"),
        ("%2e",): (2, "not an id"),
        ("a b",): (2, "not an id"),
        ("@1", "--group", "g"): (2, "REFs or selectors, not both"),
        ("--since", "someday"): (2, "not a point in time"),
    }
    nobody = {"BGRESP_BASE_URL": None, "BGRESP_API_KEY": None}
    done = each(
        *(["status", *arguments] for arguments in wrong),
        ["get", "abcd", "--json"],
        ["get", "--group", "none", "--allow-empty"],
        env=nobody,
    )
    for (arguments, (code, said)), ran in zip(wrong.items(), done, strict=False):
        assert (code, "", 1) == (ran.code, ran.out, ran.err.count("\n")), arguments
        assert said in ran.err
    *_, ran, empty = done
    error = json.loads(ran.err)
    assert (3, "", "no_such_job", 3) == (
        *(ran.code, ran.out, error["kind"], error["code"]),
    )
    assert (0, "") == (empty.code, empty.out)
    assert before == picture(named)


def test_a_foreign_id_is_adopted(bgresp: Run, server: FakeServer, state: Path) -> None:
    """An id that the ledger does not know is asked of the endpoint and kept."""
    server.script("get", as_json(response_of("in_progress", response_id="other-1.2:3")))
    ran = bgresp("status", "other-1.2:3", "--json")
    record = json.loads(ran.out)
    assert (0, "other-1.2:3", "in_progress", server.base_url) == (
        *(ran.code, record["id"], record["status"], record["base_url"]),
    )
    assert "/v1/responses/other-1.2%3A3" == server.requests[0].path
    assert last(state)["id"] == "other-1.2:3"
    server.script("get", as_json(response_of("completed", FOX)))
    ran = bgresp("get", ident(7))
    assert (0, FOX + "\n") == (ran.code, ran.out)
    kept = picture(state)
    server.script("get", refusal(404, "Not found."), refusal(401, "Bad key."))
    ran = bgresp("watch", "resp_unknown")
    assert (3, "") == (ran.code, ran.out)
    assert "neither in the ledger nor at 127.0.0.1:" in ran.err
    ran = bgresp("watch", "resp_unknown")
    assert (4, "") == (ran.code, ran.out)
    ran = bgresp("list", "resp_unknown")
    assert (3, "", 4) == (ran.code, ran.out, len(server.requests))
    assert kept == picture(state)
    assert {"other-1.2:3", ident(7)} == {line["id"] for line in records(state)}


def test_odd_ids_stay_one_segment(bgresp: Run, server: FakeServer, state: Path) -> None:
    """An id of a server may hold anything: it is percent-encoded in every URL."""
    odd = "../a/b?c#d%e é"
    seed(state, {"id": odd}, {"id": ".."}, server=server)
    for number, id_ in ((1, ".."), (2, odd)):
        server.script("get", as_json(response_of("in_progress", response_id=id_)))
        assert 0 == bgresp("status", f"@{number}").code
    assert [
        "/v1/responses/%2E%2E",
        "/v1/responses/..%2Fa%2Fb%3Fc%23d%25e%20%C3%A9",
    ] == [seen.path for seen in server.requests]


def test_a_name_that_is_nearly_known(bare: Run, state: Path) -> None:
    """A slip in a name does not lead to the job that was meant."""
    ledger = Ledger(state)
    with ledger.submitting(Job(key="", name="nightly")) as job:
        ledger.record(job._replace(id="resp_1", status=Status.QUEUED))
    done = bare("watch", "nihgtly")
    assert 3 == done.code
    assert "did you mean 'nightly'? bgresp list" in done.err


@pytest.mark.parametrize("verb", ["status", "watch", "wait", "get", "cancel", "forget"])
def test_a_pipe_that_brings_no_refs(bare: Run, state: Path, verb: str) -> None:
    """`-` with an empty stdin is an empty selection: never a job that was not named."""
    seed(state, {"status": "completed", "text": "x"})
    ran = bare(verb, "-", stdin="")
    assert (3, "") == (ran.code, ran.out)
    assert "no job matches" in ran.err
    ran = bare(verb, "-", "--allow-empty", stdin="")
    assert (0, "", "") == (ran.code, ran.out, ran.err)
