"""How many tokens a generation reserves."""

from __future__ import annotations

from mlops_backend.principal import Limits, Principal
from mlops_backend.services.other.limits.charge import MOST_TOKENS, Charge, whole_tokens
from mlops_backend.services.other.limits.decision import never


def price(principal: Principal, prompt_tokens: int, max_tokens: int | None, default_reserve: int) -> Charge:
    """What to reserve: the prompt and the output that the client named; less than zero names nothing.

    Output that the client did not name is never more than the smallest limit holds: a small one could not be used.

    Raises:
        LimitExceeded: no amount of waiting would make it fit.
    """
    limits = principal.limits
    holds = _capacities(limits)
    if max_tokens is not None and max_tokens >= 0:
        tokens = prompt_tokens + max_tokens
    else:
        tokens = max(prompt_tokens, min(prompt_tokens + default_reserve, *holds.values(), MOST_TOKENS))
    tokens = max(1, whole_tokens(tokens))
    for name, most in holds.items():
        if tokens > most:
            raise never(limits, name, f"it asks for {tokens} tokens")
    if limits.concurrent is not None and limits.concurrent < 1:
        raise never(limits, "concurrent", "the key may generate nothing")
    return Charge(principal.id, limits, tokens)


def _capacities(limits: Limits) -> dict[str, int]:
    """What each limit on tokens can give at the very most."""
    holds: dict[str, int | None] = {
        "tokens": limits.tokens.burst if limits.tokens else None,
        "tokens_per_day": limits.tokens_per_day,
        "tokens_per_month": limits.tokens_per_month,
    }
    return {name: most for name, most in holds.items() if most is not None}
