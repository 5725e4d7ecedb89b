"""Submits without a known outcome: found, replayed, or left for a person to settle."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgresp.api.client import Api
from bgresp.core.errors import LedgerError, NotFinishedError, UsageError
from bgresp.core.model import Job, Status
from bgresp.core.signals import Fault
from bgresp.engine import settle
from bgresp.engine.recorder import Recorder
from bgresp.engine.settle import (
    KEYS_KEPT,
    SHOWN_WITHIN,
    Settling,
    abandoned,
    candidates,
    holding,
)
from tests.endpoint import endpoint, using
from tests.engine.submits import body, died, found, posted, speaking
from tests.fakeanswers import RESET, as_json, refusal
from tests.fakeserver import FakeServer
from tests.fakewire import FIRST_ID, response_of


@pytest.fixture
def listing() -> Iterator[FakeServer]:
    with FakeServer(listing=True) as running:
        yield running


@pytest.fixture
def idempotent() -> Iterator[FakeServer]:
    with FakeServer(idempotent=True) as running:
        yield running


@pytest.fixture
def recorder(state: Path) -> Recorder:
    return Recorder.at(state)


def quiet(message: str) -> None:
    del message


def ledger_lines(state: Path) -> list[bytes]:
    return (state / "ledger.jsonl").read_bytes().splitlines()


async def settled(
    api: Api | None, recorder: Recorder, jobs: Iterable[Job], say: Callable[[str], None]
) -> list[Job]:
    return await Settling(api, recorder, say).settle(jobs)


def test_a_listed_job_is_adopted(
    listing: FakeServer, recorder: Recorder, state: Path
) -> None:
    """Case 7: what the endpoint lists under our key is ours, and nothing is sent."""
    job = died(recorder, listing)
    said: list[str] = []

    async def recover(api: Api) -> None:
        await posted(api, job)
        await settled(api, recorder, [job], said.append)

    using(endpoint(listing.base_url, spoken=speaking(listing=True)), recover)
    assert (Status.IN_PROGRESS, FIRST_ID) == found(state, job)
    assert 1 == len(listing.creates)
    assert any(job.key in line and FIRST_ID in line for line in said)


def test_an_ended_job_is_adopted_with_its_answer(
    listing: FakeServer, recorder: Recorder, state: Path
) -> None:
    """A job that ended before it was found has its answer saved at once."""
    job = died(recorder, listing)

    async def recover(api: Api) -> None:
        await posted(api, job)
        for _ in range(2):
            await api.retrieve(FIRST_ID)
        await settled(api, recorder, [job], quiet)

    using(endpoint(listing.base_url, spoken=speaking(listing=True)), recover)
    assert (Status.COMPLETED, FIRST_ID) == found(state, job)
    assert recorder.answers.response(job.key) is not None


SOURCES = "web_search_call.action.sources"


def test_an_adopted_answer_has_what_was_to_be_included(
    listing: FakeServer, recorder: Recorder, state: Path
) -> None:
    """A job that is settled by the list is asked for with its request's `include`."""
    job = died(recorder, listing, extra={"include": [SOURCES]})

    async def recover(api: Api) -> None:
        await posted(api, job)
        await settled(api, recorder, [job], quiet)

    using(endpoint(listing.base_url, spoken=speaking(listing=True)), recover)
    assert [SOURCES] == [seen.query["include[]"] for seen in listing.asked("get")]


@pytest.mark.parametrize("status", ["completed", "in_progress"])
def test_an_id_that_turns_out_to_be_ours_is_asked_for_again(
    server: FakeServer, recorder: Recorder, state: Path, status: str
) -> None:
    """Only its answer says whose it is: what that submit asked to include comes next.

    A job that is open is asked about again anyway.
    """
    job = died(recorder, server, extra={"include": [SOURCES]})
    told = {**response_of(status, "x"), "metadata": {"bgresp_key": job.key}}
    whole = {**told, "model": "whole"}
    ended = status == "completed"
    server.script("get", as_json(told), *[as_json(whole)] * ended)
    draft = job._replace(key="", id=FIRST_ID, status=Status.IN_PROGRESS, extra={})

    async def adopt(api: Api) -> None:
        found = await settle.adopted(api, recorder, draft, quiet)
        assert isinstance(found, Job)
        assert ("whole" if ended else "fake-model") == found.model

    using(endpoint(server.base_url), adopt)
    sent = [seen.query.get("include[]") for seen in server.asked("get")]
    assert [None, *[SOURCES] * ended] == sent
    assert (Status(status), FIRST_ID) == found(state, job)


