"""Files and images as parts of a message, in the words of the Responses API; pure."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

MAX_BYTES: Final = 50_000_000  # of all files of a request: OpenAI's guide "File inputs"
_DRAWN: Final = frozenset({"image/svg+xml"})  # is text: no model takes it as an image

Part = Mapping[str, Any]


def of_bytes(name: str, kind: str, data: bytes) -> Part:
    """Return the part that carries a file of a media type as a data URL."""
    url = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
    if _is_image(kind):
        return {"type": "input_image", "image_url": url, "detail": "auto"}
    shown = name.encode("utf-8", "replace").decode("utf-8")
    return {"type": "input_file", "filename": shown, "file_data": url}


def of_url(url: str, kind: str) -> Part:
    """Return the part that names a URL, which the endpoint fetches itself."""
    if _is_image(kind):
        return {"type": "input_image", "image_url": url, "detail": "auto"}
    return {"type": "input_file", "file_url": url}


def message(text: str | None, parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Return an input of one message: the attachments, then what is asked of them."""
    content = [dict(part) for part in parts]
    if text is not None:
        content.append({"type": "input_text", "text": text})
    return [{"type": "message", "role": "user", "content": content}]


def _is_image(kind: str) -> bool:
    return kind.startswith("image/") and kind not in _DRAWN
