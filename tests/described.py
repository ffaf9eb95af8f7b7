"""Whether what the service answers stands in its description: looked at in every test that serves it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from quart import Quart
from werkzeug.exceptions import HTTPException

from mlops_backend.app import create_app
from mlops_backend.middleware.asgi import App, Message, Receive, Scope, Send
from tests.settings import settings_for

# What the routes of others answer is relayed byte for byte: a backend may say any type.
_RELAYED: Final = "5XX"
_UNDESCRIBED: Final = frozenset({"HEAD", "OPTIONS"})


@cache
def description() -> Mapping[str, Any]:
    """The document that every service of these tests has."""
    return description_of(create_app(settings_for()))


def description_of(app: Quart) -> Mapping[str, Any]:
    """The document of one application."""
    document: Mapping[str, Any] = app.extensions["QUART_SCHEMA"].openapi_provider.schema()
    return document


class Watched:
    """An application whose answers are compared with the description.

    Attributes:
        surprises: what was answered and does not stand there.
    """

    def __init__(self, app: Quart) -> None:
        self._app = app
        self._asgi: App = app  # type: ignore[assignment]
        self.surprises: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""

        async def look_and_send(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["method"] not in _UNDESCRIBED:
                self._look(scope["method"], scope["path"], message)
            await send(message)

        await self._asgi(scope, receive, look_and_send)

    def _look(self, method: str, path: str, message: Message) -> None:
        operation = self._operation(method, path)
        if operation is None:
            return
        status, media_type = message["status"], _media_type(message)
        if (surprise := surprise_of(operation, status, media_type)) is not None:
            self.surprises.append(f"{method} {path}: {surprise}")

    def _operation(self, method: str, path: str) -> Mapping[str, Any] | None:
        try:
            rule, _ = self._app.url_map.bind("localhost").match(path, method, return_rule=True)
        except HTTPException:
            return None
        described = re.sub(r"<(?:[^:>]*:)?([^>]+)>", r"{\1}", rule.rule)
        operation: Mapping[str, Any] | None = description()["paths"].get(described, {}).get(method.lower())
        return operation


def surprise_of(operation: Mapping[str, Any], status: int, media_type: str) -> str | None:
    """What of an answer the description of its operation does not tell."""
    responses = operation["responses"]
    response = responses.get(str(status)) or responses.get(f"{status // 100}XX")
    if response is None:
        return f"status {status} is not described"
    if _RELAYED in responses:
        return None
    content = _resolved(response).get("content", {})
    if media_type not in content and (media_type or content):
        return f"status {status} comes as {media_type!r}, which is not described"
    return None


def _resolved(response: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in response:
        return response
    found: Mapping[str, Any] = description()["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return found


def _media_type(message: Message) -> str:
    headers: Mapping[bytes, bytes] = {name.lower(): value for name, value in message.get("headers", ())}
    return headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
