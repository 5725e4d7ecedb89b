"""The page of the endpoint, as far as no browser is needed: its files and its data."""

import json
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from bgresp.serve import daemon
from bgresp.serve.http import KEYLESS
from bgresp.serve.page import CHUNK, FILES, answer_text
from tests.command import Run, empty_config, environment
from tests.serve.endpoints import Launch, Serve, Served, create, poll, wait_until


def root(served: Served) -> str:
    return served.base_url.removesuffix("/v1")


def jobs(served: Served, query: str = "", **headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = served.http.get(f"{root(served)}/page/jobs{query}", headers=named)
    assert 200 == reply.status_code
    told: dict[str, Any] = reply.json()
    return told


def answer(served: Served, job_id: str, query: str = "") -> httpx.Response:
    return served.http.get(f"{root(served)}/page/jobs/{job_id}{query}")


@pytest.mark.parametrize("path", FILES)
def test_the_files_come_under_a_strict_policy(serve: Serve, path: str) -> None:
    """A file of the page comes without a key, and lets nothing foreign or inline run."""
    served = serve(key="secret")
    reply = httpx.get(root(served) + path, trust_env=False)
    assert 200 == reply.status_code
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert set(re.findall(r"(\w+-src) 'self'", policy)) == {
        *("script-src", "style-src", "img-src", "connect-src")
    }
    for wanted in ("base-uri", "form-action", "frame-ancestors"):
        assert f"{wanted} 'none'" in policy
    assert "nosniff" == reply.headers["x-content-type-options"]
    assert "no-referrer" == reply.headers["referrer-policy"]
    named = reply.text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"//\w+\.|url\(|@import", named)


def test_the_page_holds_no_markup_of_anyone(shared: Served) -> None:
    """The page has nothing inline, and its script never makes markup of text."""
    page = shared.http.get(f"{root(shared)}/").text
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?![^>]*\ssrc=)", page)
    script = shared.http.get(f"{root(shared)}/page.js").text
    unsafe = r"\b(inner|outer)HTML\b|insertAdjacent|document\.write|\beval\b|Function\("
    assert not re.search(unsafe, script)


