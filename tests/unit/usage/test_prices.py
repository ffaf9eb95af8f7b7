"""The list of prices: which one counts, and that nothing is rounded away."""

from __future__ import annotations

import pytest

from mlops_backend.services.other.usage.prices import MOST, PriceList, written
from tests.service import settings_for


def cost(prices: str, model: str, prompt: int = 1_000_000, completion: int = 0) -> str:
    """What a generation costs by a list as an operator writes it."""
    return written(PriceList(settings_for(prices=prices).prices).cost(model, prompt, completion))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("llama3.2:3b", "0.1"),
        ("LLAMA3.2:3b", "0.1"),
        ("llama3", "2"),
        ("library/llama3:latest", "2"),
        ("mistral:7b", "3"),
        ("gpt-oss", "4"),
        ("registry.example.com/team/other:1", "0"),
    ],
)
def test_the_first_pattern_that_fits_counts(model: str, expected: str) -> None:
    """Patterns are tried in the order written, on the model's canonical name, whose `:latest` may be left out."""
    assert cost("llama3.2:3b=0.10/0.40,llama3*=2/2,m*:7b=3/3,GPT-OSS:latest=4/4,m*=5/5", model) == expected


def test_prompt_and_completion_have_prices_of_their_own() -> None:
    """A million of each cost the two amounts; single tokens are counted to a billionth."""
    assert cost("*=0.10/0.40", "llama3", 1_000_000, 1_000_000) == "0.5"
    assert cost("*=0.10/0.40", "llama3", 1, 1) == "0.0000005"
    assert cost("*=0.001/0.4", "llama3", 1, 0) == "0.000000001"


def test_without_prices_everything_is_free() -> None:
    """An empty list makes every price 0."""
    assert cost("", "llama3") == "0"


def test_a_nonsensical_count_has_a_price_that_can_be_stored() -> None:
    """A million units are the most that one generation can cost."""
    assert PriceList(settings_for(prices="*=1000000/1000000").prices).cost("llama3", 10**12, 10**12) == MOST


def test_many_models_do_not_fill_the_memory() -> None:
    """What is remembered of names that clients made up has a bound."""
    prices = PriceList(settings_for(prices="llama3=1/1").prices)
    for number in range(3000):
        prices.cost(f"made-up-{number}", 1, 1)
    assert len(prices._prices._found) <= 1000
    assert prices.cost("llama3", 1_000_000, 0) == 10**9


@pytest.mark.parametrize("price", ["0/0", "1000000/1000000"])
def test_a_price_may_be_nothing_and_may_be_the_dearest(price: str) -> None:
    """Both bounds are prices."""
    assert settings_for(prices=f"m={price}").prices


@pytest.mark.parametrize("price", ["-0.1/0", "0/1000000.1", "NaN/1"])
def test_what_lies_beyond_is_refused(price: str) -> None:
    """With the variable's name."""
    with pytest.raises(ValueError, match="price"):
        settings_for(prices=f"m={price}")
