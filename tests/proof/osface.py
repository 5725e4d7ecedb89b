"""The operating system's face: every call below a folder, told to a listener.

The functions of `os` themselves are replaced, so that pathlib and tempfile go
through here too; what C code opens (Path.open) does not, which only reads.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BY_FD = ("write", "fsync", "fdatasync", "pread", "fstat", "fchmod", "ftruncate")
BY_PATH = ("open", "mkdir", "unlink", "truncate", "chmod", "stat", "scandir")
BY_PATHS = ("replace", "rename")
CALLS = (*BY_FD, *BY_PATH, *BY_PATHS)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the operating system, not made yet."""

    name: str
    path: Path
    args: tuple[Any, ...]
    make: Callable[[], Any]
    function: Callable[..., Any]


Listener = Callable[[Call], Any]


@contextmanager
def watched(folder: Path, listener: Listener) -> Iterator[None]:
    """Send every call below a folder through a listener, which makes it or fails it."""
    found = {name: getattr(os, name) for name in CALLS}
    for name, function in found.items():
        setattr(os, name, _wrapped(name, function, folder, listener))
    try:
        yield
    finally:
        for name, function in found.items():
            setattr(os, name, function)


def _wrapped(
    name: str,
    function: Callable[..., Any],
    folder: Path,
    listener: Listener,
) -> Callable[..., Any]:
    busy: list[bool] = []

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        path = _path(args[0]) if args else None
        if busy or path is None or not path.is_relative_to(folder):
            return function(*args, **kwargs)
        busy.append(True)
        try:
            return listener(
                Call(name, path, args, lambda: function(*args, **kwargs), function)
            )
        finally:
            busy.pop()

    return wrapper


def _path(first: Any) -> Path | None:
    """Return the path that an argument means: a descriptor's is the kernel's word."""
    if isinstance(first, int):
        try:
            name = os.readlink(f"/proc/self/fd/{first}")  # noqa: PTH115  once, and fast
        except OSError:
            return None
        return Path(name.removesuffix(" (deleted)"))
    try:
        return Path(os.fsdecode(first))
    except TypeError:
        return None