def test_what_it_shows_needs_the_key(serve: Serve) -> None:
    """The jobs of an endpoint with a key are shown without that key."""
    served = serve(key="secret")
    job = create(served.sdk(), "x")
    for path in ("/page/jobs", f"/page/jobs/{job.id}"):
        assert 401 == httpx.get(root(served) + path, trust_env=False).status_code
        assert 200 == served.http.get(root(served) + path).status_code
    assert {"/healthz", *FILES} == KEYLESS


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("{root}", 200),
        ("http://127.0.0.1:1", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_no_other_page_can_cancel(served: Served, origin: str, status: int) -> None:
    """The endpoint's own page may cancel without a key, and no other page may."""
    job = create(served.sdk(), "hold")
    headers = {"origin": origin.format(root=root(served))}
    url = f"/responses/{job.id}/cancel"
    assert status == served.http.post(url, headers=headers).status_code
    rebound = {"origin": "http://a.b", "host": "a.b"}
    assert 403 == served.http.post(url, headers=rebound).status_code


def test_the_jobs_are_listed_by_what_they_do(serve: Serve) -> None:
    """What runs comes first with its growing text, then what waits, then what ended."""
    served = serve(count=1)
    sdk = served.sdk()
    failed = poll(sdk, create(sdk, "fail").id)
    done = poll(sdk, create(sdk, "Why?", max_output_tokens=3).id)
    runs, waits = create(sdk, "hold"), create(sdk, "hold")
    wait_until(lambda: jobs(served)["jobs"][0]["tail"])
    told = jobs(served)
    assert {"running": 1, "waiting": 1, "ended": 2} == told["counts"]
    ids = [job["id"] for job in told["jobs"]]
    assert [runs.id, waits.id, done.id, failed.id] == ids
    rows = {job["id"]: job for job in told["jobs"]}
    now, later = rows[runs.id], rows[done.id]
    assert ("in_progress", "first", 1, False) == tuple(
        now[name] for name in ("status", "tail", "tokens", "exact")
    )
    assert ("incomplete", "Why?", "This is bgresp's", 3, True, "max_output_tokens") == (
        *(later[name] for name in ("status", "prompt", "tail", "tokens", "exact")),
        later["error"],
    )
    assert "as asked" == rows[failed.id]["error"]
    assert (now["ended"], later["ended"] <= told["now"]) == (None, True)
    assert [runs.id, waits.id, done.id] == [
        job["id"] for job in jobs(served, "?limit=1")["jobs"]
    ]
    served.engine.released.set()
    poll(sdk, runs.id)
    assert "first second" == next(
        job["tail"] for job in jobs(served)["jobs"] if job["id"] == runs.id
    )


def test_a_tenant_that_is_named_sees_its_own(serve: Serve) -> None:
    """A request for a tenant shows the jobs of another; one for nobody shows all."""
    served = serve()
    mine = create(served.sdk(X_On_Behalf_Of="ann"), "x")
    other = create(served.sdk(X_On_Behalf_Of="bob"), "x")
    told = {job["id"]: job["tenant"] for job in jobs(served)["jobs"]}
    assert {mine.id: "ann", other.id: "bob"} == told
    hers = jobs(served, x_on_behalf_of="ann")
    assert [mine.id] == [job["id"] for job in hers["jobs"]]
    reply = served.http.get(
        f"{root(served)}/page/jobs/{other.id}", headers={"x-on-behalf-of": "ann"}
    )
    assert 404 == reply.status_code


def test_an_answer_comes_in_pieces(served: Served) -> None:
    """The pieces of an answer, each from where the last ended, join to its whole."""
    sdk = served.sdk()
    runs = create(sdk, "hold")
    first = wait_until(lambda: answer(served, runs.id).json()["text"])
    assert ("first ", "") == (first, answer(served, runs.id, "?from=6").json()["text"])
    served.engine.released.set()
    poll(sdk, runs.id)
    assert {"from": 6, "next": 12, "more": False, "text": "second"} == answer(
        served, runs.id, "?from=6"
    ).json()
    # The text has become shorter than what was shown: it is told from its beginning.
    assert "first second" == answer(served, runs.id, "?from=13").json()["text"]
    long = poll(sdk, create(sdk, "x" * (CHUNK + 7)).id)
    piece = answer(served, long.id).json()
    assert (CHUNK, True) == (piece["next"], piece["more"])
    rest = answer(served, long.id, f"?from={CHUNK}").json()
    assert (long.output_text, False) == (piece["text"] + rest["text"], rest["more"])
    for wrong in ("?from=-1", "?from=x", "?from=" + "9" * 5000):
        assert 400 == answer(served, long.id, wrong).status_code
    assert 404 == answer(served, "resp_none").status_code


def test_messages_are_joined_by_a_blank_line() -> None:
    """Two messages of an answer run into each other, or another item is shown."""

    def item(kind: str, *texts: str) -> dict[str, Any]:
        parts = [{"type": "output_text", "text": text} for text in texts]
        return {"type": kind, "content": parts}

    output = [item("reasoning", "hm"), item("message", "a", "b"), item("message", "c")]
    assert "ab\n\nc" == answer_text({"output": [*output, item("message")]})
    assert "" == answer_text({})
    call = {"type": "function_call", "name": "é", "arguments": "{}"}
    lone = answer_text({"output": [item("reasoning", "hm"), None, {}, call]})
    assert call == json.loads(lone)
    assert "é" in lone
    assert "c" == answer_text({"output": [call, item("message", "c")]})


def test_a_damaged_record_hides_no_other(served: Served, tmp_path: Path) -> None:
    """A record that cannot be read costs its own row, and no other."""
    sdk = served.sdk()
    torn, whole = (poll(sdk, create(sdk, word).id).id for word in ("a", "b"))
    for path in (tmp_path / "jobs").glob(f"{torn}*"):
        path.write_text("{")
    told = wait_until(lambda: (found := jobs(served))["jobs"] and found)
    assert whole in [job["id"] for job in told["jobs"]]


def recorder(place: Path, name: str = "browser") -> tuple[Path, str]:
    """Return a file, and a $BROWSER of this name that writes its arguments there."""
    script, seen = place / name, place / f"{name}.seen"
    script.write_text(
        f"#!/bin/sh\nenv > {seen}.env\n"
        f'echo "$@" > {seen}.part && mv {seen}.part {seen}\n'
    )
    script.chmod(0o700)
    return seen, str(script)


def test_open_keeps_the_key_out_of_argv(
    run: Run, state: Path, tmp_path: Path, launch: Launch
) -> None:
    """`serve --open` hands the key of a running endpoint over by a private file alone."""
    launch("--detached")
    running = daemon.find(state)
    assert running is not None
    assert running.key is not None
    seen, browser = recorder(tmp_path)
    done = run("serve", "--open", env={"BROWSER": browser})
    page = running.base_url.removesuffix("v1")
    assert (0, "") == (done.code, done.out)
    assert f"opened {page}" in done.err
    assert running.key not in done.err + seen.read_text()
    door = state / "serve" / "open.html"
    assert door.as_uri() == seen.read_text().strip()
    assert 0o600 == stat.S_IMODE(door.stat().st_mode)
    assert f'content="0;url={page}#key={running.key}"' in door.read_text()
    daemon.stop(state)
    assert not door.exists()


def test_open_says_where_there_is_no_browser(
    run: Run, state: Path, tmp_path: Path, launch: Launch
) -> None:
    """Without a key a browser gets the address; one of text alone is not started."""
    launch()
    running = daemon.find(state)
    assert running is not None
    page = daemon.page_url(running)
    seen, browser = recorder(tmp_path)
    secret = {"WORK_API_KEY": "sk-never-a-browser-s"}
    assert 0 == run("serve", "--open", env={"BROWSER": browser, **secret}).code
    assert f"{page}\n" == seen.read_text()
    passed = seen.with_name(f"{seen.name}.env").read_text()
    assert "BROWSER=" in passed
    assert "never-a-browser" not in passed
    seen, browser = recorder(tmp_path, "lynx")
    done = run("serve", "--open", env={"BROWSER": browser})
    assert f"no browser was found; open {page} in a browser" in done.err
    assert (0, False) == (done.code, seen.exists())


def test_open_starts_an_endpoint_where_none_runs(
    state: Path, tmp_path: Path, empty: str
) -> None:
    """`serve --open` opens the page of the endpoint that it starts, while it serves."""
    seen, browser = recorder(tmp_path)
    env = environment(
        {"BGRESP_STATE_DIR": str(state), "BGRESP_CONFIG": empty, "BROWSER": browser}
    )
    command = [sys.executable, "-m", "bgresp", "serve", "--open"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE) as process:
        try:
            wait_until(seen.exists)
            running = daemon.find(state)
            assert running is not None
            assert f"{daemon.page_url(running)}\n" == seen.read_text()
        finally:
            process.terminate()
            process.communicate()
    assert 0 == process.returncode


@pytest.fixture
def empty(tmp_path: Path) -> str:
    return empty_config(tmp_path / "config" / "config.toml")
