"""A request's bytes with the maximum that is left of its key's limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlops_backend.services.llm.asked import (
    EMBED,
    GENERATE,
    MESSAGES,
    OPENAI_CALL,
    OPENAI_GENERATE,
    OWN,
    RESPONSES,
    Asked,
    Task,
    passed_through,
    read_asked,
)
from mlops_backend.services.llm.dialects import LargeBody
from mlops_backend.services.llm.generation.bounded import bounded

TASKS: dict[str, Task] = {
    "/api/generate": GENERATE,
    "/api/chat": GENERATE,
    "/api/embed": EMBED,
    "/v1/chat/completions": OPENAI_GENERATE,
    "/v1/completions": OPENAI_GENERATE,
    "/v1/embeddings": OPENAI_CALL,
    "/v1/responses": RESPONSES,
    "/v1/messages": MESSAGES,
    "/v1/rerank": passed_through("/v1/rerank"),
}


async def sent(path: str, body: bytes, tokens: int = 50) -> Asked:
    """A body of that route with so many tokens at most."""
    return await bounded(read_asked(TASKS[path], "POST", path, (), body), tokens)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/api/chat", b'{ "model":"m" }', b'{ "options":{"num_predict":50},"model":"m" }'),
        ("/api/chat", b'{"options":{},"x":1}', b'{"options":{"num_predict":50},"x":1}'),
        ("/api/chat", b'{"options": {"seed": 1}}', b'{"options": {"num_predict":50,"seed": 1}}'),
        ("/api/chat", b'{"options":{"num_predict": 900 }}', b'{"options":{"num_predict": 50 }}'),
        ("/api/chat", b'{"options":{"num_predict":-1}}', b'{"options":{"num_predict":50}}'),
        ("/api/chat", b'{"options":{"num_predict":null}}', b'{"options":{"num_predict":50}}'),
        ("/api/chat", b'{"options":{"num_predict":0.5}}', b'{"options":{"num_predict":50}}'),
        ("/api/chat", b'{"options":null}', b'{"options":{"num_predict":50}}'),
        ("/api/chat", b'{"options":7}', b'{"options":7}'),
        ("/api/chat", b'{"options":{"num_predict":7}}', b'{"options":{"num_predict":7}}'),
        (
            "/api/generate",
            b'{"Options":{"num_predict":900,"NUM_PREDICT":901},"options":{"seed":2}}',
            b'{"Options":{"num_predict":50,"NUM_PREDICT":50},"options":{"num_predict":50,"seed":2}}',
        ),
        (
            "/api/generate",
            b'{"options":{"num_predict":9e5},"options":null}',
            b'{"options":{"num_predict":50},"options":{"num_predict":50}}',
        ),
        (
            "/api/generate",
            b'{"x":"\xff","a":"\\ud800"} tail',
            b'{"options":{"num_predict":50},"x":"\xff","a":"\\ud800"} tail',
        ),
        ("/v1/chat/completions", b'{"model":"m"}', b'{"max_tokens":50,"model":"m"}'),
        ("/v1/chat/completions", b'{"max_tokens": 1000 }', b'{"max_tokens": 50 }'),
        ("/v1/chat/completions", b'{"max_tokens":"1000"}', b'{"max_tokens":50}'),
        ("/v1/chat/completions", b'{"max_tokens":"7","n_predict":"900"}', b'{"max_tokens":7,"n_predict":50}'),
        ("/v1/chat/completions", b'{"max_tokens":"none"}', b'{"max_tokens":50}'),
        ("/v1/chat/completions", b'{"max_tokens":null,"n":1}', b'{"max_tokens":50,"n":1}'),
        (
            "/v1/chat/completions",
            b'{"max_completion_tokens":1000}',
            b'{"max_tokens":50,"max_completion_tokens":50}',
        ),
        ("/v1/completions", b'{"n_predict":-1,"max_tokens":9}', b'{"n_predict":50,"max_tokens":9}'),
        ("/v1/responses", b'{"input":"x"}', b'{"max_output_tokens":50,"input":"x"}'),
        ("/v1/messages", b'{"max_tokens":32000,"x":[]}', b'{"max_tokens":50,"x":[]}'),
        ("/api/embed", b'{"input":"x"}', b'{"input":"x"}'),
        ("/v1/embeddings", b'{"input":"x"}', b'{"input":"x"}'),
        ("/v1/rerank", b'{"query":"x"}', b'{"query":"x"}'),
        ("/v1/completions", b"{}", b"{}"),
        ("/v1/completions", b"no json", b"no json"),
    ],
)
async def test_only_the_maximum_is_changed(path: str, body: bytes, expected: bytes) -> None:
    """In the dialect's own member, under every name that a server may read; every other byte is the client's."""
    assert (await sent(path, body)).content == expected


async def test_a_route_without_a_body_stays_as_it_is() -> None:
    """There is nothing to lower in it."""
    asked = Asked(OPENAI_GENERATE, "POST", "/v1/completions")
    assert await bounded(asked, 50) is asked


async def test_long_texts_stay_in_their_places() -> None:
    """Megabytes of an image are not read for it, and come out as they went in."""
    image = "QUJD" * 100_000
    body = json.dumps({"images": [image, image], "model": "m", "options": {"num_predict": 900}}).encode()
    assert (await sent("/api/generate", body)).content == body.replace(b"900", b"50")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"options": {"num_predict": 50}}),
        ({"options": {"seed": 1, "num_predict": 900}}, {"options": {"seed": 1, "num_predict": 50}}),
        ({"Options": {"NUM_PREDICT": 900, "seed": 1}}, {"options": {"seed": 1, "num_predict": 50}}),
        ({"options": {"num_predict": 7}, "Options": {"Num_Predict": 900}}, {"options": {"num_predict": 7}}),
        ({"options": None}, {"options": {"num_predict": 50}}),
        ({"options": {"num_predict": 0.5}}, {"options": {"num_predict": 50}}),
    ],
)
async def test_a_body_that_is_written_while_it_is_sent_has_it_too(options: Any, expected: Any) -> None:
    """Its length is that of the new one."""
    value = {"model": "m", "prompt": "x" * 1000, **options}
    asked = await bounded(Asked(OWN, "POST", "/api/generate", (), await LargeBody.of(value)), 50)
    assert isinstance(asked.content, LargeBody)
    text = b"".join([piece async for piece in asked.content])
    assert json.loads(text) == {"model": "m", "prompt": "x" * 1000, **expected}
    assert len(asked.content) == len(text)


@pytest.mark.parametrize(
    ("path", "body", "instead"),
    [
        (
            "/v1/chat/completions",
            b'{"model":"o3"}',
            {" context ": b'{"model":"o3"}', "max_completion_tokens": b'{"max_completion_tokens":50,"model":"o3"}'},
        ),
        (
            "/v1/chat/completions",
            b'{"max_completion_tokens":900}',
            {"max_completion_tokens": b'{"max_completion_tokens":50}'},
        ),
        ("/v1/chat/completions", b'{"max_tokens":900}', {}),
        ("/v1/chat/completions", b'{"max_tokens":"900"}', {}),
        ("/v1/completions", b'{"prompt":"x"}', {" context ": b'{"prompt":"x"}'}),
        ("/v1/messages", b'{"max_tokens":900}', {}),
    ],
)
async def test_a_server_that_refuses_it_is_asked_in_other_words(
    path: str, body: bytes, instead: dict[str, bytes]
) -> None:
    """The newer name where ours was added; none at all where the context has no room for it, and so is the end."""
    assert dict((await sent(path, body)).instead) == instead
