"""What a generation costs, by the list of prices that the operator wrote."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

from mlops_backend.principal import Price
from mlops_backend.services.llm.model_names import canonical

MOST: Final = 10**15
_REMEMBERED: Final = 1000
_BILLION: Final = 10**9


class PriceList:
    """Prices by model; of the patterns that fit a name, the one written first counts.

    Args:
        prices: pattern as the shell's, of a model's canonical name or of the name as it is -> price.
    """

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = [(pattern.lower(), price) for pattern, price in prices.items()]
        self._found: dict[str, Price | None] = {}

    def cost(self, model: str, prompt_tokens: int, completion_tokens: int) -> int:
        """Billionths of the currency's unit; 0 for a model that has no price, and never more than a million units."""
        price = self._price_of(model) if self._prices else None
        return min(price.of(prompt_tokens, completion_tokens), MOST) if price else 0

    def _price_of(self, model: str) -> Price | None:
        if model not in self._found:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[model] = self._find(model)
        return self._found[model]

    def _find(self, model: str) -> Price | None:
        name = canonical(model)
        names = (name, name.removesuffix(":latest"))
        for pattern, price in self._prices:
            if any(fnmatchcase(spelling, pattern) for spelling in names):
                return price
        return None


def written(billionths: int) -> str:
    """A price as a decimal number without an exponent: `0.000125`, `3`."""
    units, rest = divmod(billionths, _BILLION)
    return f"{units}.{rest:09}".rstrip("0").rstrip(".") if rest else str(units)
