"""The operator's own names for models: what they stand for, and what cannot be written."""

from __future__ import annotations

import pytest

from mlops_backend.config import ConfigError, load_settings
from mlops_backend.services.llm.aliases import Aliases
from mlops_backend.services.llm.model_names import ByModel
from mlops_backend.services.llm.pins import Pin, Pins
from tests.settings import settings_for


def aliases_of(text: str) -> Aliases:
    """Those of `MODEL_ALIASES`."""
    return Aliases(settings_for(model_aliases=text).model_aliases)


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("gpt-4o", ("qwen3:8b",)),
        ("GPT-4o:latest", ("qwen3:8b",)),
        ("library/gpt-4o", ("qwen3:8b",)),
        ("gpt-4o:other", ()),
        ("smart", ("qwen3:32b", "llama3.3", "llama3.2")),
        ("claude-sonnet-4-5", ("qwen3:8b",)),
        ("claude-3:small", ("qwen3:8b",)),
        ("claude-mine", ("mine",)),
        ("llama3.2", ("llama3.2", "llama3.1")),
        ("qwen3:8b", ()),
        ("", ()),
    ],
)
def test_a_name_stands_for_its_models(name: str, models: tuple[str, ...]) -> None:
    """In any spelling that is the same model's to Ollama; an exact name counts before a pattern."""
    patterns = "claude-*=qwen3:8b,claude-mine=mine"
    aliases = aliases_of(f"gpt-4o=qwen3:8b,smart=qwen3:32b|llama3.3|llama3.2,{patterns},llama3.2=llama3.2|llama3.1")
    assert aliases.models(name) == models
    assert aliases.first(name) == (models[0] if models else name)


@pytest.mark.parametrize(
    ("share", "models"),
    [
        (0.0, ("old", "new", "newest")),
        (0.699, ("old", "new", "newest")),
        (0.7, ("new", "old", "newest")),
        (0.899, ("new", "old", "newest")),
        (0.9, ("newest", "old", "new")),
        (1.0, ("newest", "old", "new")),
    ],
)
def test_each_model_has_its_share(share: float, models: tuple[str, ...]) -> None:
    """Where its first choice cannot be had, a request goes to the others, those with more before those with less."""
    assert aliases_of("mine=old*7|new*2|newest*1").models("mine", lambda: share) == models


def test_names_are_listed_beside_what_they_stand_for() -> None:
    """As a copy of the first model that is there; patterns, and names of what is not there, are left out."""
    aliases = aliases_of("smart=absent|llama3,lost=absent,claude-*=llama3,llama3=llama3|other")
    listed = [{"name": "llama3:latest", "model": "llama3:latest", "size": 7}]
    assert aliases.listed(listed, "name") == [*listed, {"name": "smart", "model": "smart", "size": 7}]
    assert aliases.listed([{"id": "llama3"}], "id") == [{"id": "llama3"}, {"id": "smart"}]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a=b,b=c", "one of these names itself"),
        ("a=b:cloud", "cloud model"),
        ("a=b,library/a=c", "the same model's to Ollama"),
    ],
)
def test_what_would_mislead_stops_the_start(text: str, word: str) -> None:
    """It says which setting it is."""
    with pytest.raises(ConfigError, match=f"MODEL_ALIASES: .*{word}"):
        aliases_of(text)


def test_a_cloud_model_may_stand_behind_a_name_where_it_may_be_named() -> None:
    """As it may anywhere else then."""
    aliases = Aliases(settings_for(model_aliases="a=b:cloud").model_aliases, allow_cloud=True)
    assert aliases.models("a") == ("b:cloud",)


@pytest.mark.parametrize(
    "text",
    ["a", "a=", "=b", "a=b|", "a=b*0", "a=b*x", "a=b*1|c", "a=b|b", "a=b c", "a=b,A=c", "*=b,a=c", "a=b*", "a=x?"],
)
def test_a_name_that_cannot_be_used_names_its_setting(text: str) -> None:
    """Before anything is served."""
    with pytest.raises(ConfigError, match="MODEL_ALIASES: "):
        load_settings(None, model_aliases=text)


@pytest.mark.parametrize(
    ("model", "pin"),
    [
        ("llama3.2", Pin(8192, "24h")),
        ("LLAMA3.2:latest", Pin(8192, "24h")),
        ("qwen3:8b", Pin(16384, -1)),
        ("mistral", Pin(None, -1)),
    ],
)
def test_pins_go_by_patterns_of_models(model: str, pin: Pin) -> None:
    """The first that fits counts, and of one that none fits nothing is pinned."""
    settings = settings_for(pin_num_ctx="llama3.2=8192,qwen*=16384", pin_keep_alive="llama3.2=24h,*=-1")
    assert Pins(settings.pin_num_ctx, settings.pin_keep_alive).of(model) == pin
    assert Pins(settings.pin_num_ctx).of("mistral") is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pin_num_ctx", "llama3"),
        ("pin_num_ctx", "llama3=0"),
        ("pin_num_ctx", "llama3=4k"),
        ("pin_num_ctx", "=4096"),
        ("pin_num_ctx", "*=1,llama3=2"),
        ("pin_keep_alive", "llama3=soon"),
        ("pin_keep_alive", "llama3="),
        ("pin_keep_alive", "llama3=1h2"),
    ],
)
def test_a_pin_that_cannot_be_used_names_its_setting(name: str, text: str) -> None:
    """Before anything is served."""
    with pytest.raises(ConfigError, match=f"{name.upper()}: "):
        load_settings(None, **{name: text})


def test_many_names_do_not_fill_the_memory() -> None:
    """What is remembered of names that clients made up has a bound."""
    said = ByModel([("llama3", 1)])
    for number in range(3000):
        assert said.of(f"made-up-{number}") is None
    assert len(said._found) <= 1000
    assert said.of("llama3:latest") == 1


def test_long_names_do_not_fill_the_memory() -> None:
    """Whatever stands before the model that they mean."""
    said = ByModel([("llama3", 1)])
    assert said.of("x" * 1_000_000 + "://llama3") == 1
    assert not said._found
