"""The words that shells complete follow the ledger, and never say what it does not."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgresp.core.model import Job, Status
from bgresp.ledger import words
from bgresp.ledger.journal import append
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.line import encode

TEXT = st.text(min_size=1, max_size=8)
ACTS = st.sampled_from(
    ["accept", "die", "finish", "forget", "compact", "drop", "tear", "foreign"]
)


def submit(ledger: Ledger, id_: str | None, **more: object) -> Job:
    draft = Job(key="")._replace(**more)  # type: ignore[arg-type]
    with ledger.submitting(draft) as job:
        if id_ is None:
            return job
        return ledger.record(job._replace(id=id_, status=Status.QUEUED))


def said(ledger: Ledger) -> set[tuple[str, str]]:
    """Return the (kind, word) pairs of the file, which is well formed."""
    found: set[tuple[str, str]] = set()
    if not ledger.words.path.exists():  # nor is there a job
        return found
    for line in ledger.words.path.read_bytes().split(b"\n")[1:-1]:
        nothing, kind, word, _ = line.decode("utf-8").split("\t")
        assert "" == nothing
        if kind != "-":
            found.add((kind, word))
    return found


def own(ledger: Ledger) -> set[tuple[str, str]]:
    """Return what the ledger's jobs bring, without what they share."""
    lines = (line for job in ledger.newest() for line in words.lines(job))
    parts = (line.decode("utf-8").split("\t") for line in lines)
    return {(p[1], p[2]) for p in parts if p[1].encode() in words.OWN}


def suffer(ledger: Ledger, act: str) -> None:
    """Let an accident befall the files."""
    path = ledger.words.path
    if act == "foreign":  # another program appends
        job = Job(key="0" * 26, status=Status.QUEUED, id="f")
        append(ledger.path, encode(job))
    elif act == "drop":
        path.unlink(missing_ok=True)
    elif act == "tear" and path.exists():
        os.truncate(path, path.stat().st_size - 1)


@settings(max_examples=30)
@given(st.lists(st.tuples(ACTS, TEXT, st.none() | TEXT), max_size=8))
def test_they_follow_any_history(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[tuple[str, str, str | None]],
) -> None:
    """After accidents and whatever names, a word is missing or one too many."""
    state = tmp_path_factory.mktemp("state")
    ledger = Ledger(state, run_bytes=300, seal_bytes=600)
    submit(ledger, "first")
    for act, text, name in history:
        newest = next(ledger.newest(), None)
        if act == "accept":
            submit(ledger, f"id {text}", name=name, group=text, labels={text: "x"})
        elif act == "die":
            submit(ledger, None, name=name)
        elif act == "compact":
            ledger.compact()
        elif newest and act == "finish":
            ledger.record(newest._replace(id="done", status=Status.COMPLETED))
        elif newest and act == "forget":
            ledger.forget(newest)
        else:
            suffer(ledger, act)
    Ledger(state).tend_words()
    assert own(ledger) == {pair for pair in said(ledger) if pair[0] in "inu"}


def test_a_submit_leaves_them_right(tmp_path: Path) -> None:
    """The next shell must wait for another command before it knows an id."""
    ledger = Ledger(tmp_path)
    submit(ledger, "resp_1", name="n", group="g", model="m", labels={"k": "v"})
    lost = submit(ledger, None)
    shared = {("g", "g"), ("m", "m"), ("l", "k=v")}
    assert {("i", "resp_1"), ("n", "n"), ("u", lost.key), *shared} == said(ledger)
    before = ledger.words.path.stat()
    Ledger(tmp_path).tend_words()
    assert before == ledger.words.path.stat()
    assert 0o600 == before.st_mode & 0o777


def test_a_record_that_brings_no_word_adds_none(tmp_path: Path) -> None:
    """A poll makes the file longer."""
    ledger = Ledger(tmp_path)
    job = submit(ledger, "resp_1")
    size = ledger.words.path.stat().st_size
    for moment in range(5):
        ledger.record(job._replace(checked_at=float(moment), status=Status.IN_PROGRESS))
    assert size == ledger.words.path.stat().st_size
    ledger.record(job._replace(status=Status.COMPLETED))
    assert size < ledger.words.path.stat().st_size
    assert ["resp_1"] == sorted(set(ledger.words.near("i")))


def test_a_word_that_another_job_bears_stays(tmp_path: Path) -> None:
    """Forgetting one of two jobs of a name takes the name away."""
    ledger = Ledger(tmp_path)
    first = submit(ledger, "resp_1", name="twice")
    submit(ledger, "resp_2", name="twice")
    ledger.forget(first)
    assert {("i", "resp_2"), ("n", "twice")} == said(ledger)


def test_they_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file grows without end, or forgets the newest, or a group they bear."""
    monkeypatch.setattr(words, "MOST", 4096)
    ledger = Ledger(tmp_path)
    for number in range(200):
        submit(ledger, f"resp_{number}", group="night")
    assert ledger.words.path.stat().st_size < 4096 + 200
    found = said(ledger)
    assert {("i", "resp_199"), ("g", "night")} <= found
    assert ("i", "resp_0") not in found


def test_a_full_disk_costs_words_only(tmp_path: Path) -> None:
    """A file of words that cannot be written stops a submit."""
    ledger = Ledger(tmp_path)
    submit(ledger, "resp_1")
    ledger.words.path.unlink()
    ledger.words.path.mkdir()
    submit(ledger, "resp_2")
    Ledger(tmp_path).tend_words()
    assert ["resp_2", "resp_1"] == [job.id for job in ledger.newest()]
    assert [] == list(ledger.words.near("i"))


def test_reading_makes_no_words_where_nothing_was_written(tmp_path: Path) -> None:
    """A command that only reads leaves a file in a folder that is not bgresp's."""
    (tmp_path / "ledger.jsonl").write_bytes(encode(Job(key="K", status=Status.QUEUED)))
    Ledger(tmp_path).tend_words()
    assert ["ledger.jsonl"] == [path.name for path in tmp_path.iterdir()]


def test_profiles_are_kept_beside(tmp_path: Path) -> None:
    """A profile of the configuration is not offered, or makes a folder."""
    words.save_profiles(tmp_path / "index", ["work"])
    assert not (tmp_path / "index").exists()
    (tmp_path / "index").mkdir()
    for names in (["work"], ["work"], ["a b", "-x", "n\tl", ""]):
        words.save_profiles(tmp_path / "index", names)
    assert "\tp\ta b\t\n" == (tmp_path / "index" / "profiles").read_text()