def test_an_answer_that_cannot_be_saved_is_not_noted(
    listing: FakeServer, recorder: Recorder, state: Path
) -> None:
    """The id is kept whatever the disk does; `completed` means that the text is too."""
    job = died(recorder, listing)
    (state / "responses").rmdir()
    (state / "responses").write_text("in the way")

    async def recover(api: Api) -> None:
        await posted(api, job)
        for _ in range(2):
            await api.retrieve(FIRST_ID)
        await settled(api, recorder, [job], quiet)

    with pytest.raises(LedgerError, match="responses"):
        using(endpoint(listing.base_url, spoken=speaking(listing=True)), recover)
    assert (Status.IN_PROGRESS, FIRST_ID) == found(state, job)


def test_an_absent_job_stays_unknown(
    listing: FakeServer, recorder: Recorder, state: Path
) -> None:
    """Case 8: a job that the list does not show is never sent again by itself."""
    job = died(recorder, listing)
    place = endpoint(listing.base_url, spoken=speaking(listing=True))
    for _ in range(3):
        using(place, lambda api: settled(api, recorder, candidates(recorder), quiet))
    assert (Status.UNKNOWN, None) == found(state, job)
    assert () == listing.creates


def test_a_job_is_not_looked_for_forever(
    listing: FakeServer, state: Path, recorder: Recorder
) -> None:
    """A list that does not show a job an hour later is believed, and asked no more."""
    job = died(recorder, listing)
    later = Recorder(
        recorder.ledger, recorder.answers, lambda: recorder.now() + 2 * SHOWN_WITHIN
    )
    place = endpoint(listing.base_url, spoken=speaking(listing=True))

    async def recover(api: Api) -> None:
        for now in (recorder, later, later):
            await settled(api, now, candidates(now), quiet)

    using(place, recover)
    assert 2 == len(listing.asked("list"))
    using(place, lambda api: settled(api, later, [job], quiet))
    assert 3 == len(listing.asked("list"))
    assert (Status.UNKNOWN, None) == found(state, job)


@pytest.mark.parametrize("arrived", [True, False])
def test_a_replay_makes_no_second_job(
    idempotent: FakeServer, recorder: Recorder, state: Path, *, arrived: bool
) -> None:
    """Case 9: where keys are honoured the same request under its key is one job."""
    job = died(recorder, idempotent)

    async def recover(api: Api) -> None:
        if arrived:
            await posted(api, job)
        await settled(api, recorder, [job], quiet)

    using(endpoint(idempotent.base_url, spoken=speaking(idempotency="replay")), recover)
    assert (Status.QUEUED, FIRST_ID) == found(state, job)
    assert [FIRST_ID] == list(idempotent.jobs)
    keys = {seen.headers["idempotency-key"] for seen in idempotent.creates}
    assert {job.key} == keys
    assert {body(job)} == {seen.body for seen in idempotent.creates}


def test_an_endpoint_that_rejects_used_keys_is_asked_nothing(
    server: FakeServer, recorder: Recorder, state: Path
) -> None:
    """Case 10: where a used key is an error nothing is sent again by itself."""
    job = died(recorder, server)
    place = endpoint(server.base_url, spoken=speaking(idempotency="reject"))
    using(place, lambda api: settled(api, recorder, [job], quiet))
    assert (Status.UNKNOWN, None) == found(state, job)
    assert () == server.requests


@pytest.mark.parametrize("status", [409, 422])
def test_a_used_key_is_no_refusal(
    server: FakeServer, recorder: Recorder, state: Path, status: int
) -> None:
    """Case 10: 409 or 422 on our own key does not make the first POST rejected."""
    job = died(recorder, server)
    server.script("create", refusal(status, "key already used"))

    async def resend(api: Api) -> Job | Fault:
        return await Settling(api, recorder, quiet).resend(job)

    place = endpoint(server.base_url, spoken=speaking(idempotency="reject"))
    assert isinstance(using(place, resend), Fault)
    assert (Status.UNKNOWN, None) == found(state, job)


def test_without_list_or_keys_nobody_is_asked(
    server: FakeServer, recorder: Recorder, state: Path
) -> None:
    """An endpoint that cannot tell gets no request; the job becomes unknown."""
    job = died(recorder, server)
    said: list[str] = []
    place = endpoint(server.base_url)
    using(place, lambda api: settled(api, recorder, [job], said.append))
    assert (Status.UNKNOWN, None) == found(state, job)
    assert () == server.requests
    assert any(job.key in line for line in said)


def test_a_live_submit_is_left_alone(
    listing: FakeServer, recorder: Recorder, state: Path
) -> None:
    """A submit whose process lives is neither listed as dead nor touched."""
    job = died(recorder, listing)
    place = endpoint(listing.base_url, spoken=speaking(listing=True))
    with holding(Recorder.at(state), job):
        assert [] == candidates(recorder)
        assert [] == using(place, lambda api: settled(api, recorder, [job], quiet))
    assert (Status.SUBMITTING, None) == found(state, job)
    assert () == listing.requests


