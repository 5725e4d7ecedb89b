"""What the core's tests share: the built-in dialects."""

import tomllib
from importlib.resources import files
from typing import Any

import pytest

from bgresp.core.dialect import Dialect
from bgresp.core.dialect_schema import build


@pytest.fixture(name="tables", scope="session")
def _tables() -> dict[str, Any]:
    text = files("bgresp").joinpath("dialects.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text)["dialects"])


@pytest.fixture(name="openai", scope="session")
def _openai(tables: dict[str, Any]) -> Dialect:
    return build("openai", tables)
