"""The page a person opens: `GET /`, its own script and style, and the jobs it shows.

The files say nothing of anyone and need no key; `/page/jobs` does, like the API. A
request that names a tenant (`X-On-Behalf-Of`) sees that tenant's jobs; the page names
none and shows all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bgresp.core import paths
from bgresp.core.text import one_line
from bgresp.serve.jobs import JobQueue
from bgresp.serve.refusal import RefusalError, invalid
from bgresp.serve.request import prompt
from bgresp.serve.store import Entry
from bgresp.serve.wire import Json, dumps

FILES: Final[Mapping[str, tuple[str, str]]] = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.svg": ("page.svg", "image/svg+xml"),
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": POLICY,
    "cache-control": "no-cache",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
CHUNK: Final = 65_536  # characters of an answer in one reply
_LIMIT: Final = 50
_MOST: Final = 1000
_LINE: Final = 160
_FOLDER: Final = Path(__file__).parent / "static"
_TEXTS: Final = "content[type=output_text].text"


def routes(queue: JobQueue) -> list[Route]:
    """Return the routes of the page, with its files read from the package."""
    jobs = Jobs(queue)
    return [
        *(_file(path, *told) for path, told in FILES.items()),
        Route("/page/jobs", jobs.listing, methods=["GET"]),
        Route("/page/jobs/{id}", jobs.answer, methods=["GET"]),
    ]


@dataclass(frozen=True, slots=True)
class Jobs:
    """What the page asks for; a job that has ended is read from disk only once."""

    queue: JobQueue
    _ended: dict[str, Json] = field(default_factory=dict)

    async def listing(self, request: Request) -> Response:
        """List what runs and waits in its order, then what ended, the newest first.

        Each of the three holds `limit` jobs at most; `counts` are those of all.
        """
        limit = _number(request, "limit", _LIMIT, most=_MOST)
        entries = self.queue.entries(request.headers.get("x-on-behalf-of"))
        running, waiting, ended = self._sorted(entries)
        shown = (*running[:limit], *waiting[:limit], *ended[:limit])
        jobs = [row for entry in shown if (row := self._row(entry)) is not None]
        for gone in self._ended.keys() - {entry.id for entry in shown}:
            del self._ended[gone]
        counts = {
            "running": len(running),
            "waiting": len(waiting),
            "ended": len(ended),
        }
        return _json({"now": self.queue.now(), "counts": counts, "jobs": jobs})

    async def answer(self, request: Request) -> Response:
        """Return a piece of a job's text, from the character `from` on.

        A `from` beyond the text starts anew: the text was replaced by a shorter one.
        """
        tenant = request.headers.get("x-on-behalf-of")
        entry = self.queue.find(request.path_params["id"], tenant)
        start = _number(request, "from", 0)
        growing = self.queue.growing(entry)
        text = growing[0] if growing else answer_text(self.queue.response(entry))
        start = start if start <= len(text) else 0
        end = min(start + CHUNK, len(text))
        more = end < len(text)
        piece = {"from": start, "next": end, "more": more, "text": text[start:end]}
        return _json(piece)

    def _sorted(self, entries: list[Entry]) -> tuple[list[Entry], ...]:
        running, waiting, ended = [], [], []
        for entry in entries:
            if entry.ended is not None:
                ended.append(entry)
            elif self.queue.response(entry)["status"] == "queued":
                waiting.append(entry)
            else:
                running.append(entry)
        ended.sort(key=lambda entry: entry.ended or 0.0, reverse=True)
        return running, waiting, ended

    def _row(self, entry: Entry) -> Json | None:
        if entry.id in self._ended:
            return self._ended[entry.id]
        try:
            asked = prompt(self.queue.request(entry))
            response = self.queue.response(entry)
        except (OSError, ValueError, KeyError, RefusalError):
            return None  # swept away, or torn: no reason to show none of the others
        row = {
            "id": entry.id,
            "tenant": entry.tenant,
            "status": response["status"],
            "model": str(response["model"]),
            "background": entry.background,
            "created": entry.created,
            "ended": entry.ended,
            "prompt": one_line(asked[: 4 * _LINE], limit=_LINE),
            "error": _error(response),
            **self._so_far(entry, response),
        }
        if entry.ended is not None:
            self._ended[entry.id] = row
        return row

    def _so_far(self, entry: Entry, response: Json) -> Json:
        growing = self.queue.growing(entry)
        if growing is not None:
            text, pieces = growing
            tail = one_line(text[-_LINE:], limit=_LINE)
            return {"tail": tail, "tokens": pieces or None, "exact": False}
        text = answer_text(response)[: 4 * _LINE]
        tokens = paths.first(response, ["usage.output_tokens"])
        return {"tail": one_line(text, limit=_LINE), "tokens": tokens, "exact": True}


def answer_text(response: Mapping[str, Any]) -> str:
    """Return the text of an answer: its messages, joined by a blank line."""
    messages = paths.walk(response, "output[type=message]")
    texts = ["".join(map(str, paths.walk(item, _TEXTS))) for item in messages]
    return "\n\n".join(text for text in texts if text)


def _error(response: Json) -> str | None:
    reason = paths.first(response, ["incomplete_details.reason"])
    message = paths.first(response, ["error.message"])
    return str(message or reason) if message or reason else None


def _number(request: Request, name: str, default: int, *, most: int = 10**9) -> int:
    value = request.query_params.get(name, str(default))
    if not (value.isascii() and value.isdigit() and int(value[:10]) <= most):
        message = f"Invalid '{name}': expected an integer from 0 to {most}."
        raise RefusalError(invalid(message, name))
    return int(value)


def _file(path: str, name: str, media_type: str) -> Route:
    content = (_FOLDER / name).read_bytes()

    async def file(_: Request) -> Response:
        return Response(content, 200, HEADERS, media_type)

    return Route(path, file, methods=["GET"])


def _json(value: Json) -> Response:
    return Response(dumps(value), 200, HEADERS, "application/json")
