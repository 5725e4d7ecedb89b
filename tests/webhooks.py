"""Deliveries as an endpoint sends them: signed by the library, posted over a socket."""

import hashlib
import http.client
import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105  # the example of Standard Webhooks
OTHER = "whsec_" + "b3RoZXJvdGhlcm90aGVyb3RoZXI="


def event(job_id: str, kind: str = "response.completed") -> bytes:
    """Return the body that OpenAI sends of a job."""
    data = {"id": job_id}
    number = hashlib.sha256(f"{job_id} {kind}".encode()).hexdigest()[:24]
    said = {"id": f"evt_{number}", "object": "event", "created_at": 1, "type": kind}
    return json.dumps({**said, "data": data}).encode()


def signed(
    body: bytes, *, id_: str = "wh_1", secret: str = SECRET, age: float = 0.0
) -> dict[str, str]:
    """Return the headers of a delivery that was signed `age` seconds ago."""
    moment = int(time.time() - age)
    # The library takes a naive moment, or one of UTC.
    at = datetime.fromtimestamp(moment, tz=UTC)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(moment),
        "webhook-signature": Webhook(secret).sign(id_, at, body.decode()),
    }


def post(url: str, body: bytes, headers: dict[str, Any]) -> int:
    """Post a delivery; return the status of the answer."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(
        address.hostname or "", address.port, timeout=20
    )
    try:
        connection.request("POST", address.path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def deliver(url: str, job_id: str, kind: str = "response.completed", **how: Any) -> int:
    """Sign and post a delivery about a job; return the status of the answer."""
    body = event(job_id, kind)
    return post(url, body, signed(body, **{"id_": f"wh_{job_id}", **how}))
