"""What a generation costs, by the list of prices that the operator wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mlops_backend.principal import Price
from mlops_backend.services.llm.model_names import ByModel

MOST: Final = 10**15
_BILLION: Final = 10**9


class PriceList:
    """Prices by model; of the patterns that fit a name, the one written first counts.

    Args:
        prices: pattern as the shell's, of a model's canonical name or of the name as it is -> price.
    """

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = ByModel(prices.items())

    def cost(self, model: str, prompt_tokens: int, completion_tokens: int) -> int:
        """Billionths of the currency's unit; 0 for a model that has no price, and never more than a million units."""
        price = self._prices.of(model)
        return min(price.of(prompt_tokens, completion_tokens), MOST) if price else 0


def written(billionths: int) -> str:
    """A price as a decimal number without an exponent: `0.000125`, `3`."""
    units, rest = divmod(billionths, _BILLION)
    return f"{units}.{rest:09}".rstrip("0").rstrip(".") if rest else str(units)