def test_what_was_settled_meanwhile_is_not_settled_again(
    listing: FakeServer, recorder: Recorder, state: Path
) -> None:
    """Under the lock the record is looked at again, and its id kept."""
    job = died(recorder, listing)
    recorder.ledger.record(job._replace(status=Status.QUEUED, id="resp_known"))
    place = endpoint(listing.base_url, spoken=speaking(listing=True))
    done = using(place, lambda api: settled(api, recorder, [job], quiet))
    assert ["resp_known"] == [one.id for one in done]
    assert () == listing.requests


@pytest.mark.parametrize("mode", ["list", "replay", "none"])
def test_a_second_recovery_changes_nothing(
    state: Path, recorder: Recorder, mode: str
) -> None:
    """Two recoveries in a row end in the same state, to the byte."""
    with FakeServer(listing=mode == "list", idempotent=mode == "replay") as server:
        keys = "replay" if mode == "replay" else "none"
        spoken = speaking(listing=mode == "list", idempotency=keys)
        place = endpoint(server.base_url, spoken=spoken)
        jobs = [died(recorder, server) for _ in range(3)]

        async def recover(api: Api) -> None:
            await posted(api, jobs[1])
            await settled(api, recorder, jobs, quiet)

        using(place, recover)
        before = ledger_lines(state)
        if mode == "replay":
            jobs = candidates(recorder)
        using(place, lambda api: settled(api, recorder, jobs, quiet))
        assert before == ledger_lines(state)


def test_recoveries_at_once_end_as_one(
    idempotent: FakeServer, recorder: Recorder, state: Path
) -> None:
    """Of recoveries at the same moment one does the work, and all agree."""
    job = died(recorder, idempotent)

    async def recover(api: Api) -> None:
        every = [Recorder.at(state) for _ in range(5)]
        await asyncio.gather(*(settled(api, b, [job], quiet) for b in every))

    using(endpoint(idempotent.base_url, spoken=speaking(idempotency="replay")), recover)
    assert (Status.QUEUED, FIRST_ID) == found(state, job)
    assert 1 == len(idempotent.creates)


def page(*items: Any, more: bool) -> Any:
    last = items[-1]["id"] if items else None
    return as_json({"data": list(items), "has_more": more, "last_id": last})


def other(number: int, created: float) -> Any:
    made = response_of("queued", response_id=f"resp_other_{number}")
    return {**made, "created_at": created}


def test_the_list_is_read_page_by_page(server: FakeServer, recorder: Recorder) -> None:
    """A job on the second page is found, and the third is not asked for."""
    job, now = died(recorder, server), recorder.now()
    ours = response_of("queued") | {"metadata": {"bgresp_key": job.key}}
    server.script("list", page(other(1, now), more=True), page(ours, more=True))
    server.script("get", as_json(ours))
    place = endpoint(server.base_url, spoken=speaking(listing=True))
    done = using(place, lambda api: settled(api, recorder, [job], quiet))
    assert [FIRST_ID] == [one.id for one in done]
    after = [seen.query.get("after") for seen in server.asked("list")]
    assert [None, "resp_other_1"] == after


def test_the_search_ends_before_the_submit(
    server: FakeServer, recorder: Recorder
) -> None:
    """A page from long before the submit is gone beyond, or one from just before not."""
    job, now = died(recorder, server), recorder.now()
    # Half an hour may be what the endpoint's clock is behind ours.
    lagging, long_ago = other(1, now - 1800), other(2, now - 86400)
    server.script("list", page(lagging, more=True), page(long_ago, more=True))
    place = endpoint(server.base_url, spoken=speaking(listing=True))
    using(place, lambda api: settled(api, recorder, [job], quiet))
    assert 2 == len(server.asked("list"))


def test_the_search_ends_after_ten_pages(
    server: FakeServer, recorder: Recorder
) -> None:
    """An endless list costs ten requests."""
    job, now = died(recorder, server), recorder.now()
    pages = [page(other(number, now), more=True) for number in range(10)]
    server.script("list", *pages)
    place = endpoint(server.base_url, spoken=speaking(listing=True))
    using(place, lambda api: settled(api, recorder, [job], quiet))
    assert 10 == len(server.asked("list"))


def test_a_list_that_fails_proves_nothing(
    server: FakeServer, recorder: Recorder, state: Path
) -> None:
    """A list that is refused leaves the job unknown and is told."""
    job = died(recorder, server)
    server.script("list", refusal(500, "Oh no."))
    said: list[str] = []

    async def recover(api: Api) -> list[Fault]:
        settling = Settling(api, recorder, said.append)
        await settling.settle([job])
        return settling.faults

    place = endpoint(server.base_url, spoken=speaking(listing=True))
    assert ["Oh no."] == [fault.message for fault in using(place, recover)]
    assert (Status.UNKNOWN, None) == found(state, job)
    assert any("Oh no." in line for line in said)


