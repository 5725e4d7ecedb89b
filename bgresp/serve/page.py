"""The page a person opens: `GET /`, its own script and style, and the jobs it shows.

The files say nothing of anyone and need no key; `/page/jobs` does, like the API. A
request that names a tenant (`X-On-Behalf-Of`) sees that tenant's jobs; the page names
none and shows all.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bgresp.core.dialect import first_at, values_at
from bgresp.core.text import one_line
from bgresp.serve.jobs import JobQueue
from bgresp.serve.store import Entry
from bgresp.serve.wire import Json, RefusalError, dumps, invalid, prompt

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
_SILENT: Final = frozenset({"message", "reasoning"})


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
    """What the page asks for.

    Records are read in a thread, each once: the page asks often, and others stream.
    """

    queue: JobQueue
    _prompts: dict[str, str] = field(default_factory=dict)
    _ended: dict[str, Json] = field(default_factory=dict)

    async def listing(self, request: Request) -> Response:
        """List what runs and waits in its order, then what ended, the newest first.

        Each of the three holds `limit` jobs at most; `counts` are those of all.
        """
        limit = _number(request, "limit", _LIMIT, most=_MOST)
        tenant = request.headers.get("x-on-behalf-of")
        missing = self._missing(self._sorted(tenant), limit)
        if missing:
            await asyncio.to_thread(self._read, missing)
        kinds = self._sorted(tenant)  # anew: jobs went on while we read
        shown = [entry for entries in kinds.values() for entry in entries[:limit]]
        self._forget_but({entry.id for entry in shown})
        counts = {kind: len(entries) for kind, entries in kinds.items()}
        jobs = [self._row(entry) for entry in shown if entry.id in self._prompts]
        return _json({"now": self.queue.now(), "counts": counts, "jobs": jobs})

    async def answer(self, request: Request) -> Response:
        """Return a piece of a job's text, from the character `from` on.

        A `from` beyond the text starts anew: the text was replaced by a shorter one.
        """
        tenant = request.headers.get("x-on-behalf-of")
        entry = self.queue.find(request.path_params["id"], tenant)
        start = _number(request, "from", 0)
        growing = self.queue.growing(entry)
        if growing is None:
            text = answer_text(await asyncio.to_thread(self.queue.response, entry))
        else:
            text, _ = growing
        start = start if start <= len(text) else 0
        end = min(start + CHUNK, len(text))
        more = end < len(text)
        piece = {"from": start, "next": end, "more": more, "text": text[start:end]}
        return _json(piece)

    def _sorted(self, tenant: str | None) -> dict[str, list[Entry]]:
        kinds: dict[str, list[Entry]] = {"running": [], "waiting": [], "ended": []}
        for entry in self.queue.entries(tenant):
            if entry.ended is not None:
                kinds["ended"].append(entry)
            elif self.queue.response(entry)["status"] == "queued":
                kinds["waiting"].append(entry)
            else:
                kinds["running"].append(entry)
        kinds["ended"].sort(key=lambda entry: entry.ended or 0.0, reverse=True)
        return kinds

    def _missing(self, kinds: Mapping[str, list[Entry]], limit: int) -> list[Entry]:
        shown = [entry for entries in kinds.values() for entry in entries[:limit]]
        return [entry for entry in shown if entry.id not in self._prompts]

    def _read(self, entries: list[Entry]) -> None:
        """Read from disk what the rows of some jobs need."""
        for entry in entries:
            with suppress(OSError, RefusalError):  # it was swept away meanwhile
                asked = one_line(
                    prompt(self.queue.request(entry))[: 4 * _LINE], limit=_LINE
                )
                if entry.ended is not None:
                    self._ended[entry.id] = _row(
                        entry, self.queue.response(entry), asked
                    )
                self._prompts[entry.id] = asked

    def _forget_but(self, shown: set[str]) -> None:
        for known in (self._prompts, self._ended):
            for gone in known.keys() - shown:
                del known[gone]

    def _row(self, entry: Entry) -> Json:
        if entry.id not in self._ended:
            growing = self.queue.growing(entry)
            response = self.queue.response(entry)
            row = _row(entry, response, self._prompts[entry.id], growing)
            if entry.ended is None:
                return row
            self._ended[entry.id] = row
        return self._ended[entry.id]


def _row(
    entry: Entry, response: Json, asked: str, growing: tuple[str, int] | None = None
) -> Json:
    if growing is None:
        tail = answer_text(response)[: 4 * _LINE]
        tokens = first_at(response, ["usage.output_tokens"])
    else:
        tail, tokens = growing[0][-_LINE:], growing[1] or None
    return {
        "id": entry.id,
        "tenant": entry.tenant,
        "status": response["status"],
        "model": str(response["model"]),
        "background": entry.background,
        "created": entry.created,
        "ended": entry.ended,
        "prompt": asked,
        "error": _error(response),
        "tail": one_line(tail, limit=_LINE),
        "tokens": tokens,
        "exact": growing is None,
    }


def answer_text(response: Mapping[str, Any]) -> str:
    """Return the text of an answer: its messages, joined by a blank line.

    Where there is none, the items that it has instead, such as calls, as JSON.
    """
    items = [item for item in values_at(response, "output[*]") if _is_item(item)]
    messages = [item for item in items if item["type"] == "message"]
    texts = ["".join(map(str, values_at(item, _TEXTS))) for item in messages]
    others = [item for item in items if item["type"] not in _SILENT]
    told = [text for text in texts if text] or [
        json.dumps(item, indent=2, ensure_ascii=False) for item in others
    ]
    return "\n\n".join(told)


def _is_item(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("type"), str)


def _error(response: Json) -> str | None:
    reason = first_at(response, ["incomplete_details.reason"])
    message = first_at(response, ["error.message"])
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
