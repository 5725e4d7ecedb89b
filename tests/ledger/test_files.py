"""Files reach the disk by the best call that the system has."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bgresp.ledger import files

Sync = Callable[[int], None]
# Of fcntl's commands one that does nothing and says so, and one that no file has.
DOES = fcntl.F_GETFD
IS_NONE = 1 << 20


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    """Open a file to sync."""
    opened = files.open_append(tmp_path / "file")
    yield opened
    with suppress(OSError):  # a test closed it
        os.close(opened)


@pytest.fixture(params=[files.sync, files.sync_data])
def sync(request: pytest.FixtureRequest) -> Sync:
    """Choose one of the two ways to sync."""
    chosen: Sync = request.param
    return chosen


def test_the_better_sync_of_macos_is_enough(
    fd: int, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where F_FULLFSYNC works a weaker call is made, and there is no fdatasync."""
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", DOES, raising=False)
    monkeypatch.delattr(os, "fdatasync", raising=False)
    monkeypatch.delattr(os, "fsync")
    sync(fd)


def test_a_file_system_without_it_is_synced_as_well_as_it_can(
    fd: int, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share that refuses F_FULLFSYNC takes no write at all."""
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", IS_NONE, raising=False)
    monkeypatch.delattr(os, "fdatasync", raising=False)
    sync(fd)
    monkeypatch.delattr(os, "fsync")
    with pytest.raises(AttributeError, match="fsync"):
        sync(fd)


def test_a_sync_that_failed_is_not_repeated(
    fd: int, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed F_FULLFSYNC a second sync says that all is well."""
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", DOES, raising=False)
    monkeypatch.delattr(os, "fdatasync", raising=False)
    os.close(fd)
    with pytest.raises(OSError, match="descriptor") as raised:
        sync(fd)
    assert errno.EBADF == raised.value.errno


def test_a_system_with_neither_is_synced(
    fd: int, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is neither fdatasync nor F_FULLFSYNC nothing can be written."""
    monkeypatch.delattr(os, "fdatasync", raising=False)
    monkeypatch.delattr(fcntl, "F_FULLFSYNC", raising=False)
    sync(fd)


@pytest.mark.parametrize("makes", [Path.touch, lambda path: path.symlink_to("x")])
def test_a_file_that_must_be_new_replaces_none(
    tmp_path: Path, makes: Callable[[Path], object]
) -> None:
    """What came under the name meanwhile stays, a link too, and nothing is left over."""
    path = tmp_path / "answer.md"

    def pieces() -> Iterator[bytes]:
        yield b"an answer"
        makes(path)

    with pytest.raises(FileExistsError):
        files.write_whole(path, pieces(), exclusive=True)
    assert [path] == [*tmp_path.iterdir()]
    assert path.is_symlink() or b"" == path.read_bytes()
    path.unlink()
    files.write_whole(path, [b"an ", b"answer"], exclusive=True)
    assert b"an answer" == path.read_bytes()
