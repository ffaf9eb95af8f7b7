"""What the service makes of an environment that a file of `deploy` gives it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

import pytest

from mlops_backend.config import Settings, load_settings
from tests.e2e.processes import REPOSITORY

_OF_THE_IMAGE: Final = re.compile(r"^ENV (DATABASE_URL)=(.*)$", re.MULTILINE)


def of_the_image() -> dict[str, str]:
    """The settings that the image itself names."""
    found = _OF_THE_IMAGE.findall((REPOSITORY / "Dockerfile").read_text("utf-8"))
    assert found
    return dict(found)


def settings_of(variables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a service that has these variables and no others; each of them is a setting."""
    for name in os.environ:
        if name.upper().removesuffix("_FILE").lower() in Settings.model_fields:
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert {name.removesuffix("_FILE").lower() for name in variables} <= set(Settings.model_fields)
    return load_settings(None)


def without_driver(address: str) -> str:
    """A database's address as the operator wrote it."""
    return re.sub(r"^(\w+)\+\w+:", r"\1:", address)
