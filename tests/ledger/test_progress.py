"""How far a job was shown: the furthest watcher counts, whatever was torn."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bgresp.ledger.saved import Progress, Shown
from bgresp.ledger.saved import load_progress as load


def test_nothing_was_shown_where_nobody_wrote(tmp_path: Path) -> None:
    """A job nobody watched seems to have been shown."""
    assert Shown() == load(tmp_path / "none.jsonl")


def test_the_furthest_of_two_watchers_counts(tmp_path: Path) -> None:
    """A second watcher that is behind takes back what the first one showed."""
    path = tmp_path / "p.jsonl"
    first, second = Progress(path), Progress(path)
    first.note("The quick ", 4)
    second.note("The ", 3)
    first.note("brown fox", 6)
    second.note("quick ", 4)
    assert Shown("The quick brown fox", 6) == load(path)
    second.note("brown fox jumps", 7)
    assert Shown("The quick brown fox jumps", 7) == load(path)


def test_the_end_is_noted(tmp_path: Path) -> None:
    """A watcher that showed the end counts less than one that is further back."""
    path = tmp_path / "p.jsonl"
    progress = Progress(path)
    progress.begin(Shown("The ", 3))
    progress.note("end", 9)
    progress.end(7)
    assert Shown("The end", 9, ended=True) == load(path)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=6), st.data())
def test_a_cut_at_any_byte_shows_a_beginning(
    parts: list[str], data: st.DataObject
) -> None:
    """Notes cut anywhere tell of text that was not shown, or cannot be read."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.jsonl"
        progress = Progress(path)
        for number, part in enumerate(parts):
            progress.note(part, number)
        raw = path.read_bytes()
        path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
        found = load(path)
        assert "".join(parts).startswith(found.text)
        Progress(path).note("later", 99)
        assert len(load(path).text) >= len(found.text)


@given(st.binary(max_size=300))
def test_any_bytes_are_read(raw: bytes) -> None:
    """Some bytes in a progress file end in a traceback."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.jsonl"
        path.write_bytes(raw)
        load(path)
