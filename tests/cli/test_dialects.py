"""The command against endpoints that do not speak as OpenAI does.

A profile says which dialect and where, the environment has the key: no more is needed.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cli.ledger import last, records
from tests.command import Ran, Run
from tests.spoken import Say, Spoken

KEY = {"BGRESP_API_KEY": "k-0123456789"}
BRISK = ("--interval", "0.05")


def ran(bare: Run, *args: str) -> Ran:
    """Run the command with the key in the environment."""
    return bare(*args, env=KEY)


@contextmanager
def speaking(
    folder: Path, routes: Mapping[str, list[Say]], profile: str
) -> Iterator[Spoken]:
    """Serve routes; `profile` is what config.toml says, with {url} where they are."""
    with Spoken(routes) as server:
        path = folder / "config" / "config.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(profile.replace("{url}", server.url))
        yield server


def response(status: str, text: str = "", **more: Any) -> dict[str, Any]:
    """Build a response object of OpenAI's kind."""
    content = [{"type": "output_text", "text": text}]
    output = [{"type": "message", "content": content}] if text else []
    return {"id": "resp_q1", "status": status, "output": output, **more}


MKA1 = """
default_profile = "work"
[profiles.work]
dialect = "mka1"
base_url = "{url}/api/v1/llm"
model = "meetkai:auto"
[profiles.work.vars]
end_user = "user-7"
"""
RESPONSES = "/api/v1/llm/responses"


def lifecycle(kind: str, number: int, **more: Any) -> dict[str, Any]:
    """Build an event of MKA1's, which carries the whole response."""
    body = {"type": f"response.{kind}", "sequence_number": number}
    return {**body, "response": response(kind, **more)}


def test_mka1(bare: Run, state: Path, tmp_path: Path) -> None:
    """A job of an end user keeps X-On-Behalf-Of in every call, without -p."""
    delta = {"type": "response.output_text.delta", "sequence_number": 2}
    final = response("completed", "Lentils.", completed_at=1790000009.5)
    events = [
        lifecycle("queued", 0, created_at=1790000000.25),
        lifecycle("in_progress", 1),
        {**delta, "output_index": 0, "content_index": 0, "delta": "Lentils."},
        {"type": "response.completed", "sequence_number": 3, "response": final},
    ]
    one = f"{RESPONSES}/resp_q1"
    routes = {
        f"POST {RESPONSES}": [Say(response("queued", created_at=1790000000.25))],
        f"GET {one}": [Say(response("in_progress")), Say(events)],
        f"POST {one}/cancel": [Say({"error": "already terminal"}, 409)],
        f"DELETE {one}": [Say({"id": "resp_q1", "deleted": True})],
    }
    with speaking(tmp_path, routes, MKA1) as server:
        assert "resp_q1\n" == ran(bare, "submit", "-t", "A soup?").out
        (tmp_path / "config" / "config.toml").write_text("")  # the job has it all
        found = ran(bare, "status", "--json")
        assert "in_progress" == json.loads(found.out)["status"]
        watched = ran(bare, "watch", "@last")
        assert (0, "Lentils.\n") == (watched.code, watched.out)
        assert "Lentils.\n" == ran(bare, "get", "@last").out
        assert 0 == ran(bare, "cancel", "@last").code
        assert 0 == ran(bare, "forget", "resp_q1", "--remote").code
    assert [
        *(f"POST {RESPONSES}", f"GET {one}", f"GET {one}?stream=true", f"DELETE {one}")
    ] == server.asked()
    assert {"user-7"} == {seen.headers["x-on-behalf-of"] for seen in server.seen}
    body = server.seen[0].json
    assert ("meetkai:auto", True, True, True) == (
        *(body["model"], body["background"], body["store"], body["stream_events"]),
    )
    first = records(state)[0]
    assert body["metadata"] == {"bgresp_key": first["key"]}
    assert {"end_user": "user-7"} == first["vars"]


def test_mka1_cancel(bare: Run, state: Path, tmp_path: Path) -> None:
    """A cancel that comes too late is a 409 with a text for an error; the end holds."""
    one = f"{RESPONSES}/resp_q1"
    final = response("completed", "Lentils.")
    routes = {
        f"POST {RESPONSES}": [Say(response("queued"))],
        f"POST {one}/cancel": [Say({"error": "already terminal"}, 409)],
        f"GET {one}": [Say(final)],
    }
    with speaking(tmp_path, routes, MKA1) as server:
        ran(bare, "submit", "-t", "A soup?")
        late = ran(bare, "cancel", "@last")
        assert (0, True) == (late.code, "ended before the cancel" in late.err)
        assert "Lentils.\n" == ran(bare, "get", "@last").out
    assert {"user-7"} == {seen.headers["x-on-behalf-of"] for seen in server.seen}


