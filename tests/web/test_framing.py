"""Bodies that are two things to two readers, and bodies without an end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service
from tests.web.raw_requests import BODY, Answer, ask, assert_only_allowed, written

INNER = written("POST", "/api/pull")
FRAMINGS: dict[str, tuple[tuple[str, ...], bytes]] = {
    "two lengths": ((f"Content-Length: {len(BODY)}", f"Content-Length: {len(BODY + INNER)}"), BODY + INNER),
    "a list of lengths": ((f"Content-Length: {len(BODY)}, {len(BODY)}0",), BODY + INNER),
    "a signed length": ((f"Content-Length: +{len(BODY)}",), BODY + INNER),
    "an octal length": ((f"Content-Length: 0{len(BODY)}",), BODY + INNER),
    "length and chunks": (("Content-Length: 4", "Transfer-Encoding: chunked"), b"0\r\n\r\n" + INNER),
    "chunks and length": (
        ("Transfer-Encoding: chunked", f"Content-Length: {len(INNER) + 5}"),
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) + INNER,
    ),
    "an odd encoding": (("Transfer-Encoding: xchunked", f"Content-Length: {len(BODY)}"), BODY + INNER),
    "two encodings": (("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), b"0\r\n\r\n" + INNER),
    "a space before the colon": (("Transfer-Encoding : chunked", "Content-Length: 4"), b"0\r\n\r\n" + INNER),
    "a folded header": (("X: y\r\n Transfer-Encoding: chunked", "Content-Length: 4"), b"0\r\n\r\n" + INNER),
    "an odd chunk size": (("Transfer-Encoding: chunked",), b"+%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) + INNER),
    "a bare line feed": (("X: y\nTransfer-Encoding: chunked", "Content-Length: 4"), b"0\r\n\r\n" + INNER),
    "pipelined": ((f"Content-Length: {len(BODY)}",), BODY + INNER + INNER),
}


@pytest.mark.parametrize(("headers", "body"), FRAMINGS.values(), ids=FRAMINGS)
async def test_nothing_is_smuggled(service: Service, fake: FakeOllama, headers: Sequence[str], body: bytes) -> None:
    """A body that is two things to two readers is refused or read in one way, and hides no request."""
    head = ["POST /api/show HTTP/1.1", "Host: localhost", f"X-API-Key: {ORDINARY_KEY}", *headers, "", ""]
    await ask(service, "\r\n".join(head).encode() + body, 0.3)
    assert len(fake.requests) <= 1
    assert_only_allowed(fake)
    for asked in fake.requests:
        assert asked.header("transfer-encoding") is None
        assert asked.header("content-length") == str(len(asked.body))
        assert INNER not in asked.body


FAMILIES = {"/api/chat": "ollama", "/v1/chat/completions": "openai", "/v1/messages": "anthropic", "/api/pull": "ollama"}


def in_shape(family: str, answer: Answer) -> bool:
    """Whether an error is told as clients of a family expect it."""
    told: Any = json.loads(answer.body)
    if family == "ollama":
        return isinstance(told["error"], str)
    return isinstance(told["error"]["message"], str) and (told.get("type") == "error") is (family == "anthropic")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", FAMILIES)
async def test_a_body_has_its_bound(serve: ServeFactory, fake: FakeOllama, path: str, chunked: bool) -> None:
    """A body over `MAX_BODY_BYTES`, its length told or not, is a 413 in the family's words; no backend is asked."""
    body = BODY[:-1] + b" " * 1_000_000 + b"}"
    async with serve(fake.url, max_body_bytes=1000) as service:
        request = written("POST", path, body=body, key=ADMIN_KEY)
        if chunked:
            head = request.partition(b"\r\n\r\n")[0].replace(
                b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked"
            )
            request = head + b"\r\n\r\n" + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        answer = await ask(service, request)
    assert (answer.status, in_shape(FAMILIES[path], answer)) == (413, True)
    assert fake.requests == []
