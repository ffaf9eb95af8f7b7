"""Quart, without what it finds out anew at each request though it does not change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, Final

from quart import Quart
from quart.routing import QuartRule
from quart.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter

from mlops_backend.middleware.exchange import Exchange
from mlops_backend.middleware.json_body import JSONRequest
from mlops_backend.openapi import complete_models

# Hooks, views and handlers; there are some hundred.
_FUNCTIONS: Final = 2048


class NoSessions(SessionInterface):
    """Nobody has a session: there are no cookies here, and nothing is looked for."""

    async def open_session(self, *_: object) -> NullSession:
        """The same for everybody; it cannot be written to."""
        return _NONE


_NONE: Final = NullSession()


class Rule(QuartRule):
    """A route whose builder of addresses is compiled when one is first asked for, which nobody here does.

    Werkzeug 3 compiles two for each route when it is added: half of what it takes to make the application.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compiled = super()._compile_builder

        def build(rule: Rule, /, **values: Any) -> tuple[str, str]:
            made: Callable[..., tuple[str, str]] = compiled(append_unknown).__get__(rule)
            setattr(rule, "_build_unknown" if append_unknown else "_build", made)
            return made(**values)

        return build


class Application(Quart):
    """The application's class; what it answers is Quart's."""

    url_rule_class = Rule
    request_class = JSONRequest
    asgi_http_class = Exchange
    session_interface = NoSessions()  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        super().__init__(name, static_folder=None)
        # Whether a function is asynchronous is asked of `inspect` four times a request.
        self.ensure_async = lru_cache(_FUNCTIONS)(self._prepared)  # type: ignore[method-assign]

    def create_url_adapter(self, request: Any) -> MapAdapter | None:
        """The routes for a request: none hangs on its `Host`, which was looked at before; no address is made of it."""
        if request is None or self.config["SERVER_NAME"] is not None:
            return super().create_url_adapter(request)
        root, query = request.root_path or "/", request.query_string.decode()
        return MapAdapter(self.url_map, "", root, "", request.scheme, request.path, request.method, query)

    def _prepared(self, function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        """A hook, a view or a handler, when it is first called."""
        complete_models(function)
        return super().ensure_async(function)
