"""`get --part images` and `--part files`: bytes that came, bytes that are fetched."""

import base64
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests import fakeanswers as fa
from tests.cli.ledger import ident, key, records, seed
from tests.cli.processes import Start, eventually
from tests.command import Run
from tests.fakeserver import FakeServer

KEY = "sk-sesame-12345"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def cited(name: str | None, id_: str = "cfile_1", of: str | None = "cntr_1") -> Any:
    """Return a citation of a code interpreter's file."""
    told = {"type": "container_file_citation", "file_id": id_, "filename": name}
    return {**told, "container_id": of}


def ended(
    state: Path, server: FakeServer, *annotations: Any, job: Any = None, **more: Any
) -> None:
    """Seed a job that completed with a text that cites these."""
    seed(state, {"status": "completed", "text": "x", **(job or {})}, server=server)
    part = {"type": "output_text", "text": "see", "annotations": list(annotations)}
    items = [{"type": "message", "content": [part]}, *more.get("items", [])]
    answer = {"id": ident(1), "status": "completed", "output": items}
    (state / "responses" / f"{key(1)}.json").write_text(json.dumps(answer))


def test_files_are_fetched(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """Each file is fetched once, with the job's key, into a numbered name of ours."""
    csv, odd = b"a,b\n1,2\n", bytes(300_000)
    ended(
        state,
        server,
        cited("../../etc/report.CSV"),
        cited("../../etc/report.CSV"),
        cited("run.exe", "../x/?y", ".."),
        cited(None, "cfile_3"),
    )
    server.script("file", fa.Reply(body=csv), fa.Reply(body=odd), fa.Reply(body=b""))
    ran = bgresp("get", "--part", "files", "-o", "out", env={"BGRESP_API_KEY": KEY})
    assert (0, "") == (ran.code, ran.out), ran.err
    assert ["out-1.csv", "out-2.bin", "out-3.bin"] == [
        path.name for path in sorted(tmp_path.glob("out*"))
    ]
    assert csv == (tmp_path / "out-1.csv").read_bytes()
    assert odd == (tmp_path / "out-2.bin").read_bytes()
    assert b"" == (tmp_path / "out-3.bin").read_bytes()
    assert "wrote out-2.bin: run.exe" in ran.err
    first, second, third = server.requests
    assert "/v1/containers/cntr_1/files/cfile_1/content" == first.target
    assert "/v1/containers/%2E%2E/files/..%2Fx%2F%3Fy/content" == second.target
    assert {f"Bearer {KEY}"} == {
        seen.headers["authorization"] for seen in (first, second, third)
    }
    again = bgresp("get", "--part", "files", "-o", "out")
    assert (1, 3) == (again.code, len(server.requests)), again.err
    assert "out-1.csv exists already" in again.err


GONE = fa.refusal(404, "Container with id 'cntr_1' not found.")


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (GONE, 5, "is gone, as its container is 20 minutes after its last use: "),
        (fa.refusal(410, "Container is expired."), 5, "Container is expired."),
        (fa.refusal(400, "Container is expired."), 5, "Container is expired."),
        (fa.refusal(401, f"Incorrect API key: {KEY}"), 4, "bgresp config show"),
        (fa.refusal(500, "Oops."), 6, "is not fetched: Oops."),
        (fa.redirect(302, "http://127.0.0.1:9/x"), 4, "which is never followed"),
        (fa.RESET, 6, "is not fetched: "),
        (fa.Reply(body=b"12345678", sent=3, end=fa.End.FIN), 6, "is not fetched: "),
        (fa.Reply(body=b"x", headers={"Content-Encoding": "br"}), 5, "br-encoded"),
    ],
)
def test_a_file_that_is_not_to_be_had(
    bgresp: Run,
    server: FakeServer,
    state: Path,
    tmp_path: Path,
    reply: Any,
    code: int,
    said: str,
) -> None:
    """One line says why, nothing is left of it, and the other files come all the same.

    The job stays what it was.
    """
    ended(state, server, cited("a.csv"), cited("b.csv", "cfile_2"))
    before = records(state)
    server.script("file", reply, fa.Reply(body=b"good"))
    ran = bgresp("get", "--part", "files", "-o", "out", env={"BGRESP_API_KEY": KEY})
    assert (code, "") == (ran.code, ran.out), ran.err
    line, wrote = ran.err.splitlines()
    assert line.startswith(f"bgresp: a.csv of {ident(1)} is ")
    assert said in line
    assert "sesame" not in ran.err
    assert "bgresp: wrote out-2.csv: b.csv" == wrote
    assert ["out-2.csv"] == [path.name for path in tmp_path.glob("*out*")]
    assert not [*tmp_path.glob(".bgresp-*")]
    assert before == records(state)