FREDDY = """
default_profile = "f"
[profiles.f]
dialect = "freddy"
base_url = "{url}/v1"
[profiles.f.vars]
organization = "org_9"
"""
FREDDY_ID = "/v1/model/response/resp_0a1b"


def freddy(status: str, **more: Any) -> Say:
    """Answer as Freddy does."""
    return Say({"id": "resp_0a1b", "status": status, "createdAt": 1790000000, **more})


def test_freddy(bare: Run, state: Path, tmp_path: Path) -> None:
    """Its own body, its words, polled to the end; what it cannot is said by name."""
    choices = [{"message": {"role": "assistant", "content": "Hallo."}}]
    routes = {
        "POST /v1/model/response": [freddy("queued")],
        f"GET {FREDDY_ID}": [
            freddy("processing"),
            freddy("completed", choices=choices),
        ],
    }
    with speaking(tmp_path, routes, FREDDY) as server:
        for args in (("--stream",), ("--previous", "resp_0"), ("--metadata", "a=b")):
            refused = ran(bare, "submit", "-t", "Hi", "-m", "gpt-4.1", *args)
            assert (5, True) == (refused.code, "freddy" in refused.err)
        assert not server.seen
        submitted = ran(bare, "submit", "-t", "Hi", "-m", "gpt-4.1", "-s", "Short.")
        assert (0, "resp_0a1b\n") == (submitted.code, submitted.out)
        streamed = ran(bare, "watch", "--mode", "stream", "@last")
        said = "a freddy endpoint cannot stream a running job"
        assert (5, True) == (streamed.code, said in streamed.err)
        watched = ran(bare, "watch", "@last", *BRISK)
        assert (0, "Hallo.\n") == (watched.code, watched.out)
        assert f"polling: {said}" in watched.err
        assert "Hallo.\n" == ran(bare, "get", "@last").out
        assert 0 == ran(bare, "cancel", "@last").code  # it ended: no DELETE
        kept = ran(bare, "forget", "@last", "--remote")
        said = "a freddy endpoint cannot delete a response"
        assert (5, True) == (kept.code, said in kept.err)
    assert {
        "model": "gpt-4.1",
        "background": True,
        "organization_id": "org_9",
        "instructions": "Short.",
        "inputs": [{"role": "user", "texts": [{"text": "Hi"}]}],
    } == server.seen[0].json
    assert ["POST /v1/model/response"] + [
        f"GET {FREDDY_ID}?organizationId=org_9"
    ] * 2 == server.asked()


def test_freddy_cancel_is_a_delete(bare: Run, state: Path, tmp_path: Path) -> None:
    """An open job is deleted; that it is gone afterwards is what was asked for."""
    gone = Say({"detail": "Not found"}, 404)
    routes = {
        "POST /v1/model/response": [freddy("queued")],
        f"GET {FREDDY_ID}": [freddy("processing"), gone],
        f"DELETE {FREDDY_ID}": [Say("", 204)],
    }
    with speaking(tmp_path, routes, FREDDY) as server:
        ran(bare, "submit", "-t", "Hi", "-m", "gpt-4.1")
        done = ran(bare, "cancel", "@last", "--json")
        assert (0, "cancelled") == (done.code, json.loads(done.out)["status"])
        assert "is cancelled: the endpoint no longer has it" in done.err
        assert 11 == ran(bare, "status", "@last", "--local", "--exit-status").code
    assert [
        *("POST", "GET", "DELETE", "GET"),
    ] == [seen.method for seen in server.seen]
    assert "cancelled" == last(state)["status"]


GEMINI = """
[profiles.g]
dialect = "gemini"
base_url = "{url}/v1beta"
[profiles.g.vars]
agent = "deep-research"
"""
GEMINI_ID = "/v1beta/interactions/v1_abc"


def interaction(status: str, **more: Any) -> dict[str, Any]:
    """Build an interaction of Gemini's."""
    return {"id": "v1_abc", "object": "interaction", "status": status, **more}


