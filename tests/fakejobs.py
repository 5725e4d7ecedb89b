"""An OpenAI-like background endpoint in memory: a request in, a job and a reply out.

It opens no socket and knows no fault; fakeserver.py puts it behind both.
"""

import json
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.fakeanswers import ENDED_ALREADY, Reply, as_json, refusal
from tests.fakewire import (
    TERMINAL,
    Events,
    Json,
    ended,
    events_of,
    final_of,
    response_of,
    text_of,
)

Tell = Callable[[Json, str], Events]
OPERATIONS = (
    *("create", "list", "get", "stream", "cancel", "delete", "file", "other"),
)
_FILE = re.compile(r".*/containers/[^/]+/files/[^/]+/content")
_ROUTE = re.compile(r".*/responses?(?:/(?P<id>[^/]+)(?P<cancel>/cancel)?)?")
_ECHOED = ("background", "instructions", "metadata", "model", "store")
_KNOWN = TERMINAL | {"queued", "in_progress"}


def says(text: str, **how: Any) -> Tell:
    """Tell every job with this text; `how` goes to events_of."""
    return lambda body, response_id: events_of(text, response_id=response_id, **how)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it arrived; `at` is the monotonic time, `target` undecoded."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def path(self) -> str:
        """Return the path, percent-encoded as it came."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """Return the decoded query; the last of equal names wins."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def json(self) -> Any:
        """Return the parsed body, None where it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def job(self) -> str | None:
        """Return the decoded id in the path."""
        match = _ROUTE.fullmatch(self.path)
        return unquote(match["id"]) if match and match["id"] else None

    @property
    def operation(self) -> str:
        """Return which of OPERATIONS was asked."""
        if self.method == "GET" and _FILE.fullmatch(self.path):
            return "file"
        match = _ROUTE.fullmatch(self.path)
        if match is None:
            return "other"
        streamed = self.query.get("stream") == "true"
        return {
            (False, False, "POST"): "create",
            (False, False, "GET"): "list",
            (True, False, "GET"): "stream" if streamed else "get",
            (True, True, "POST"): "cancel",
            (True, False, "DELETE"): "delete",
        }.get((bool(match["id"]), bool(match["cancel"]), self.method), "other")


@dataclass(slots=True)
class Job:
    """One job: its whole history is known from the start, its status moves."""

    id: str
    body: Json
    events: Events
    polls: deque[str]
    status: str = "queued"
    created: int = field(default_factory=lambda: int(time.time()))

    def poll(self) -> None:
        """Let one poll's time pass."""
        if self.status not in TERMINAL and self.polls:
            self.status = self.polls.popleft()
        else:
            self.finish()

    def finish(self) -> None:
        """End as the history ends, unless it has ended otherwise."""
        if self.status not in TERMINAL:
            self.status = final_of(self.events)["status"]

    def move(self, status: str) -> Json:
        """Go to a status; a word that is none is only shown."""
        if status in _KNOWN:
            self.status = status
        return self.shown(status)

    def shown(self, status: str | None = None) -> Json:
        """Return the Response as a GET shows it."""
        word, final = status or self.status, final_of(self.events)
        if word == final["status"]:
            return self._echoed(final)
        text = text_of(final) if word in TERMINAL - {"cancelled"} else ""
        return self._echoed(response_of(word, text, response_id=self.id))

    def history(self) -> Events:
        """Return all events, ending as the job's status says."""
        events, final = self.events, final_of(self.events)["status"]
        if self.status in TERMINAL - {final}:
            name = "failed" if self.status == "cancelled" else self.status
            events = ended(f"response.{name}", self.status)(events)
        return [
            e | {"response": self._echoed(e["response"])} if "response" in e else e
            for e in events
        ]

    def _echoed(self, response: Json) -> Json:
        echo = {name: self.body[name] for name in _ECHOED if name in self.body}
        done = self.created if response["completed_at"] else None
        return response | echo | {"created_at": self.created, "completed_at": done}


@dataclass(slots=True)
class Jobs:
    """All jobs of one endpoint, and the endpoint's usual manners."""

    tell: Tell
    polls: Sequence[str] = ("in_progress",)
    idempotent: bool = False
    listing: bool = False
    kept: dict[str, Job] = field(default_factory=dict)
    keys: dict[str, Job] = field(default_factory=dict)
    made: int = 0

    def find(self, seen: HttpRequest) -> tuple[Job | None, Reply]:
        """Return the job that a request names, else what to answer instead."""
        job = self.kept.get(seen.job or "")
        if job is None:
            return None, refusal(404, f"Response with id '{seen.job}' not found.")
        return job, as_json(job.shown())

    def perform(self, seen: HttpRequest) -> tuple[Job | None, Reply]:
        """Do what a request asks and return its job and the usual reply."""
        match seen.operation:
            case "create":
                return self._create(seen)
            case "list" if self.listing:
                return None, self._list()
            case "list" | "file" | "other":
                return None, refusal(404, f"Invalid URL ({seen.method} {seen.path})")
        job, reply = self.find(seen)
        return (job, self._act(job, seen.operation)) if job else (None, reply)

    def _act(self, job: Job, operation: str) -> Reply:
        match operation:
            case "delete":
                del self.kept[job.id]
                return as_json({"id": job.id, "object": "response", "deleted": True})
            case "cancel" if job.status not in TERMINAL:
                job.status = "cancelled"
            case "cancel" if job.status != "cancelled" and job.body.get("stream"):
                return ENDED_ALREADY
            case "get" | "stream":
                job.poll()
        return as_json(job.shown())

    def _create(self, seen: HttpRequest) -> tuple[Job | None, Reply]:
        body, key = seen.json, seen.headers.get("idempotency-key", "")
        if not isinstance(body, dict):
            return None, refusal(400, "We could not parse the JSON body.")
        job = self.keys.get(key) if self.idempotent else None
        if job is None:
            self.made += 1
            ident = f"resp_{self.made:032x}"
            job = Job(ident, body, self.tell(body, ident), deque(self.polls))
            self.kept[ident] = job
            self.keys |= {key: job} if key else {}
        return job, as_json(job.shown())

    def _list(self) -> Reply:
        data = [job.shown() for job in reversed(self.kept.values())]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
        return as_json({"object": "list", "data": data, "has_more": False, **ends})
