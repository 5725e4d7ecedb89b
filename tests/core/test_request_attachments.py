"""Attachments: the endpoint gets the very bytes, under the right kind of part."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.request import Part, file_part, message_of, url_part

KINDS = ("application/pdf", "text/plain", "image/png", "image/svg+xml")


def carried(part: Part) -> tuple[str, bytes]:
    """Take a data URL apart as an endpoint does."""
    url = part["image_url"] if part["type"] == "input_image" else part["file_data"]
    head, mark, data = url.partition(",")
    assert (True, ",", True) == (head[:5] == "data:", mark, head.endswith(";base64"))
    return head[5 : -len(";base64")], base64.b64decode(data, validate=True)


@given(st.binary(max_size=300), st.sampled_from(KINDS), st.text(min_size=1))
def test_any_bytes_arrive_as_they_are(data: bytes, kind: str, name: str) -> None:
    """Whatever the bytes and the name, the data URL gives back the same bytes."""
    part = file_part(name, kind, data)
    assert (kind, data) == carried(part)
    assert dict(part) == json.loads(json.dumps(part, ensure_ascii=False).encode())


@pytest.mark.parametrize(
    ("kind", "is_image"),
    [
        ("image/png", True),
        ("image/jpeg", True),
        ("image/svg+xml", False),
        ("application/pdf", False),
        ("text/html", False),
    ],
)
def test_images_are_images_and_the_rest_are_files(kind: str, is_image: bool) -> None:
    """An image is an input_image with a detail, any other file an input_file."""
    sent, named = file_part("a", kind, b"x"), url_part("https://x/a", kind)
    expected: tuple[dict[str, Any], dict[str, Any]]
    if is_image:
        url = f"data:{kind};base64,eA=="
        image = {"type": "input_image", "detail": "auto"}
        expected = {**image, "image_url": url}, {**image, "image_url": "https://x/a"}
    else:
        file = {"type": "input_file"}
        data = {"filename": "a", "file_data": f"data:{kind};base64,eA=="}
        expected = {**file, **data}, {**file, "file_url": "https://x/a"}
    assert expected == (sent, named)


def test_a_message_has_the_attachments_and_then_the_prompt() -> None:
    """The parts keep their order; without a prompt there is no text part."""
    parts = (url_part("https://x/1", "a/b"), url_part("https://x/2", "a/b"))
    (message,) = message_of("hi", parts)
    assert ("message", "user") == (message["type"], message["role"])
    assert [*parts, {"type": "input_text", "text": "hi"}] == message["content"]
    assert [*parts] == message_of(None, parts)[0]["content"]
