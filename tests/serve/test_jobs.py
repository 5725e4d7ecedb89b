"""Jobs by way of the official SDK: created, polled, failed, deleted, kept apart."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serve.endpoints import (
    Serve,
    Served,
    create,
    openai,
    poll,
)


def test_a_job_is_queued_then_done(sdk: openai.OpenAI) -> None:
    """A create answers `queued` at once and a poll ends with text and usage."""
    job = create(sdk, "say hello twice", metadata={"bgresp_key": "k"})
    assert ("queued", True, None) == (job.status, job.background, job.usage)
    done = poll(sdk, job.id)
    assert "completed" == done.status
    assert "demo engine, not a model" in done.output_text
    assert 'has 3 words and begins with "say hello twice"' in done.output_text
    assert done.usage is not None
    words = len(done.output_text.split())
    assert (3, words, words + 3) == (
        done.usage.input_tokens,
        done.usage.output_tokens,
        done.usage.total_tokens,
    )
    assert {"bgresp_key": "k"} == done.metadata
    assert done.completed_at is not None
    assert int(done.created_at) <= done.completed_at


def test_objects_have_the_shape_that_openai_publishes(sdk: openai.OpenAI) -> None:
    """Queued and completed responses pass the SDK's own model, strictly built."""
    job = create(sdk, "x", instructions="be brief", tools=[], text={})
    for response in (job, poll(sdk, job.id)):
        openai.types.responses.Response.model_validate(response.to_dict())


def test_the_same_prompt_gets_the_same_answer(sdk: openai.OpenAI) -> None:
    """The demo is deterministic in its input."""
    one, two = (create(sdk, "the same") for _ in range(2))
    assert poll(sdk, one.id).output_text == poll(sdk, two.id).output_text


def test_max_output_tokens_ends_incomplete(sdk: openai.OpenAI) -> None:
    """A response that reaches its limit is incomplete and keeps its text."""
    done = poll(sdk, create(sdk, "x", max_output_tokens=2).id)
    assert ("incomplete", "This is") == (done.status, done.output_text)
    assert done.incomplete_details is not None
    assert "max_output_tokens" == done.incomplete_details.reason
    assert done.completed_at is None


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("fail", "as asked"), ("burst", "The engine failed: RuntimeError('burst')")],
)
def test_an_engine_that_fails(sdk: openai.OpenAI, prompt: str, message: str) -> None:
    """A failing engine ends its own job, with what text there was, and no other."""
    done = poll(sdk, create(sdk, prompt).id)
    assert "failed" == done.status
    assert done.error is not None
    assert ("server_error", message) == (done.error.code, done.error.message)
    assert "completed" == poll(sdk, create(sdk, "x").id).status


def test_an_engine_that_says_nothing(sdk: openai.OpenAI) -> None:
    """An empty answer is completed and has a message with empty text."""
    done = poll(sdk, create(sdk, "silent").id)
    assert ("completed", "", 1) == (done.status, done.output_text, len(done.output))


def test_more_jobs_than_workers_wait(serve: Serve) -> None:
    """With one worker the second job stays queued until the first is done."""
    served = serve(count=1)
    sdk = served.sdk()
    first, second = create(sdk, "hold"), create(sdk, "x")
    poll(sdk, first.id, "in_progress")
    assert "queued" == sdk.responses.retrieve(second.id).status
    served.engine.released.set()
    assert "completed" == poll(sdk, first.id).status
    assert "completed" == poll(sdk, second.id).status


def test_a_full_queue_says_when_to_come_back(serve: Serve) -> None:
    """Beyond the queue's limit a create is 429 with Retry-After and makes no job."""
    served = serve(count=1, limit=1)
    sdk = served.sdk()
    poll(sdk, create(sdk, "hold").id, "in_progress")
    create(sdk, "x")
    with pytest.raises(openai.RateLimitError) as caught:
        create(sdk, "y")
    assert "5" == caught.value.response.headers["retry-after"]
    assert "rate_limit_exceeded" == caught.value.code
    assert 2 == len(served.http.get("/responses").json()["data"])


def test_a_synchronous_response_is_done_when_answered(sdk: openai.OpenAI) -> None:
    """Without background the answer comes finished and can be fetched again."""
    done = sdk.responses.create(model="m", input="x")
    assert ("completed", False, "m") == (done.status, done.background, done.model)
    assert done.output_text == sdk.responses.retrieve(done.id).output_text


def test_an_unstored_response_is_gone_when_answered(sdk: openai.OpenAI) -> None:
    """A synchronous response with store=false cannot be fetched."""
    done = sdk.responses.create(model="m", input="x", store=False)
    assert "completed" == done.status
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(done.id)


