"""Units of systemd as the topics have them, checked by systemd itself."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.command import DEADLINE


def complaints(folder: Path, units: Mapping[str, str], *, user: bool = True) -> str:
    """Return what systemd has to say of units: nothing where they are good.

    The program that they start is there, as `%h/.local/bin/bgresp`.
    """
    if shutil.which("systemd-analyze") is None:
        pytest.skip("apt-get install systemd")
    program = folder / ".local" / "bin" / "bgresp"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    for name, text in units.items():
        (folder / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", *["--user"] * user, "verify", *units],
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    said = done.stdout + done.stderr
    return said if said or done.returncode == 0 else f"exit {done.returncode}"
