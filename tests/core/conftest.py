"""What the core's tests share: the built-in dialects, and how hypothesis looks."""

import tomllib
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import settings

from bgresp.core.dialect import Dialect
from bgresp.core.tables import build

# The same examples each time: a failure is the change's, never the day's.
settings.register_profile("core", derandomize=True, deadline=None, max_examples=75)
settings.load_profile("core")


@pytest.fixture(name="tables", scope="session")
def _tables() -> dict[str, Any]:
    text = files("bgresp").joinpath("dialects.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text)["dialects"])


@pytest.fixture(name="openai", scope="session")
def _openai(tables: dict[str, Any]) -> Dialect:
    return build("openai", tables)
