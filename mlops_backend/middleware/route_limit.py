"""A rate for one route: `@limit("5/minute")`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from quart import request

from mlops_backend.middleware.request_context import record, service
from mlops_backend.principal import Rate
from mlops_backend.services.other.limits import RouteLimiter, headers

P = ParamSpec("P")
T = TypeVar("T")


def limit(rate: str) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Let each principal call a route so often, and each address where no key is asked for.

    Stands directly above the function, below the routes' decorators and quart-schema's: only a body that fits counts.

    Args:
        rate: `5/minute`, or `60/hour burst 10`.

    Raises:
        ValueError: when the module is imported, for a rate that is written in another way.
    """
    parsed = Rate.parse(rate)

    def decorate(view: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @wraps(view)
        async def limited(*args: P.args, **kwargs: P.kwargs) -> T:
            noted = record()
            who = noted.caller.id if noted.caller is not None else f"address:{noted.client}"
            standings = await service(RouteLimiter).hit(who, request.endpoint or noted.route, parsed)
            noted.answer_headers = {**noted.answer_headers, **headers(standings)}
            return await view(*args, **kwargs)

        return limited

    return decorate
