"""Without its extra, bgresp.celery says in one line what to install."""

import subprocess
import sys

import pytest

from tests.command import environment


@pytest.mark.parametrize("package", ["celery", "redis"])
def test_the_pip_line(package: str) -> None:
    """Importing bgresp.celery without the extra leaves a person to guess."""
    without = f"import sys; sys.modules[{package!r}] = None; import bgresp.celery"
    done = subprocess.run(
        [sys.executable, "-c", without],
        env=environment({}),
        capture_output=True,
        timeout=60,
        check=False,
    )
    said = done.stderr.decode().splitlines()
    assert 1 == done.returncode
    assert "pip install 'bgresp[celery]'" in said[-1]
    assert not any("During handling" in line or "above exc" in line for line in said)
