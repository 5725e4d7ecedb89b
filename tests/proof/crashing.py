"""What a warmed process's forks run for T17: a command into which an exception falls."""

import errno
import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Final

import bgresp
from bgresp.cli.main import run

OURS: Final = str(Path(bgresp.__file__).parent)
KINDS: Final = {
    "RuntimeError": RuntimeError("injected"),
    "OSError": OSError(errno.EIO, os.strerror(errno.EIO)),
    "MemoryError": MemoryError(),
    "ValueError": ValueError("injected"),
}


def crash(kind: str, line: str, count: str, *argv: str) -> int:
    """Run a command, and raise when so many lines of ours have run; count them."""
    fault, left, done = KINDS[kind], int(line), 0

    def each_line(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal done
        if event == "line":
            done += 1
            if done == left:
                raise fault
        return each_line

    def each_call(frame: FrameType, event: str, arg: Any) -> Any:
        return each_line if frame.f_code.co_filename.startswith(OURS) else None

    sys.settrace(each_call)
    try:
        return run(list(argv))
    finally:
        sys.settrace(None)
        if count:
            Path(count).write_text(str(done))