def test_delete_is_for_good(served: Served, sdk: openai.OpenAI) -> None:
    """A deleted job is confirmed in OpenAI's words and is 404 afterwards."""
    job = create(sdk, "x")
    poll(sdk, job.id)
    reply = served.http.delete(f"/responses/{job.id}").json()
    assert {"id": job.id, "object": "response", "deleted": True} == reply
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.responses.retrieve(job.id)
    assert f"Response with id '{job.id}' not found." in caught.value.message
    assert "invalid_request_error" == caught.value.type


def test_input_items_are_listed(sdk: openai.OpenAI) -> None:
    """The input comes back as items with ids, newest first unless asked."""
    said = [{"role": "user", "content": word} for word in ("one", "two", "three")]
    job = sdk.responses.create(model="m", input=said, background=True)  # type: ignore[arg-type]
    items = list(sdk.responses.input_items.list(job.id, order="asc", limit=2))
    texts = [item.to_dict()["content"] for item in items]
    assert [
        [{"type": "input_text", "text": w}] for w in ("one", "two", "three")
    ] == texts
    newest = sdk.responses.input_items.list(job.id)
    assert items[::-1] == newest.data


def test_an_input_may_refer_to_items(served: Served) -> None:
    """An item_reference stands for an item of an earlier job of the same tenant."""
    sdk = served.sdk()
    first = poll(sdk, create(sdk, "one").id)
    said = sdk.responses.input_items.list(first.id).data[0]
    given: Any = [
        {"type": "item_reference", "id": said.id},
        {"id": first.output[0].id},
        {"role": "user", "content": "two"},
    ]
    second = sdk.responses.create(model="m", input=given, background=True)
    items = list(sdk.responses.input_items.list(second.id, order="asc"))
    assert [said.to_dict(), first.output[0].to_dict()] == [
        item.to_dict() for item in items[:2]
    ]
    with pytest.raises(openai.NotFoundError) as caught:
        served.sdk(x_on_behalf_of="b").responses.create(model="m", input=given)
    assert f"Item with id '{said.id}' not found." in str(caught.value)
    assert "input" == caught.value.param


def test_the_list_is_paged(served: Served, sdk: openai.OpenAI) -> None:
    """Pages of the list join to all jobs, newest first by default."""
    ids = [create(sdk, str(n)).id for n in range(5)]
    http = served.http
    first = http.get("/responses?limit=3").json()
    assert ids[:1:-1] == [item["id"] for item in first["data"]]
    assert (ids[4], ids[2], True) == (
        first["first_id"],
        first["last_id"],
        first["has_more"],
    )
    rest = http.get(f"/responses?limit=3&after={first['last_id']}").json()
    assert ids[1::-1] == [item["id"] for item in rest["data"]]
    assert rest["has_more"] is False
    oldest = http.get("/responses?order=asc&limit=1").json()
    assert ids[0] == oldest["first_id"]


def test_tenants_do_not_see_each_other(served: Served) -> None:
    """A job of one tenant is 404 to another and absent from its list."""
    ada, bob = served.sdk(X_On_Behalf_Of="ada"), served.sdk(X_On_Behalf_Of="bob")
    job = create(ada, "x")
    assert job.id == poll(ada, job.id).id
    for stranger in (bob, served.sdk()):
        with pytest.raises(openai.NotFoundError):
            stranger.responses.retrieve(job.id)
        with pytest.raises(openai.NotFoundError):
            stranger.responses.cancel(job.id)
    assert [] == served.http.get("/responses").json()["data"]


def test_an_idempotency_key_makes_one_job(served: Served) -> None:
    """The same key of the same tenant gets the same job; another tenant's does not."""
    sdk = served.sdk(Idempotency_Key="k1")
    other = served.sdk(Idempotency_Key="k1", X_On_Behalf_Of="bob")
    job = create(sdk, "x")
    again = create(sdk, "x")
    assert job.id == again.id
    assert job.id != create(other, "x").id
    poll(sdk, job.id)
    assert ("completed", job.id) == ((late := create(sdk, "x")).status, late.id)
    sdk.responses.delete(job.id)
    assert job.id != create(sdk, "x").id


def test_a_previous_response_must_exist(sdk: openai.OpenAI) -> None:
    """A known previous_response_id is echoed, an unknown one refused."""
    first = create(sdk, "x")
    assert (
        first.id == create(sdk, "y", previous_response_id=first.id).previous_response_id
    )
    with pytest.raises(openai.BadRequestError) as caught:
        create(sdk, "y", previous_response_id="resp_none")
    assert "previous_response_not_found" == caught.value.code
