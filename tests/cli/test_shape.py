"""The options that shape a request: what they send, and what is refused before."""

import base64
import json
from pathlib import Path

import pytest

from bgresp.cli.inputs import labels
from tests.cli.ledger import ident, last, picture
from tests.cli.processes import Each
from tests.command import Run
from tests.fakeserver import FakeServer

PNG = base64.b64decode("iVBORw0KGgo=")
SCHEMA = {"title": "My Person", "type": "object", "properties": {}}
FREDDY = """
[dialects.odd]
extends = "openai"
auth = { header = "X-Key", value = "{key}", env = "ODD_KEY", optional = true }
[dialects.odd.request]
replace = true
body = { inputs = [ { role = "user", texts = [ { text = "{text}" } ] } ] }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Fill a working folder with what options may name."""
    (tmp_path / "prompt.txt").write_text("Dear {{who}},\nwrite to {{ where }}.")
    (tmp_path / "photo.PNG").write_bytes(PNG)
    (tmp_path / "scan é.pdf").write_bytes(b"%PDF-\0\xff")
    (tmp_path / "logs.tar.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "plan.svg").write_text("<svg/>")
    (tmp_path / "unknown.xyzzy").write_bytes(b"?")
    (tmp_path / "empty").write_bytes(b"")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(50_000_001)  # a hole: no disk is used
    with (tmp_path / "half").open("wb") as file:
        file.truncate(25_000_001)
    (tmp_path / "person.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "a schema.json").write_text('{"type": "object"}')
    (tmp_path / "…").write_text('{"title": 1}')
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "deep.json").write_text('{"a":' * 201 + "1" + "}" * 201)
    config = tmp_path / "config" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(FREDDY)
    return tmp_path


def test_files_and_images_go_with_the_prompt(
    bgresp: Run, server: FakeServer, state: Path, folder: Path
) -> None:
    """A prompt with attachments is one message: the files, by their type, then the text.

    They are kept with the request, readable by the user alone.
    """
    files = ("photo.PNG", "scan é.pdf", "logs.tar.gz", "plan.svg", "unknown.xyzzy")
    urls = ("https://x.org/a%20b.JPG?v=1", "HTTP://x.org/paper")
    given = [word for item in (*files, *urls) for word in ("--attach", item)]
    ran = bgresp("submit", "-t", "What is this?", *given)
    assert (0, f"{ident(1)}\n", "") == (ran.code, ran.out, ran.err)
    (message,) = server.creates[0].json["input"]
    assert ("message", "user") == (message["type"], message["role"])

    def file(name: str, kind: str) -> dict[str, str]:
        data = base64.b64encode((folder / name).read_bytes()).decode()
        url = f"data:{kind};base64,{data}"
        return {"type": "input_file", "filename": name, "file_data": url}

    def image(url: str) -> dict[str, str]:
        return {"type": "input_image", "image_url": url, "detail": "auto"}

    assert [
        image("data:image/png;base64,iVBORw0KGgo="),
        file("scan é.pdf", "application/pdf"),
        file("logs.tar.gz", "application/gzip"),
        file("plan.svg", "image/svg+xml"),
        file("unknown.xyzzy", "application/octet-stream"),
        image("https://x.org/a%20b.JPG?v=1"),
        {"type": "input_file", "file_url": "HTTP://x.org/paper"},
        {"type": "input_text", "text": "What is this?"},
    ] == message["content"]
    kept = state / "requests" / f"{last(state)['key']}.json"
    assert (server.creates[0].body, 0o600) == (
        kept.read_bytes(),
        kept.stat().st_mode & 0o777,
    )
    two = bgresp("submit", "prompt.txt", "-", "--attach", "plan.svg", stdin="second")
    assert 0 == two.code
    texts = [seen.json["input"][0]["content"][1]["text"] for seen in server.creates[1:]]
    assert ["Dear {{who}},\nwrite to {{ where }}.", "second"] == texts
    gone = bgresp("submit", "-t", "x", "--attach", "plan.svg", "--no-keep-prompt")
    assert (0, 3) == (gone.code, len(list((state / "requests").iterdir())))


def test_an_attachment_beside_a_body(
    bgresp: Run, server: FakeServer, folder: Path
) -> None:
    """A raw body may leave the input to the attachments."""
    ran = bgresp("submit", "--body", '{"top_p": 1}', "--attach", "plan.svg")
    (message,) = server.creates[0].json["input"]
    assert (0, ["input_file"]) == (ran.code, [p["type"] for p in message["content"]])


def test_templates(bgresp: Run, server: FakeServer, folder: Path) -> None:
    """`{{name}}` is filled in prompt, system and body; without --var it is text."""
    names = ("--var", "who=Ana=B", "--var", "where={{who}}")
    body = '{"user": "{{who}}", "{{who}}": ["{{where}}", 1]}'
    ran = bgresp("submit", "prompt.txt", "-s", "Be {{who}}.", "--body", body, *names)
    assert (0, "") == (ran.code, ran.err)
    assert 0 == bgresp("submit", "prompt.txt", "-s", "Be {{who}}.").code
    assert 0 == bgresp("submit", "prompt.txt", "-", *names, stdin="none").code
    filled, plain, one, other = (seen.json for seen in server.creates)
    assert ("Dear Ana=B,\nwrite to {{who}}.", "Be Ana=B.") == (
        *(filled["input"], filled["instructions"]),
    )
    assert ("Ana=B", ["{{who}}", 1]) == (filled["user"], filled["{{who}}"])
    assert ("Be {{who}}.", filled["input"]) == (plain["instructions"], one["input"])
    assert "none" == other["input"]


def test_a_schema_and_tools(bgresp: Run, server: FakeServer, folder: Path) -> None:
    """--schema is a strict text.format named by its title or its file; tools are a list."""
    function = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    tools = ("--tool", "web_search", "--tool", json.dumps(function))
    for file in ("person.json", "a schema.json", "…"):
        ran = bgresp("submit", "-t", "x", "--schema", f"@{file}", *tools)
        assert (0, "") == (ran.code, ran.err)
    loose = ("--set", "text.format.strict=false", "--set", "text.verbosity=low")
    assert 0 == bgresp("submit", "-t", "x", "--schema", "@person.json", *loose).code
    *named, other = (seen.json for seen in server.creates)
    whole = {"type": "json_schema", "name": "My_Person", "schema": SCHEMA}
    assert {"format": {**whole, "strict": True}} == named[0]["text"]
    assert ["My_Person", "a_schema", "answer"] == [
        body["text"]["format"]["name"] for body in named
    ]
    assert [{"type": "web_search"}, function] == named[0]["tools"]
    assert {"format": {**whole, "strict": False}, "verbosity": "low"} == other["text"]


MISTAKES = [
    ("--attach nope.pdf", "--attach nope.pdf: no such file"),
    ("--attach config", "--attach config: is a directory"),
    ("--attach empty", "--attach empty: is empty"),
    ("--attach large", "the attachments are larger than 50 MB together"),
    ("--attach half --attach half", "--attach half: the attachments are larger than"),
    ("--attach -", "--attach -: stdin has no name"),
    ("--attach https://", "--attach 'https://': not a URL"),
    ("--attach http://[x/a", "--attach 'http://[x/a': not a URL"),
    ("--attach /proc/self/mem", "--attach /proc/self/mem: "),
    ("--tool a/b", "--tool takes NAME or a JSON object, not 'a/b'"),
    ('--tool {"name":"f"}', "--tool: the object needs a 'type'"),
    ("--tool {", "--tool: not JSON"),
    ("--schema person.json", "--schema takes @FILE, not 'person.json'"),
    ("--schema @nope", "--schema @nope: no such file"),
    ("--schema @broken.json", "--schema @broken.json: not JSON (Expecting"),
    ("--schema @list.json", "--schema @list.json: must be a JSON object"),
    ("--body @broken.json", "--body @broken.json: not JSON (Expecting"),
    ("--var a", "--var takes K=V, not 'a'"),
    ("--var a=1", "--var a: no text has {{a}}"),
    ("-s {{b}}{{a}} --var a=1", "{{b}} is not set (--var b=VALUE; or give no --var)"),
    ("--max-output-tokens 0", "--max-output-tokens takes 1 or more"),
    ('--body {"input":[]}', "the prompt and --body both give 'input'"),
    ("--set input=x", "the prompt and --set both give 'input'"),
    ('-m m --body {"model":"n"}', "--model and --body both give 'model'"),
    ("-m m --set model=n", "--model and --set both give 'model'"),
    ('-s s --body {"instructions":null}', "--system and --body both give"),
    ('--metadata a=b --body {"metadata":{}}', "--metadata and --body both give"),
    ('--schema @person.json --body {"text":{"format":{}}}', "give 'text.format'"),
    ("--schema @person.json --set text=1", "--schema and --set both give"),
    ("--tool t --set tools=[]", "--tool and --set both give 'tools'"),
    ("--metadata bgresp_key=k", "--metadata bgresp_key: the name is bgresp's own"),
    ("--set metadata.bgresp_key=k", "metadata 'bgresp_key': the name is bgresp's own"),
    (
        '--body {"metadata":{"bgresp_key":"k"}}',
        "'bgresp_key': the name is bgresp's own",
    ),
    ("--metadata a=1 --metadata a=2", "--metadata gives 'a' twice, with two values"),
    ("-l a=1 -l a=2", "-l gives 'a' twice, with two values"),
    ("--set a.b=1 --set a.b=true", "--set gives 'a.b' twice, with two values"),
    ("--body=", "--body: not JSON"),
    ('--body {"a":NaN}', "--body: not JSON (NaN is not JSON)"),
    ("--body @deep.json", "--body @deep.json: not JSON (nested deeper than 200)"),
    ("-s @- --schema @-", "stdin can be read once only"),
]


def test_a_mistake_is_refused_before_anything_is_sent(
    each: Each, server: FakeServer, folder: Path
) -> None:
    """Each is exit 2 and one line that names it; nothing is sent, nothing written."""
    before = {*picture(folder)}
    done = each(*(["submit", "-t", "hi", *words.split()] for words, _ in MISTAKES))
    for (words, said), ran in zip(MISTAKES, done, strict=True):
        assert (2, "", 1) == (ran.code, ran.out, ran.err.count("\n")), (words, ran)
        assert said in ran.err
    (ran,) = each(["submit", "-", "-s", "@-"])
    assert (2, True) == (ran.code, "stdin can be read once only" in ran.err)
    (ran,) = each(["submit", "-s", "@-"])
    assert (2, True) == (ran.code, "-t TEXT" in ran.err)
    assert ((), before) == (server.requests, {*picture(folder)})


CARRIED = [
    ("--attach plan.svg", "--attach"),
    ("--schema @person.json", "--schema"),
    ("--tool web_search", "--tool"),
    ("--max-output-tokens 5", "--max-output-tokens"),
    ("--previous resp_1", "--previous"),
    ("--metadata a=b", "--metadata"),
    ("-s s", "--system"),
]


def test_what_a_dialect_cannot_carry_is_refused_by_name(
    each: Each, server: FakeServer, folder: Path
) -> None:
    """Exit 5 before anything is sent, and the prompt alone still goes."""
    chosen = ("submit", "-p", "odd", "-t", "hi")
    done = each(*([*chosen, *words.split()] for words, _ in CARRIED), [*chosen])
    for (_, option), ran in zip(CARRIED, done[:-1], strict=True):
        said = f"bgresp: odd cannot carry {option} (--set and --body take "
        assert (5, "", True) == (ran.code, ran.out, ran.err.startswith(said)), ran
        assert 1 == ran.err.count("\n")
    (only,) = server.creates
    assert (0, [{"role": "user", "texts": [{"text": "hi"}]}]) == (
        *(done[-1].code, only.json["inputs"]),
    )


def test_a_label_that_is_typed_beats_the_usual_one() -> None:
    """BGRESP_LABELS takes the place of what -l says, or is forgotten beside it."""
    environ = {"BGRESP_LABELS": "team=red, site=b,"}
    assert {"team": "red", "site": "b"} == labels(environ, None)
    assert {"team": "blue", "site": "b"} == labels(environ, ["team=blue"])