def test_gemini(bare: Run, state: Path, tmp_path: Path) -> None:
    """Steps, opaque cursors and a last event without text: the same five commands."""

    def event(kind: str, ident: str, **more: Any) -> dict[str, Any]:
        return {"event_type": kind, "event_id": ident, **more}

    def delta(text: str, ident: str) -> dict[str, Any]:
        return event("step.delta", ident, index=1, delta={"type": "text", "text": text})

    started = event("interaction.created", "e1", interaction=interaction("in_progress"))
    ended = event("interaction.completed", "e4", interaction=interaction("completed"))
    content = [{"type": "text", "text": "Because of Rayleigh."}]
    answer = interaction(
        "completed",
        steps=[{"type": "model_output", "content": content}],
        usage={"total_input_tokens": 12, "total_output_tokens": 7, "total_tokens": 19},
    )
    routes = {
        "POST /v1beta/interactions": [Say(interaction("in_progress"))],
        f"GET {GEMINI_ID}": [
            *(Say(interaction("in_progress")), Say([started, delta("Because ", "e2")])),
            *(
                Say(interaction("in_progress")),
                Say([delta("of Rayleigh.", "e3"), ended]),
            ),
            Say(answer),
        ],
    }
    with speaking(tmp_path, routes, GEMINI) as server:
        assert "v1_abc\n" == ran(bare, "submit", "-p", "g", "-t", "Why?").out
        assert 0 == ran(bare, "status").code
        watched = ran(bare, "watch", "@last")
        assert (0, "Because of Rayleigh.\n") == (watched.code, watched.out)
        assert "Because of Rayleigh.\n" == ran(bare, "get", "@last").out
    assert [
        "POST /v1beta/interactions",
        f"GET {GEMINI_ID}",
        f"GET {GEMINI_ID}?stream=true",
        f"GET {GEMINI_ID}",
        f"GET {GEMINI_ID}?stream=true&last_event_id=e2",
        f"GET {GEMINI_ID}",
    ] == server.asked()
    asked = {"agent": "deep-research", "input": "Why?", "background": True}
    assert {**asked, "store": True} == server.seen[0].json
    assert {"k-0123456789"} == {s.headers["x-goog-api-key"] for s in server.seen}
    assert (12, 7, 19) == tuple(last(state)["usage"].values())


def test_gemini_cancel(bare: Run, state: Path, tmp_path: Path) -> None:
    """A cancelled interaction is one, and only DELETE deletes it."""
    routes = {
        "POST /v1beta/interactions": [Say(interaction("queued"))],
        f"POST {GEMINI_ID}/cancel": [Say(interaction("cancelled"))],
        f"GET {GEMINI_ID}": [Say(interaction("cancelled"))],
    }
    with speaking(tmp_path, routes, GEMINI):
        ran(bare, "submit", "-p", "g", "-t", "Why?")
        done = ran(bare, "cancel", "@last", "--json")
        assert (0, "cancelled") == (done.code, json.loads(done.out)["status"])


XAI = """
[profiles.x]
dialect = "xai-deferred"
base_url = "{url}/v1"
model = "grok-4"
"""
XAI_ID = "/v1/chat/deferred-completion/f15c"


def test_xai_deferred(bare: Run, state: Path, tmp_path: Path) -> None:
    """Its 202 is an open job, its answer is read once and kept for good."""
    message = {"role": "assistant", "content": "126/3 is 42."}
    usage = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 41}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    final = {"id": "335b", "choices": [choice], "usage": usage, "model": "grok-4-07"}
    again = Say({"error": "The deferred completion was not found."}, 404)
    pending = Say("", 202)
    routes = {
        "POST /v1/chat/completions": [Say({"request_id": "f15c"})],
        f"GET {XAI_ID}": [pending, pending, pending, Say(final), again],
    }
    with speaking(tmp_path, routes, XAI) as server:
        submitted = ran(bare, "submit", "-p", "x", "-t", "126/3=?", "-s", "Be terse.")
        assert (0, "f15c\n") == (submitted.code, submitted.out)
        found = ran(bare, "status", "--json")
        assert "in_progress" == json.loads(found.out)["status"]
        refused = ran(bare, "cancel", "@last")
        said = "goes on: xai-deferred has no way to cancel a job"
        assert (5, True) == (refused.code, said in refused.err)
        watched = ran(bare, "watch", "@last", *BRISK)
        assert (0, "126/3 is 42.\n") == (watched.code, watched.out)
        for verb in ("get", "watch"):
            kept = ran(bare, verb, "@last")
            assert (0, "126/3 is 42.\n") == (kept.code, kept.out)
        assert 0 == ran(bare, "status", "@last", "--exit-status").code
    roles = [(m["role"], m["content"]) for m in server.seen[0].json["messages"]]
    assert [("system", "Be terse."), ("user", "126/3=?")] == roles
    assert server.seen[0].json["deferred"] is True
    assert "completed" == last(state)["status"]
    assert (32, 9, 41) == tuple(last(state)["usage"].values())
