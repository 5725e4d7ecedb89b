"""What the endpoint tells others of jobs that end: signed, retried, to nobody else."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from bgresp.core.errors import UsageError
from bgresp.serve.store import Entry, Store
from bgresp.serve.webhooks import WebhookOptions, WebhookSender
from bgresp.serve.wire import RefusalError
from tests.serve.endpoints import (
    Connect,
    Launch,
    Serve,
    Served,
    create,
    openai,
    poll,
    wait_until,
)
from tests.webhooks import OTHER, SECRET


class Receiver:
    """Receives webhooks; answers as `statuses` say, then 200."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.came: list[tuple[bytes, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.came.append((body, dict(self.headers)))
                self.send_response(outer.statuses.pop(0) if outer.statuses else 200)
                self.send_header("location", f"{outer.url}elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def events(self, secret: str = SECRET) -> list[tuple[str, str]]:
        """Return what came as the official SDK verifies and reads it."""
        client = openai.OpenAI(api_key="none", webhook_secret=secret)
        found: list[Any] = [client.webhooks.unwrap(*one) for one in self.came]
        return [(one.type, one.data.id) for one in found]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Run a receiver for a test."""
    running = Receiver()
    yield running
    running.close()


@pytest.fixture
def telling(serve: Serve, receiver: Receiver) -> Served:
    """Serve an endpoint that tells the receiver of every job."""
    return serve(webhooks=WebhookOptions(receiver.url, SECRET))


def test_each_end_is_told(telling: Served, receiver: Receiver) -> None:
    """Completed, failed, incomplete, cancelled: one event each, signed as OpenAI's."""
    sdk = telling.sdk()
    jobs = {
        "completed": create(sdk, "x").id,
        "failed": create(sdk, "fail").id,
        "incomplete": create(sdk, "x", max_output_tokens=1).id,
    }
    for job in jobs.values():
        poll(sdk, job)
    jobs["cancelled"] = create(sdk, "hold").id
    sdk.responses.cancel(jobs["cancelled"])
    sdk.responses.create(model="m", input="x")  # synchronous: its caller knows
    wait_until(lambda: len(receiver.came) >= 4)
    expected = {(f"response.{status}", job) for status, job in jobs.items()}
    assert expected == set(receiver.events())
    ids = {headers["webhook-id"] for _, headers in receiver.came}
    assert (4, 4) == (len(ids), len(receiver.came))
    for body, headers in receiver.came:
        another = openai.OpenAI(api_key="none", webhook_secret=OTHER)
        with pytest.raises(openai.InvalidWebhookSignatureError):
            another.webhooks.unwrap(body, headers)
        assert {"id", "object", "created_at", "type", "data"} == json.loads(body).keys()


def test_a_request_may_name_an_allowed_address(
    serve: Serve, receiver: Receiver
) -> None:
    """Its own secret signs it, and shows up nowhere; other addresses are refused."""
    allowed = (receiver.url.removesuffix("/hook"),)
    served = serve(webhooks=WebhookOptions(allowed=allowed))
    sdk = served.sdk()
    own = {"webhook_url": f"{receiver.url}/mine", "webhook_secret": OTHER}
    job = create(sdk, "x", extra_body=own)
    wait_until(lambda: receiver.came)
    assert [("response.completed", job.id)] == receiver.events(OTHER)
    shown = served.http.get(f"/responses/{job.id}").text
    assert "webhook" not in shown
    for refused in (
        {**own, "webhook_url": "http://127.0.0.1:1/x"},
        {**own, "webhook_url": "http://localhost/x"},
        {**own, "webhook_url": receiver.url.replace("127.0.0.1", "a@127.0.0.1")},
        {**own, "webhook_url": receiver.url.replace("http:", "https:")},
        {**own, "webhook_url": "file:///etc/passwd"},
        {**own, "webhook_url": 7},
        {"webhook_url": receiver.url},
        {**own, "webhook_secret": ""},
        {**own, "webhook_secret": 7},
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            create(sdk, "x", extra_body=refused)
        assert str(caught.value.param).startswith("webhook_")
    with pytest.raises(openai.BadRequestError):
        sdk.responses.create(model="m", input="x", extra_body=own)
    assert 1 == len(receiver.came)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/",
        "http://localhost/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
        "http://0/",
        "http://hooks.example.com/",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com.evil.example/",
        "https://evil.example/?https://hooks.example.com",
        "https://evil.example#hooks.example.com",
        "https://hooks.example.com@evil.example/",
        "https://evil.example@hooks.example.com/",
        "https://hooks.example.com\\@evil.example/",
        "https://hooks.example.com\\.evil.example/",
        "https://hooks.exam\tple.com/",
        "https://hooks.example.com /",
        " https://hooks.example.com/",
        "https://hooks.example.com\r\nX: y/",
        "https://hooks.example\u3002com/",
        "https://\uff48ooks.example.com/",
        "https://hooks.example.com./",
        "//hooks.example.com/",
        "ftp://hooks.example.com:443/",
        "file:///etc/passwd",
        "https://",
        "",
    ],
)
def test_no_way_around_what_is_allowed(url: str) -> None:
    """An address that only looks like an allowed one, or is this machine's, is none."""
    options = WebhookOptions(secret=SECRET, allowed=("https://hooks.example.com",))
    request = {"background": True, "webhook_url": url}
    with pytest.raises(RefusalError):
        options.taken(request)
    for good in ("https://HOOKS.example.com:443/a?b#c", "https://hooks.example.com"):
        rest, notice = options.taken({**request, "webhook_url": good})
        assert ({"background": True}, {"url": good}) == (rest, notice)


