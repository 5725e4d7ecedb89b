"""A damaged ledger costs no second POST, and a person has a way on."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.ledger import last, records, seed
from tests.command import Run
from tests.fakeserver import FakeServer

OLD = Path(__file__).parent.parent / "data" / "state-v1"
BAD = b'{"v":1,"key":"01KDZZ","status":"queued","submit_key":"a","c":"00000000"}\n'


@pytest.fixture(name="damaged")
def _damaged(state: Path) -> Path:
    """Leave a ledger one closed line of which fails its checksum."""
    seed(state, {})
    with (state / "ledger.jsonl").open("ab") as file:
        file.write(BAD)
    return state


@pytest.fixture(name="row")
def _row(tmp_path: Path) -> str:
    (tmp_path / "m.jsonl").write_text('{"id": "r1", "text": "t"}\n')
    return "m.jsonl"


ASKED = (
    ("submit", "-t", "t", "--key", "a"),
    ("submit", "-t", "t", "--key", "b"),
    ("submit", "-t", "t", "--unique"),
    ("batch", "m.jsonl"),
)


@pytest.mark.usefixtures("row")
@pytest.mark.parametrize("argv", ASKED)
def test_nothing_is_sent_beside_a_line_that_cannot_be_read(
    server: FakeServer, bgresp: Run, damaged: Path, argv: tuple[str, ...]
) -> None:
    """What must not be sent twice waits until a person has seen the damaged line."""
    before = (damaged / "ledger.jsonl").read_bytes()
    ran = bgresp(*argv, "-m", "m")
    assert (1, "", 0) == (ran.code, ran.out, len(server.creates))
    assert "ledger.jsonl:2 cannot be read" in ran.err
    assert "bgresp doctor --fix" in ran.err
    assert before == (damaged / "ledger.jsonl").read_bytes()
    fixed = bgresp("doctor", "--fix")
    assert 0 == fixed.code
    shown = " ".join(fixed.out.split())
    assert (
        'ledger.jsonl:2 (the checksum does not match): {"v":1,"key":"01KDZZ"' in shown
    )
    assert f"1 line moved to {damaged / 'ledger.bad.jsonl'}" in shown
    assert BAD == (damaged / "ledger.bad.jsonl").read_bytes()
    assert before.removesuffix(BAD) == (damaged / "ledger.jsonl").read_bytes()
    assert (0, 1) == (bgresp(*argv, "-m", "m").code, len(server.creates))
    assert "ok\tledger" in bgresp("doctor").out


def test_a_plain_submit_minds_no_other_line(
    server: FakeServer, bgresp: Run, damaged: Path
) -> None:
    """A submit that depends on nothing earlier is not kept away."""
    ran = bgresp("submit", "-t", "t", "-m", "m")
    assert (0, 1) == (ran.code, len(server.creates))
    assert BAD in (damaged / "ledger.jsonl").read_bytes()


def test_a_torn_write_keeps_nobody_away(
    server: FakeServer, bgresp: Run, state: Path
) -> None:
    """The beginning of a record, which was never synced, does not count."""
    seed(state, {})
    with (state / "ledger.jsonl").open("ab") as file:
        file.write(b'{"v":1,"key":"01KDZZ","status":"subm')
    for key in ("a", "b"):
        assert 0 == bgresp("submit", "-t", "t", "-m", "m", "--key", key).code
    assert 2 == len(server.creates)


def _flipped(state: Path, word: bytes) -> None:
    """Take an older folder, and change every line that has a word."""
    shutil.copytree(OLD, state)
    count = 0
    for path in (state / "sealed").iterdir():
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines):
            if word in line:
                lines[number] = line.replace(b'"model":"gpt-5"', b'"model":"gpt-6"')
                count += 1
        path.write_bytes(b"\n".join(lines))
    assert count > 1
    for path in (state, *state.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


def test_a_key_whose_lines_are_damaged_is_not_sent_again(
    server: FakeServer, bgresp: Run, state: Path
) -> None:
    """A changed byte in the indexed part makes --key pay again."""
    _flipped(state, b'"nightly-12"')
    argv = ("submit", "-t", "t", "-m", "m", "--key")
    for _ in range(2):
        ran = bgresp(*argv, "nightly-12")
        assert (7, "", 0) == (ran.code, ran.out, len(server.creates))
        key = json.loads((state / "index" / "open").read_text())["last"][:10]
        assert f"bgresp resolve {key[:4]}" in ran.err
    [job] = [
        json.loads(line)
        for line in bgresp("list", "--all", "--jsonl").out.splitlines()
        if "cannot be read" in str(json.loads(line)["last_error"])
    ]
    assert 0 == bgresp("resolve", job["key"], "--abandon").code
    assert ("rejected", job["key"]) == (last(state)["status"], last(state)["key"])
    assert 0 == bgresp(*argv, "nightly-14").code  # it has its job
    assert 0 == len(server.creates)


def test_rows_whose_lines_are_damaged_are_not_sent_again(
    server: FakeServer, bgresp: Run, state: Path, tmp_path: Path
) -> None:
    """A `sed` of equal length makes a batch send its rows again, in silence."""
    _flipped(state, b'"row-15"')
    rows = [{"id": "row-15", "text": "t"}, {"id": "new", "text": "u"}]
    (tmp_path / "night.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    ran = bgresp("batch", "night.jsonl", "-m", "m")
    assert (7, ["u"]) == (ran.code, [seen.json["input"] for seen in server.creates])
    assert "may have been accepted" in ran.err


def test_an_accepted_record_is_not_hidden_by_a_newer_one(
    server: FakeServer, bgresp: Run, state: Path
) -> None:
    """A rejected record that came from elsewhere makes --key and batch pay again."""
    mine = {"submit_key": "k", "group": "m", "row": "r1", "status": "completed"}
    seed(state, mine, {**mine, "status": "rejected", "id": None})
    ran = bgresp("submit", "-t", "t", "-m", "m", "--key", "k")
    assert (0, records(state)[0]["id"]) == (ran.code, ran.out.strip())
    assert 0 == len(server.creates)
