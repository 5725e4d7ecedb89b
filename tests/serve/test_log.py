"""The event log by itself: readers that wait, and a file that was cut."""

import asyncio
from pathlib import Path

import pytest

from bgresp.serve.log import EventLog, read


def test_a_silent_log_shows_that_it_lives(tmp_path: Path) -> None:
    """A reader of a quiet log gets signs of life, then the next event, then the end."""

    async def scene() -> None:
        log = EventLog(tmp_path / "log")
        log.append({"type": "a"})
        seen = log.follow(-1, quiet=0.001)
        first = await anext(seen)
        assert first is not None
        assert b'event: a\ndata: {"type":"a","sequence_number":0}\n\n' == first.frame()
        assert await anext(seen) is None
        log.append({"type": "b"})
        log.close()
        rest = [event async for event in seen if event is not None]
        assert ["b"] == [event.type for event in rest]

    asyncio.run(scene())


def test_many_readers_see_every_event(tmp_path: Path) -> None:
    """Readers that begin anywhere, at any time, miss nothing and repeat nothing."""

    async def scene() -> None:
        log = EventLog(tmp_path / "log")

        async def reader(after: int) -> list[str]:
            return [event.type async for event in log.follow(after) if event]

        readers = [asyncio.ensure_future(reader(after)) for after in range(-1, 30)]
        for number in range(30):
            log.append({"type": str(number)})
            await asyncio.sleep(0)
        log.close()
        for after, got in zip(range(-1, 30), readers, strict=True):
            assert [str(n) for n in range(after + 1, 30)] == await got

    asyncio.run(scene())


@pytest.mark.parametrize("cut", range(0, 100, 7))
def test_a_cut_file_keeps_its_whole_lines(tmp_path: Path, cut: int) -> None:
    """However a crash cuts the file, what is read is a beginning of the events."""
    path = tmp_path / "log"
    log = EventLog(path)
    log.append(*({"type": str(n)} for n in range(5)))
    log.close()
    whole = read(path)
    path.write_bytes(path.read_bytes()[:cut])
    part = read(path)
    assert whole[: len(part)] == part
    assert path.read_bytes().count(b"\n") == len(part)


def test_no_file_is_no_events(tmp_path: Path) -> None:
    """A job without a file of events has none."""
    assert [] == read(tmp_path / "none")
