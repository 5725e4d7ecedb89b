"""What the endpoint refuses, and in which words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bgresp.serve.app import BODY_LIMIT
from tests.serve.endpoints import (
    Serve,
    Served,
    create,
    openai,
    poll,
)

INPUT = '"input": "x"'


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ("{", None, None),
        ("[]", None, None),
        ("[" * 100_000, None, None),
        ('{"input": NaN}', None, None),
        ("{}", "input", "missing_required_parameter"),
        ('{"input": null}', "input", "missing_required_parameter"),
        ('{"input": 1}', "input", "invalid_type"),
        ('{"input": ["x"]}', "input", "invalid_type"),
        (f'{{{INPUT}, "background": "yes"}}', "background", "invalid_type"),
        (f'{{{INPUT}, "stream": 1}}', "stream", "invalid_type"),
        (f'{{{INPUT}, "model": 1}}', "model", "invalid_type"),
        (
            f'{{{INPUT}, "max_output_tokens": true}}',
            "max_output_tokens",
            "invalid_type",
        ),
        (
            f'{{{INPUT}, "max_output_tokens": 0}}',
            "max_output_tokens",
            "integer_below_min_value",
        ),
        (f'{{{INPUT}, "metadata": {{"a": 1}}}}', "metadata", "invalid_value"),
        (f'{{{INPUT}, "include": "x"}}', "include", "invalid_type"),
        (f'{{{INPUT}, "include": [1]}}', "include", "invalid_type"),
        (f'{{{INPUT}, "include": ["logprobs"]}}', "include", "invalid_value"),
    ],
)
def test_a_bad_body_is_refused(
    shared: Served, body: str, param: str | None, code: str | None
) -> None:
    """A body that makes no sense is 400, names the parameter, and makes no job."""
    reply = shared.http.post("/responses", content=body)
    assert 400 == reply.status_code
    error = reply.json()["error"]
    assert {"message", "type", "param", "code"} == error.keys()
    assert ("invalid_request_error", param, code) == (
        error["type"],
        error["param"],
        error["code"],
    )
    assert [] == shared.http.get("/responses").json()["data"]


def test_cancel_twice_is_cancel_once(sdk: openai.OpenAI) -> None:
    """Cancelling is idempotent; a cancelled response has no usage."""
    job = create(sdk, "hold")
    once = sdk.responses.cancel(job.id)
    assert ("cancelled", None) == (once.status, once.usage)
    assert once == sdk.responses.cancel(job.id)
    assert once == sdk.responses.retrieve(job.id)


@pytest.mark.parametrize(
    ("prompt", "fields", "message"),
    [
        ("x", {}, "Cannot cancel a completed response."),
        ("fail", {}, "Cannot cancel a failed response."),
        ("x", {"max_output_tokens": 1}, "Cannot cancel an incomplete response."),
    ],
)
def test_what_has_ended_cannot_be_cancelled(
    sdk: openai.OpenAI, prompt: str, fields: dict[str, Any], message: str
) -> None:
    """Cancelling a response that ended by itself is 400 and changes nothing."""
    done = poll(sdk, create(sdk, prompt, **fields).id)
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.cancel(done.id)
    assert ("response_id", True) == (caught.value.param, message in str(caught.value))
    assert done == sdk.responses.retrieve(done.id)


def test_a_synchronous_response_cannot_be_cancelled(sdk: openai.OpenAI) -> None:
    """Only background responses have a cancel."""
    done = sdk.responses.create(model="m", input="x")
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous"):
        sdk.responses.cancel(done.id)


def test_a_wrong_key_is_refused(serve: Serve) -> None:
    """With a key set, only that key gets in; the health check needs none."""
    served = serve(key="secret")
    assert "queued" == create(served.sdk(), "x").status
    for key in ("Bearer wrong", "Basic x", "secret", "Bearer é"):
        headers = {b"authorization": key.encode()}
        reply = served.http.get("/responses", headers=headers)
        assert 401 == reply.status_code
        assert "invalid_api_key" == reply.json()["error"]["code"]
    health = served.base_url.removesuffix("/v1") + "/healthz"
    assert "ok" == served.http.get(health).json()["status"]


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"host": "evil.example:80"}]
)
def test_web_pages_do_not_get_in_without_a_key(
    shared: Served, headers: dict[str, str]
) -> None:
    """A browser page, or a name rebound to loopback, is refused where no key is."""
    assert 403 == shared.http.get("/responses", headers=headers).status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("key", [None, "secret"])
def test_no_foreign_page_submits_or_reads(
    serve: Serve, headers: dict[str, str], key: str | None
) -> None:
    """A page of another origin gets nothing, with a key or without."""
    served = serve(key=key)
    for method in ("GET", "POST"):
        reply = served.http.request(method, "/responses", headers=headers)
        assert 403 == reply.status_code
        assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/responses/resp_none", 404),
        ("GET", "/responses/..%2F..%2Flock", 404),
        ("DELETE", "/responses/resp_none", 404),
        ("POST", "/responses/resp_none/cancel", 404),
        ("GET", "/responses/resp_none/input_items", 404),
        ("GET", "/elsewhere", 404),
        ("PUT", "/responses", 405),
        ("GET", "/responses?limit=0", 400),
        ("GET", "/responses?limit=101", 400),
        ("GET", "/responses?order=up", 400),
        ("GET", "/responses?after=resp_none", 400),
        ("GET", "/models", 200),
    ],
)
def test_every_reply_is_json_with_a_request_id(
    shared: Served, method: str, path: str, status: int
) -> None:
    """Whatever is asked, the reply is JSON and carries a request id."""
    reply = shared.http.request(method, path)
    assert status == reply.status_code
    assert reply.headers["x-request-id"].startswith("req_")
    assert ("error" in reply.json()) is (status >= 400)


def test_a_body_above_the_limit_is_refused(shared: Served) -> None:
    """A body of more than 64 MiB is 413 and is not kept."""

    def chunks() -> Iterator[bytes]:
        for _ in range(BODY_LIMIT // 1_000_000 + 2):
            yield b" " * 1_000_000

    reply = shared.http.post("/responses", content=chunks())
    assert 413 == reply.status_code


def test_odd_text_survives(shared: Served) -> None:
    """Lone surrogates and line separators in the request come back as they were."""
    body = '{"background": true, "input": "x", "metadata": {"k": "\\ud800\\u2028"}}'
    tenant = {"x-on-behalf-of": "odd"}
    reply = shared.http.post("/responses", content=body, headers=tenant)
    assert {"k": "\ud800\u2028"} == reply.json()["metadata"]
