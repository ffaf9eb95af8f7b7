"""What a backend answered, as it is sent on."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from quart import Quart, Response

from mlops_backend.middleware.drop_in import as_response
from mlops_backend.middleware.request_context import _RECORD
from mlops_backend.services.llm.generation import Forwarded
from mlops_backend.telemetry.record import RequestRecord


async def pieces() -> AsyncGenerator[bytes, None]:
    """A body that comes."""
    yield b"data: x\n\n"


async def answered(what: Forwarded, method: str = "POST") -> Response:
    """The answer to a request."""
    app = Quart(__name__)
    scope = {_RECORD: RequestRecord("id", method)}
    async with app.test_request_context("/", method=method, scope_base=scope):
        return as_response(what)


async def test_a_streams_length_is_not_told() -> None:
    """It may be another one here, where an event is left out or added; what else a backend says of it stays."""
    headers = (("content-length", "999"), ("Content-Type", "text/event-stream; charset=x"), ("X-Own", "1"))
    answer = await answered(Forwarded(200, headers, pieces()))
    assert "Content-Length" not in answer.headers
    assert (answer.headers["Content-Type"], answer.headers["X-Own"]) == ("text/event-stream; charset=x", "1")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.timeout is None


async def test_what_a_backend_says_of_caching_is_said_once() -> None:
    """Its own word goes before ours."""
    answer = await answered(Forwarded(200, (("Cache-Control", "no-store"),), pieces()))
    assert answer.headers.getlist("Cache-Control") == ["no-store"]


@pytest.mark.parametrize(("method", "length"), [("POST", "2"), ("HEAD", "999")])
async def test_a_whole_answer_has_its_own_length(method: str, length: str) -> None:
    """That of the body that is sent; of an answer without one, what the backend said."""
    answer = await answered(Forwarded(200, (("Content-Length", "999"), ("X-Own", "1")), b"{}"), method)
    assert answer.headers.getlist("Content-Length") == [length]
    assert answer.headers["X-Own"] == "1"
