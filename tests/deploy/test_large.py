"""The settings of the page for what outgrows one machine are settings; the servers are asked by `make test-servers`."""

from __future__ import annotations

import pytest

from mlops_backend.setting_backends import read_backends
from tests.deploy.environment import settings_of
from tests.e2e.page_blocks import read_blocks


def test_the_file_of_vllms_is_one() -> None:
    """Both backends are read, with their bounds and weights, and their key from its variable."""
    text = read_blocks()["large-vllms"].text
    one, two = read_backends(text, "backends.toml", (), {"VLLM_KEY": "secret"}.__getitem__)
    assert one.key == two.key == "secret"
    assert (one.name, one.most, one.weight) == ("one", 64, 1)
    assert (two.name, two.most, two.weight) == ("two", 128, 2)


@pytest.mark.parametrize("name", ["large-stack", "large-ray"])
def test_the_settings_are_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is a setting with a value that the service takes, and names one backend of OpenAI's API."""
    lines = read_blocks()[name].text.splitlines()
    settings = settings_of(dict(line.split("=", 1) for line in lines), monkeypatch)
    assert settings.max_concurrency
    assert len(settings.openai_backends) == 1
