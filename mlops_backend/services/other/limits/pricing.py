"""How many tokens a generation reserves."""

from __future__ import annotations

from mlops_backend.principal import Limits, Principal
from mlops_backend.services.other.limits.charge import MOST_TOKENS, Charge, prefix_of, whole_tokens
from mlops_backend.services.other.limits.decision import never


def price(
    principal: Principal, prompt_tokens: int, max_tokens: int | None, default_reserve: int, answers: int = 1
) -> Charge:
    """What to reserve: the prompt, and the output that the client named; less than zero names nothing.

    Output is never more than the smallest limit holds, whether it was named or not: a small one could not be used.

    Raises:
        LimitExceeded: no amount of waiting would make the prompt and a token of each answer fit.
    """
    limits = principal.limits
    holds, prefix = _capacities(limits), prefix_of(principal.id)
    wanted = wanted_output(max_tokens, default_reserve, answers)
    asked = whole_tokens(prompt_tokens + wanted)
    least = max(1, whole_tokens(prompt_tokens + min(wanted, answers)))
    for name, most in holds.items():
        if least > most:
            raise never(limits, name, f"it needs {least} tokens", prefix)
    if limits.concurrent is not None and limits.concurrent < 1:
        raise never(limits, "concurrent", "the key may generate nothing", prefix)
    tokens = max(least, min(asked, *holds.values(), MOST_TOKENS))
    return Charge(principal.id, limits, tokens, least, whole_tokens(prompt_tokens), asked)


def wanted_output(max_tokens: int | None, default_reserve: int, answers: int) -> int:
    """The output of all answers together, as it was named, or else as it is set aside for each."""
    return max_tokens if max_tokens is not None and max_tokens >= 0 else default_reserve * answers


def _capacities(limits: Limits) -> dict[str, int]:
    """What each limit on tokens can give at the very most."""
    holds: dict[str, int | None] = {
        "tokens": limits.tokens.burst if limits.tokens else None,
        "tokens_per_day": limits.tokens_per_day,
        "tokens_per_month": limits.tokens_per_month,
    }
    return {name: most for name, most in holds.items() if most is not None}
