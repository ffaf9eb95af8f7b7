"""What the drop-in routes share: a client's request as it will be sent on, and a backend's answer as it came."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import replace
from typing import Final, cast
from urllib.parse import quote

from quart import Request, Response, current_app
from quart.wrappers.response import DataBody
from werkzeug.datastructures import Headers

from mlops_backend.aside import LARGE, aside
from mlops_backend.errors import NotFound
from mlops_backend.json_values import check_values
from mlops_backend.middleware.asgi import STRAIGHT, Scope
from mlops_backend.middleware.body_limit import body_of
from mlops_backend.middleware.body_stream import body_stream_of
from mlops_backend.middleware.compressed_body import plain_body
from mlops_backend.middleware.request_context import at_hand, record, service
from mlops_backend.middleware.signs_of_life import wants_signs, with_signs
from mlops_backend.services.llm.asked import Asked, Task, read_asked
from mlops_backend.services.llm.generation import Forwarded
from mlops_backend.services.llm.ollama_service import OllamaService
from mlops_backend.services.llm.upstream import Pairs, for_backend

_LENGTH: Final = "content-length"
# Instead of none, to which a response would add a type; the backend's headers take their place.
_NAMELESS: Final = Headers([("Content-Type", "")])
_STREAM_HEADERS: Final = (("X-Accel-Buffering", "no"), ("Cache-Control", "no-cache"))


async def forward(task: Task, path: str = "") -> Response:
    """Ask a backend what the client asked: its bytes in, the backend's bytes out.

    Args:
        task: what the route does.
        path: the path to ask, made from the matched route and its values; left out, it is the route's own.

    Raises:
        AppError: whatever kept the answer away.
    """
    return await answer(await asked_by(task, path))


async def asked_by(task: Task, path: str = "") -> Asked:
    """The request at hand, read as far as authorisation, routing and metering need it."""
    asked = at_hand()
    content = await _body_of(asked)
    read = (task, asked.method, path or _route_of(asked), _headers_of(asked), content)
    if len(content) <= LARGE:
        return read_asked(*read)
    await check_large(content)
    return await aside(len(content), read_asked, *read)


async def check_large(content: bytes) -> None:
    """See that a large body, where it is JSON, has no more values than may be.

    Raises:
        InvalidJSON: it has more.
    """
    await aside(len(content), check_values, content, current_app.config["MAX_JSON_VALUES"])


async def answer(asked: Asked, whole: Callable[[int, bytes], Awaitable[bytes]] | None = None) -> Response:
    """The backend's answer to `asked`; `whole` makes the body of one that is no stream."""
    noted = record()
    if asked.end_user:
        noted.name_end_user(asked.end_user)
    if not wants_signs(asked):
        return await _answered(await service(OllamaService).forward(asked, noted), whole)
    told = await with_signs(asked)
    return await _answered(told, whole) if isinstance(told, Forwarded) else told


async def _answered(answered: Forwarded, whole: Callable[[int, bytes], Awaitable[bytes]] | None) -> Response:
    if whole is not None and isinstance(answered.body, bytes):
        answered = replace(answered, body=await whole(answered.status, answered.body))
    return as_response(answered)


def route() -> str:
    """The matched route, which has no values in it: a backend is asked by this name, not by the client's."""
    return _route_of(at_hand())


def client_headers() -> Pairs:
    """The client's headers that are for the backend."""
    return _headers_of(at_hand())


def framed_headers() -> Pairs:
    """The same for a body that is streamed, with its length if that is how the client framed it (RFC 9112, 6.3)."""
    asked = at_hand()
    length = asked.headers.get("Content-Length")
    if not length or "Transfer-Encoding" in asked.headers:
        return _headers_of(asked)
    return (*_headers_of(asked), ("Content-Length", length))


async def body() -> bytes:
    """The body, whole; decompressed where the client's SDK compressed it.

    Raises:
        RequestEntityTooLarge: over `MAX_BODY_BYTES`.
        BadRequest: a compressed body that cannot be read.
        AppError: there is no memory for it.
    """
    return await _body_of(at_hand())


def _route_of(asked: Request) -> str:
    assert asked.url_rule is not None  # noqa: S101 - a view runs for a matched rule only
    return asked.url_rule.rule


def _headers_of(asked: Request) -> Pairs:
    return for_backend(list(asked.headers))


async def _body_of(asked: Request) -> bytes:
    if asked.method in {"GET", "HEAD"}:
        return b""
    data = cast(bytes, await asked.get_data(cache=False, as_text=False))
    if not asked.path.startswith("/v1/"):  # Ollama's own routes take no compressed bodies, whatever a header says
        return data
    plain = data
    if encoding := asked.headers.get("Content-Encoding", ""):
        # How large it is nobody knows before.
        plain = await aside(LARGE + 1, plain_body, data, encoding, asked.max_content_length or 0)
        if len(plain) != len(data):
            body_of(cast(Scope, asked.scope)).grow(len(plain))
    return plain


def uploaded() -> AsyncIterable[bytes]:
    """The body of a streamed route, as it arrives."""
    return body_stream_of(cast(Scope, at_hand().scope)).pieces()


def segment(value: str) -> str:
    """One value of a route as a part of a path that can be nothing else.

    Raises:
        NotFound: it would name another path.
    """
    if value in {"", ".", ".."}:
        raise NotFound("There is no such route.")
    return quote(value, safe=":")


def as_response(answered: Forwarded) -> Response:
    """The answer to send: a stream without any time limit but its own clocks, or a whole body."""
    if isinstance(answered.body, bytes):
        return _whole(answered)
    record().straight = STRAIGHT.get()
    headers = [each for each in answered.headers if each[0].lower() != _LENGTH]
    named = {name.lower() for name, _ in headers}
    response = Response(answered.body, answered.status, _NAMELESS)
    response.headers = Headers([*headers, *[own for own in _STREAM_HEADERS if own[0].lower() not in named]])
    response.timeout = None  # Quart would cut the body after RESPONSE_TIMEOUT
    return response


def _whole(answered: Forwarded) -> Response:
    """A body of bytes: Quart would encode, type and measure it, and throw that away for the backend's headers."""
    data = cast(bytes, answered.body)
    headers = list(answered.headers)
    if at_hand().method != "HEAD":
        headers = [*(each for each in headers if each[0].lower() != _LENGTH), ("Content-Length", str(len(data)))]
    response = Response(DataBody(data), answered.status, _NAMELESS)
    response.headers = Headers(headers)
    return response
