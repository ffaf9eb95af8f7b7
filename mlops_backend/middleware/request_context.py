"""The request's identity and record, from its first byte to its real end, streams included."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from os import urandom
from time import perf_counter
from typing import Final, TypeVar, cast

from quart import Quart, Request, current_app, request

from mlops_backend.end_users import NAMING, PLAIN, EndUsers, of_headers
from mlops_backend.middleware.asgi import CLIENT_LEFT, App, Message, Receive, Scope, Send, is_readable, path_of
from mlops_backend.services.llm.dialects import dialect_of, dumped, error_object
from mlops_backend.services.registry import Services
from mlops_backend.telemetry.logging import log_request
from mlops_backend.telemetry.record import RequestRecord
from mlops_backend.telemetry.traces import NOBODY, PARENT, STATE, Traces

T = TypeVar("T")
Note = Callable[[RequestRecord, float], None]
Headers = Sequence[tuple[bytes, bytes]]

# Called once a generation is admitted, where the scope of its request has it.
ADMITTED: Final = "mlops_backend.admitted"
_RECORD: Final = "mlops_backend.record"
_EXTENSION: Final = "mlops_backend.services"
_ID: Final = b"x-request-id"
_SAID: Final = "mlops_backend.said"
_PRIORITY: Final = b"x-priority"
# What a client may want of its generation; others look for it, in `said_in`.
IDEMPOTENCY: Final = b"idempotency-key"
PREFERENCES: Final = b"prefer"
CACHE: Final = b"x-cache"
# All headers that are looked for here; most requests have none of them.
_READ: Final = frozenset({_ID, _PRIORITY, IDEMPOTENCY, PREFERENCES, CACHE, PARENT.encode(), STATE.encode(), *NAMING})
_VALID_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_CLIENT_CLOSED: Final = 499
_UNREADABLE: Final = "The request cannot be read: its target has no path, or its Host is none."


class RequestContext:
    """Gives each request its id and record; writes its one log line when everything has been sent.

    Args:
        app: what answers.
        keep: puts a generation into the ledger: its record, and `perf_counter()` seconds.
        count: counts every request, told in the same way.
        audit: notes how what is audited has ended, told in the same way.
        end_users: writes the names of those for whom clients ask.
        traces: is told of each request.
    """

    def __init__(
        self,
        app: App,
        keep: Note,
        count: Note,
        audit: Note,
        *,
        end_users: EndUsers = PLAIN,
        traces: Traces = NOBODY,
    ) -> None:
        self._app = app
        self._notes = keep, count, audit
        self._end_users = end_users
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = [header for header in scope["headers"] if header[0] in _READ]
        trace = self._traces.begin(said)
        record = RequestRecord(id=_request_id(said), method=scope["method"], batch=_is_batch(said), trace=trace)
        record.end_users, record.admitted = self._end_users, scope.get(ADMITTED)
        if named := of_headers(said):
            record.name_end_user(named)
        scope[_RECORD], scope[_SAID] = record, said
        header = (b"x-request-id", record.id.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message = {**message, "headers": [*message["headers"], header, *_told(record)]}
            else:
                record.bytes_out += len(message.get("body", b""))
            await send(message)

        try:
            await (self._app if is_readable(scope) else _refuse)(scope, receive, send_with_id)
        except Exception:
            record.status, record.outcome = record.status or 500, record.outcome or "error"
            raise
        finally:
            _finish(record, *self._notes)


def at_hand() -> Request:
    """The request at hand itself: each look at it through Quart's proxy costs five calls of functions."""
    return request._get_current_object()  # type: ignore[attr-defined, no-any-return]


def record() -> RequestRecord:
    """The record of the request at hand."""
    return record_of(cast(Scope, at_hand().scope))


def record_of(scope: Scope) -> RequestRecord:
    """The record that `RequestContext` put into an ASGI scope."""
    return cast(RequestRecord, scope[_RECORD])


def said_in(scope: Scope) -> Headers:
    """Those headers of a request that few requests have: `IDEMPOTENCY`, `PREFERENCES`, `CACHE` among them."""
    return cast(Headers, scope[_SAID])


def service(kind: type[T]) -> T:
    """The application's service of class `kind`."""
    app: Quart = current_app._get_current_object()  # type: ignore[attr-defined]
    return services_of(app.extensions).get(kind)


def services_of(extensions: dict[str, object]) -> Services:
    """The services kept in an application's `extensions`, where `create_app` put them."""
    if _EXTENSION not in extensions:
        extensions[_EXTENSION] = Services()
    return cast(Services, extensions[_EXTENSION])


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what Quart cannot be asked."""
    record = record_of(scope)
    record.error, record.client = "bad_request", (scope.get("client") or ("", 0))[0]
    body = dumped(error_object(dialect_of(path_of(scope)), 400, record.error, _UNREADABLE, record.id))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    # Hypercorn waits for who takes the body, and at the end for who takes that its stream is closed.
    taking = asyncio.ensure_future(_take_all(receive))
    try:
        await send({"type": "http.response.start", "status": 400, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
    finally:
        taking.cancel()


async def _take_all(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _request_id(headers: Headers) -> str:
    for name, value in headers:
        if name == _ID and _VALID_ID.fullmatch(value):
            return value.decode("ascii")
    return urandom(16).hex()


def _is_batch(headers: Headers) -> bool:
    """Whether the client says that it is in no hurry."""
    return any([name == _PRIORITY and value.strip().lower() == b"batch" for name, value in headers])


def _told(record: RequestRecord) -> list[tuple[bytes, bytes]]:
    told = [(name.lower().encode(), value.encode()) for name, value in record.answer_headers.items()]
    return [*told, (b"x-translated", record.translated.encode())] if record.translated else told


def _finish(record: RequestRecord, keep: Note, count: Note, audit: Note) -> None:
    left = CLIENT_LEFT.get()
    if left is not None and left.why:
        record.outcome, record.error = "timeout", left.why
    if not record.status:
        record.status, record.outcome = _CLIENT_CLOSED, record.outcome or "client_gone"
    if record.outcome == "done" and record.status >= 400:
        record.outcome = ""  # the backend's answer was whole, and not what it should have been
    if not record.outcome:
        record.outcome = "done" if record.status < 400 else "refused" if record.status < 500 else "error"
    now = perf_counter()
    # The bill first.
    if record.generates:
        _anyway(keep, record, now)
    for told in (count, audit, record.trace.end, _log):
        _anyway(told, record, now)


def _anyway(told: Note, record: RequestRecord, now: float) -> None:
    """Each part of an end stands alone: whatever becomes of one, the others happen."""
    try:
        told(record, now)
    except Exception:
        return


def _log(record: RequestRecord, now: float) -> None:
    log_request(record.fields(now))