@pytest.mark.parametrize("days", [-20 * 365, -1, 1, 20 * 365])
def test_an_old_key_is_not_replayed(
    idempotent: FakeServer, state: Path, days: int
) -> None:
    """A key that the endpoint may have forgotten is never posted by itself."""
    recorder = Recorder.at(state)
    job = died(recorder, idempotent)
    later = Recorder(
        recorder.ledger, recorder.answers, lambda: recorder.now() + days * 86400
    )
    place = endpoint(idempotent.base_url, spoken=speaking(idempotency="replay"))
    using(place, lambda api: settled(api, later, [job], quiet))
    assert (Status.UNKNOWN, None) == found(state, job)
    assert () == idempotent.creates
    assert KEYS_KEPT < 86400


def test_a_request_that_was_not_kept_is_not_replayed(
    idempotent: FakeServer, recorder: Recorder, state: Path
) -> None:
    """Without its request a submit is left for a person, who is told."""
    job = died(recorder, idempotent)
    recorder.answers.request_path(job.key).unlink()
    said: list[str] = []
    place = endpoint(idempotent.base_url, spoken=speaking(idempotency="replay"))
    using(place, lambda api: settled(api, recorder, [job], said.append))
    assert (Status.UNKNOWN, None) == found(state, job)
    assert any("not kept" in line for line in said)


def test_a_resend_that_fails_leaves_it_unknown(
    server: FakeServer, recorder: Recorder, state: Path
) -> None:
    """Whatever a second POST meets says nothing of the first one."""
    job = died(recorder, server)
    place = endpoint(server.base_url)

    async def resend(api: Api) -> Job | Fault:
        return await Settling(api, recorder, quiet).resend(job)

    server.script("create", refusal(400), RESET, refusal(429), refusal(503))
    for _ in range(4):
        assert isinstance(using(place, resend), Fault)
        assert (Status.UNKNOWN, None) == found(state, job)
    server.refuse()
    assert isinstance(using(place, resend), Fault)
    assert (Status.UNKNOWN, None) == found(state, job)


def test_an_id_of_another_job_is_refused(
    server: FakeServer, recorder: Recorder, state: Path
) -> None:
    """One id is never two jobs."""
    job = died(recorder, server)
    theirs = recorder.ledger.adopt(Job(key="", status=Status.QUEUED, id="resp_1"))

    async def adopt(api: Api) -> Job | Fault:
        return await Settling(api, recorder, quiet).adopt(job, "resp_1")

    with pytest.raises(UsageError, match=theirs.key):
        using(endpoint(server.base_url), adopt)
    assert (Status.SUBMITTING, None) == found(state, job)


def test_an_id_that_another_process_adopts_is_left_to_it(
    server: FakeServer, recorder: Recorder, state: Path
) -> None:
    """Two processes adopt one id at once, each for a submit of its own."""
    job = died(recorder, server)

    async def adopt(api: Api) -> Job | Fault:
        with Recorder.at(state).ledger.claim("id:resp_1"):
            return await Settling(api, recorder, quiet).adopt(job, "resp_1")

    with pytest.raises(NotFinishedError):
        using(endpoint(server.base_url), adopt)
    assert not server.requests
    assert (Status.SUBMITTING, None) == found(state, job)


def test_an_id_of_another_submit_is_refused(
    server: FakeServer, recorder: Recorder
) -> None:
    """A response that carries another key is not what this submit made."""
    job, another = died(recorder, server), died(recorder, server)

    async def adopt(api: Api) -> Job | Fault:
        await posted(api, another)
        return await Settling(api, recorder, quiet).adopt(job, FIRST_ID)

    with pytest.raises(UsageError, match=another.key):
        using(endpoint(server.base_url), adopt)


def test_abandoned_is_rejected_for_good(recorder: Recorder, state: Path) -> None:
    """A submit that was given up is `rejected` with the code `abandoned`."""
    with FakeServer() as server:
        job = died(recorder, server)
    done = abandoned(recorder, job)
    assert done.error is not None
    assert (Status.REJECTED, "abandoned") == (done.status, done.error.code)
    assert [] == candidates(Recorder.at(state))


def test_a_key_has_one_lock(recorder: Recorder, server: FakeServer) -> None:
    """Under a --key the claim is the lock: a submit under it cannot be settled."""
    job = died(recorder, server, submit_key="nightly")
    with (
        recorder.ledger.claim("key:nightly"),
        pytest.raises(NotFinishedError),
        holding(recorder, job),
    ):
        raise AssertionError("held twice")
