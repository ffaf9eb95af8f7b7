"""Metrics at a port of their own: there is nothing else there, and they are nowhere else."""

from __future__ import annotations

from typing import Final

from quart import Quart

from mlops_backend.errors import NotFound
from mlops_backend.middleware.request_context import at_hand

_ROUTE: Final = "/metrics"


def keep_metrics_apart(app: Quart, port: int) -> None:
    """From now on `/metrics` is served at `port` alone, and nothing else is.

    The route that was matched counts, whatever way a path led there; who may use it is asked before.
    """

    @app.before_request
    async def look_at_port() -> None:
        asked = at_hand()
        rule = asked.url_rule.rule if asked.url_rule is not None else ""
        at_theirs = (asked.scope.get("server") or ("", None))[1] == port
        if at_theirs != (rule == _ROUTE):
            raise NotFound("There is no such route at this port.")
