"""A request's bytes with the model that is meant, and with what is pinned of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mlops_backend.services.llm.asked import EMBED, GENERATE, OPENAI_GENERATE, SHOW, TRANSCRIBE, Asked, Task, read_asked
from mlops_backend.services.llm.dialects import LargeBody
from mlops_backend.services.llm.generation.retold import retold
from mlops_backend.services.llm.pins import Pin

TASKS: dict[str, Task] = {
    "/api/generate": GENERATE,
    "/api/chat": GENERATE,
    "/api/embed": EMBED,
    "/api/show": SHOW,
    "/v1/chat/completions": OPENAI_GENERATE,
}
BOTH = Pin(8192, "24h")


async def sent(path: str, body: bytes, model: str = "m", pin: Pin | None = None) -> Asked:
    """A body of that route, for that model."""
    return await retold(read_asked(TASKS[path], "POST", path, (), body), model, pin)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/api/chat", b'{ "model" : "a" ,"x": 1.0}', b'{ "model" : "m" ,"x": 1.0}'),
        ("/api/chat", b'{"MODEL":"b","model":"a","name":"a"}', b'{"MODEL":"m","model":"m","name":"a"}'),
        ("/api/chat", b'{"model":7,"mOdel":"a"}', b'{"model":7,"mOdel":"m"}'),
        ("/api/show", b'{"name":"a","Model":"a"}', b'{"name":"m","Model":"m"}'),
        (
            "/v1/chat/completions",
            b'{"messages":[{"model":"a"}],"model":"\\u0061"}',
            b'{"messages":[{"model":"a"}],"model":"m"}',
        ),
    ],
)
async def test_every_name_that_a_backend_might_read_is_the_one_that_is_meant(
    path: str, body: bytes, expected: bytes
) -> None:
    """And nothing else is another."""
    told = await sent(path, body)
    assert (told.content, told.model) == (expected, "m")


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/api/chat", b'{"model":"m"}', b'{"keep_alive":"24h","options":{"num_ctx":8192},"model":"m"}'),
        (
            "/api/generate",
            b'{"model":"m","keep_alive":0,"options":{"num_ctx":1,"seed":2}}',
            b'{"model":"m","keep_alive":"24h","options":{"num_ctx":8192,"seed":2}}',
        ),
        (
            "/api/embed",
            b'{"Keep_Alive":"0","model":"m","Options":{"NUM_CTX":3},"options":null}',
            b'{"keep_alive":"24h","Keep_Alive":"24h","model":"m","Options":{"NUM_CTX":8192},"options":{"num_ctx":8192}}',
        ),
        ("/api/show", b'{"model":"m"}', b'{"model":"m"}'),
        ("/v1/chat/completions", b'{"model":"m"}', b'{"model":"m"}'),
        ("/api/chat", b"nonsense", b"nonsense"),
    ],
)
async def test_what_is_pinned_stands_in_place_of_what_the_client_says(path: str, body: bytes, expected: bytes) -> None:
    """Where it loads the model by Ollama's own routes."""
    assert (await sent(path, body, pin=BOTH)).content == expected


@pytest.mark.parametrize("model", ["m", "a"])
async def test_where_a_route_has_no_words_for_it_a_pin_stands_beside_the_body(model: str) -> None:
    """For a backend that can be asked by another route."""
    told = await sent("/v1/chat/completions", b'{"model":"a"}', model, BOTH)
    assert (told.content, told.pin) == (b'{"model":"%s"}' % model.encode(), BOTH)
    assert (await sent("/api/chat", b'{"model":"a"}', model, BOTH)).pin is None
    assert (await sent("/v1/chat/completions", b'{"model":"a"}', model)).pin is None


async def test_what_is_not_pinned_stays_as_it_is() -> None:
    """One pin changes nothing of the other."""
    body = b'{"model":"m","keep_alive":0,"options":{"num_ctx":1}}'
    assert (await sent("/api/chat", body, pin=Pin(num_ctx=2))).content == body.replace(b'"num_ctx":1', b'"num_ctx":2')
    assert (await sent("/api/chat", body, pin=Pin(keep_alive=-1))).content == body.replace(b":0", b":-1")


async def test_a_request_that_is_what_is_meant_stays_the_same_object() -> None:
    """It costs nothing."""
    asked = read_asked(GENERATE, "POST", "/api/chat", (), b'{"model":"m"}')
    assert await retold(asked, "m", None) is asked


async def test_a_body_of_megabytes_is_retold_too() -> None:
    """With its long texts where they were."""
    text = "x" * 1_000_000
    told = await sent("/api/generate", json.dumps({"prompt": text, "model": "a"}).encode(), pin=BOTH)
    assert json.loads(told.content or b"") == {  # type: ignore[arg-type]
        "prompt": text,
        "model": "m",
        "options": {"num_ctx": 8192},
        "keep_alive": "24h",
    }


async def test_a_body_that_is_made_here_is_retold_too() -> None:
    """As one that came."""
    value = {"model": "a", "messages": [], "Options": {"seed": 1, "num_ctx": 3}, "keep_alive": 0}
    asked = Asked(GENERATE, "POST", "/api/chat", (), await LargeBody.of(value), "a", ("a",))
    content = (await retold(asked, "m", BOTH)).content
    assert isinstance(content, LargeBody)
    assert content.value == {
        "model": "m",
        "messages": [],
        "options": {"seed": 1, "num_ctx": 8192},
        "keep_alive": "24h",
    }


async def test_what_is_asked_instead_is_retold_too() -> None:
    """Or a server that refuses the first body would get the other name."""
    asked = read_asked(OPENAI_GENERATE, "POST", "/v1/chat/completions", (), b'{"model":"a","x":1}')
    told = await retold(replace(asked, instead=(("word", b'{"model":"a"}'),)), "m", None)
    assert (told.content, told.instead) == (b'{"model":"m","x":1}', (("word", b'{"model":"m"}'),))


async def test_a_form_is_retold_where_its_field_stands() -> None:
    """Its file may hold the same words."""
    form = b"--B\r\na\r\n--B a"
    told = await retold(Asked(TRANSCRIBE, "POST", "/", (), form, "a", ("a",), model_at=(5, 6)), "whisper", BOTH)
    assert told.content == b"--B\r\nwhisper\r\n--B a"
