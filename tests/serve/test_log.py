"""The event log by itself: readers that wait, and a file that was cut."""

import asyncio
import json
import resource
from pathlib import Path
from typing import Any

import pytest

from bgresp.serve.store import Event, EventLog, numbered, replay


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


def test_readers_that_lag_read_the_file(tmp_path: Path) -> None:
    """An answer of any length is in memory by its end alone, and followed from anywhere."""

    async def scene() -> None:
        log = EventLog(tmp_path / "log")
        log.append({"type": "n"})
        early = log.follow(-1)
        assert await anext(early)
        for _ in range(2000):
            log.append({"type": "n", "text": "x" * 1000})
        assert len(log._recent) < 300
        for after in (-1, 0, 7, 1500, 1999, 2000):
            seen = log.follow(after)
            for number in range(after + 1, min(after + 200, 2001)):
                event = await anext(seen)
                assert event is not None
                assert number == json.loads(event.data)["sequence_number"]
            await aclose(seen)
        log.close()
        rest = [json.loads(e.data)["sequence_number"] async for e in early if e]
        assert list(range(1, 2001)) == rest
        assert -1 == log._handle
        late = [event async for event in log.follow(1990)]
        assert 10 == len(late)

    asyncio.run(scene())


async def aclose(seen: Any) -> None:
    await seen.aclose()


@pytest.mark.parametrize("cut", range(0, 220, 7))
def test_a_cut_file_keeps_its_whole_lines(tmp_path: Path, cut: int) -> None:
    """However a crash cuts the file, what is read is a beginning of the events.

    Opened again it is mended, and goes on with the next number.
    """
    path = tmp_path / "log"
    log = EventLog(path)
    log.append(*({"type": f"response.a{n}"} for n in range(5)))
    log.close()
    whole = list(replay(path, -1))
    path.write_bytes(path.read_bytes()[:cut])
    part = list(replay(path, -1))
    assert whole[: len(part)] == part
    log = EventLog(path)
    assert len(part) == len(log)
    log.append({"type": "response.next"})
    log.close()
    assert [*part, (len(part), log_event("response.next", len(part)))] == list(
        replay(path, -1)
    )


def log_event(kind: str, number: int) -> Event:
    return numbered({"type": kind}, number)


def test_a_write_that_fails_half_way_is_taken_back(tmp_path: Path) -> None:
    """A disk that takes half of an event keeps none of it; the last one is in memory."""

    async def scene() -> None:
        log = EventLog(tmp_path / "log")
        log.append({"type": "response.a"})
        size = log.size
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))
        try:
            with pytest.raises(OSError, match="too large"):
                log.append({"type": "response.b", "text": "x" * 100})
            assert size == (tmp_path / "log").stat().st_size
            with pytest.raises(OSError, match="too large"):
                log.append_last({"type": "response.completed"})
            log.close()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        seen = [event.type async for event in log.follow(-1) if event]
        assert ["response.a", "response.completed"] == seen
        assert [0] == [number for number, _ in replay(tmp_path / "log", -1)]

    asyncio.run(scene())


def test_no_file_is_no_events(tmp_path: Path) -> None:
    """A job without a file of events has none."""
    assert [] == list(replay(tmp_path / "none", -1))
