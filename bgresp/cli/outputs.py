"""Answers into files: temp and rename, never over what is there, never through a link.

Raises OutputError.
"""

import os
import tempfile
from pathlib import Path

from bgresp.core.errors import OutputError
from bgresp.render.streams import PIECE, Streams


def print_text(streams: Streams, text: str | None) -> None:
    """Write an answer to stdout, with a newline at its end; nothing of no text."""
    if text:
        streams.answer(text)
        if not text.endswith("\n"):
            streams.answer("\n")


def write_file(path: Path, text: str, *, force: bool, hint: str = "") -> None:
    """Write an answer to a file whole, or not at all.

    Without `force` the name must be free when the answer is ready: a link is as much
    in the way as a file. `hint` says where the answer is if that fails.
    """
    temp: str | None = None
    try:
        fd, temp = tempfile.mkstemp(prefix=".bgresp-", dir=path.parent)
        with os.fdopen(fd, "wb") as file:
            for start in range(0, len(text), PIECE):
                piece = text[start : start + PIECE]
                file.write(piece.encode("utf-8", "backslashreplace"))
            if text and not text.endswith("\n"):
                file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
        if force:
            Path(temp).replace(path)
        else:
            os.link(temp, path)
            Path(temp).unlink()
    except FileExistsError:
        message = f"{path} appeared meanwhile and was not touched"
        raise OutputError(message, hint=hint) from None
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}"
        raise OutputError(message, hint=hint) from error
    finally:
        if temp is not None:
            Path(temp).unlink(missing_ok=True)
