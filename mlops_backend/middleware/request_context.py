"""The request's identity and record, from its first byte to its real end, streams included."""

from __future__ import annotations

import re
import uuid
from time import perf_counter
from typing import Final, TypeVar, cast

from quart import current_app, request

from mlops_backend.middleware.asgi import App, Message, Receive, Scope, Send
from mlops_backend.services.registry import Services
from mlops_backend.telemetry.logging import log_request
from mlops_backend.telemetry.record import RequestRecord

T = TypeVar("T")

_RECORD: Final = "mlops_backend.record"
_EXTENSION: Final = "mlops_backend.services"
_VALID_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_CLIENT_CLOSED: Final = 499


class RequestContext:
    """Gives each request its id and record; writes its one log line when everything has been sent."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = RequestRecord(id=_request_id(scope), method=scope["method"])
        scope[_RECORD] = record
        header = (b"x-request-id", record.id.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message = {**message, "headers": [*message["headers"], header]}
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            _finish(record)


def record() -> RequestRecord:
    """The record of the request at hand."""
    return record_of(cast(Scope, request.scope))


def record_of(scope: Scope) -> RequestRecord:
    """The record that `RequestContext` put into an ASGI scope."""
    return cast(RequestRecord, scope[_RECORD])


def service(kind: type[T]) -> T:
    """The application's service of class `kind`."""
    return services_of(current_app.extensions).get(kind)


def services_of(extensions: dict[str, object]) -> Services:
    """The services kept in an application's `extensions`, where `create_app` put them."""
    return cast(Services, extensions.setdefault(_EXTENSION, Services()))


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _VALID_ID.fullmatch(value):
            return cast(str, value.decode("ascii"))
    return uuid.uuid4().hex


def _finish(record: RequestRecord) -> None:
    if not record.status:
        record.status, record.outcome = _CLIENT_CLOSED, record.outcome or "client_gone"
    if not record.outcome:
        record.outcome = "done" if record.status < 400 else "refused" if record.status < 500 else "error"
    log_request(record.fields(perf_counter()))