def test_a_file_that_is_left_is_not_there(
    start: Start, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """Ctrl-C in the middle of a file leaves nothing of it, and says nothing odd."""
    ended(state, server, cited("a.csv"))
    server.script("file", fa.Reply(body=b"1234", sent=2, end=fa.End.HANG))
    it = start("get", "--part", "files", "-o", "out")
    some = tmp_path.glob
    eventually(lambda: [p for p in some(".bgresp-*") if p.stat().st_size], "a byte")
    ran = it.finish(signal.SIGINT)
    assert (130, "") == (ran.code, ran.out)
    assert "Traceback" not in ran.err
    assert not [*tmp_path.glob(".bgresp-*"), *tmp_path.glob("out*")]


def test_a_file_of_another_key(bgresp: Run, server: FakeServer, state: Path) -> None:
    """A 404 under another key than the job's says so: exit 4."""
    made = {"key_digest": "00000000"}
    ended(state, server, cited("a.csv"), job=made)
    server.script("file", GONE)
    ran = bgresp("get", "--part", "files", "-o", "out", env={"BGRESP_API_KEY": KEY})
    assert 4 == ran.code, ran.err
    assert "made with another key of env:BGRESP_API_KEY" in ran.err


def test_where_there_is_no_route_a_file_is_named(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """A dialect without the route, or a file of no container: ids, exit 0, no request.

    Without -o nothing is fetched either: a JSON line each.
    """
    ended(state, server, cited("a.csv"), job={"dialect": "vllm"})
    ran = bgresp("get", "--part", "files", "-o", "out")
    said = "bgresp: a.csv is cfile_1 of cntr_1, at the endpoint\n"
    assert (0, "", said) == (ran.code, ran.out, ran.err)
    told = {"name": "a.csv", "id": "cfile_1", "container": "cntr_1", "bytes": None}
    assert told == json.loads(bgresp("get", "--part", "files").out)
    ended(state, server, cited("a\x1b[2J\nb", of=None))
    ran = bgresp("get", "@2", "--part", "files", "-o", "out")
    assert (0, 1) == (ran.code, ran.err.count("\n"))
    assert "\x1b" not in ran.err
    assert not server.requests
    assert not [*tmp_path.glob("out*")]


def test_files_of_several_jobs(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """--out-dir fetches the files of every job beside each other, by the job's name."""
    ended(state, server, cited("a.csv"))
    server.script("file", fa.Reply(body=b"good"))
    seed(state, {"status": "completed", "text": "none"}, server=server)
    ran = bgresp("get", "@1", "@2", "--part", "files", "--out-dir", "out")
    assert 14 == ran.code, ran.err
    (only,) = (tmp_path / "out").rglob("*.csv")
    assert b"good" == only.read_bytes()


def test_images_are_decoded(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """An image is written as the bytes that came; an odd format becomes no file name."""
    whole = base64.b64encode(PNG).decode()
    items = [
        {"type": "image_generation_call", "result": whole, "output_format": "png"},
        {"type": "image_generation_call", "result": whole, "output_format": "../x"},
        {"type": "image_generation_call", "result": whole, "output_format": "html"},
    ]
    ended(state, server, items=items)
    ran = bgresp("get", "--part", "images", "-o", "art.png")
    assert (0, "") == (ran.code, ran.out), ran.err
    wrote = {path.name: path.read_bytes() for path in tmp_path.glob("art*")}
    assert dict.fromkeys(("art-1.png", "art.png-2.bin", "art.png-3.bin"), PNG) == wrote
    assert not server.requests
