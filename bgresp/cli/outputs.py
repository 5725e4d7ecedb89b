"""Answers into files: temp and rename, never over what is there, never through a link.

Raises OutputError.
"""

import os
import tempfile
from pathlib import Path

from bgresp.core.errors import OutputError


def write_file(path: Path, text: str, *, force: bool) -> None:
    """Write an answer to a file whole, or not at all.

    Without `force` the name must be free when the answer is ready: a link is as much
    in the way as a file.
    """
    data = text.encode("utf-8", "backslashreplace")
    if text and not text.endswith("\n"):
        data += b"\n"
    temp: str | None = None
    try:
        fd, temp = tempfile.mkstemp(prefix=".bgresp-", dir=path.parent)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if force:
            Path(temp).replace(path)
        else:
            os.link(temp, path)
            Path(temp).unlink()
    except FileExistsError:
        raise OutputError(f"{path} appeared meanwhile and was not touched") from None
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        if temp is not None:
            Path(temp).unlink(missing_ok=True)