def test_a_failure_is_repeated_and_a_redirect_is_one(
    telling: Served, receiver: Receiver
) -> None:
    """Until it is taken, under one id; nobody is sent elsewhere."""
    receiver.statuses = [302, 500]
    job = create(telling.sdk(), "x").id
    wait_until(lambda: len(receiver.came) >= 3)
    assert [("response.completed", job)] * 3 == receiver.events()
    assert 1 == len({headers["webhook-id"] for _, headers in receiver.came})


def test_what_is_owed_survives_a_kill(
    launch: Launch,
    state: Path,
    connect: Connect,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A webhook that nobody took is sent by the next process of the same folder."""
    monkeypatch.setenv("WH_SECRET", SECRET)
    receiver.statuses = [503] * 3
    words = ("--webhook-url", receiver.url, "--webhook-secret-env", "WH_SECRET")
    first = launch(*words, "--pace", "0")
    job = poll(connect(state), create(connect(state), "x").id).id
    wait_until(lambda: receiver.came)
    first.kill()
    first.wait()
    seen = len(receiver.came)
    receiver.statuses.clear()
    launch(*words, "--pace", "0")
    wait_until(lambda: len(receiver.came) > seen)
    assert {("response.completed", job)} == set(receiver.events())
    folder = state / "serve" / "jobs"
    wait_until(lambda: not list(folder.glob("*.webhook.json")))


def test_a_program_sees_no_secret_of_ours(
    launch: Launch, state: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What signs webhooks, whatever its variable is called, is no program's to see."""
    monkeypatch.setenv("WH", SECRET)
    launch("--webhook-secret-env", "WH", "--command=env")
    sdk = connect(state)
    seen = poll(sdk, create(sdk, "x").id).output_text
    assert "PATH=" in seen
    assert SECRET not in seen


def test_a_receiver_that_drips(tmp_path: Path) -> None:
    """One whose answer never comes to its end holds no place for ever."""
    store, address = Store(tmp_path), socket.create_server(("127.0.0.1", 0))

    gone = asyncio.Event()

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        with suppress(ConnectionError), closing(writer):
            while True:
                writer.write(b"x: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        gone.set()

    async def main() -> str | None:
        url = f"http://127.0.0.1:{address.getsockname()[1]}/"
        options = WebhookOptions(url, SECRET)
        sender = WebhookSender(options, store, time.time, patience=0.1)
        server = await asyncio.start_server(drip, sock=address)
        entry = Entry("resp_1", "", 1.0, background=True, streamable=False)
        async with server, httpx.AsyncClient(timeout=9) as client:
            said = await sender.sent(client, entry, {"url": url}, "completed")
        await asyncio.wait_for(gone.wait(), 20)
        return said

    assert "no answer in 0.1 s" == asyncio.run(main())


def test_it_gives_up_after_an_hour(tmp_path: Path, receiver: Receiver) -> None:
    """What nobody takes for an hour is told of on stderr, and owed no more."""
    from bgresp.serve.job import Workers
    from bgresp.serve.jobs import Caller, JobQueue, Limits
    from tests.serve.endpoints import Scripted
    from tests.serve.test_job_queue import Clock

    clock, store = Clock(), Store(tmp_path)
    receiver.statuses = [500] * 5
    sender = WebhookSender(WebhookOptions(receiver.url, SECRET), store, clock)
    queue = JobQueue(
        store,
        Workers(count=1, limit=9),
        engine=Scripted(),
        clock=clock,
        limits=Limits(),
        webhooks=sender,
    )

    async def main() -> None:
        queue.open()
        queue.start()
        telling = asyncio.create_task(queue.tell())
        entry = await queue.create({"input": "x", "background": True}, Caller())
        await queue.settled(entry)
        end = time.monotonic() + 20
        while not sender.idle:
            assert time.monotonic() < end
            clock.now += 400
            await asyncio.sleep(0.05)
        assert not store.is_owed(entry.id)
        telling.cancel()
        await queue.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "options",
    [
        WebhookOptions("ftp://h/x", SECRET),
        WebhookOptions("https://u:p@h/x", SECRET),
        WebhookOptions("https://h/x"),
        WebhookOptions("https://h/x", "whsec_"),
        WebhookOptions(allowed=("h",)),
    ],
)
def test_what_cannot_be_meant(options: WebhookOptions) -> None:
    """An address that is none, no secret, an empty one: refused at the start."""
    with pytest.raises(UsageError):
        options.check()
