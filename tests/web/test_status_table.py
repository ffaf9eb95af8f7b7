"""Every status that the service gives, provoked over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from mlops_backend.services.llm.upstream import client as upstream_module
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import Service

PROMPT = {"model": "llama3", "prompt": "Hi"}
ROUTES: dict[str, dict[str, Any]] = {
    "generate": PROMPT,
    "stream": PROMPT,
    "chat": {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}]},
    "embed": {"model": "llama3", "input": "Hi"},
}


def assert_error(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is one JSON line in our shape, with the request's id."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert "\n" not in answer.text
    body: dict[str, Any] = answer.json()
    assert body["code"] == code
    assert body["error"]
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


async def post(service: Service, route: str, body: Any) -> httpx.Response:
    """Post JSON to one of the inference routes."""
    return await service.client.post(f"/api/llm/{route}", json=body)


BAD_JSON = {
    "syntax": b'{"prompt": "Hi"',
    "empty": b"",
    "trailing": b'{"prompt":"Hi"} x',
    "not utf-8": b'{"prompt": "\xff\xfe"}',
    "byte order mark": b'\xef\xbb\xbf{"prompt":"Hi"}',
    "lone surrogate": b'{"prompt": "\\ud800"}',
    "NaN": b'{"prompt":"Hi","options":{"temperature":NaN}}',
    "infinity": b'{"prompt":"Hi","options":{"temperature":-Infinity}}',
    "overflow": b'{"prompt":"Hi","options":{"x":[{"temperature":1e999}]}}',
    "too deep": b'{"prompt":"Hi","x":' + b"[" * 300 + b"]" * 300 + b"}",
}


@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
async def test_400_for_what_is_not_json(service: Service, fake: FakeOllama, body: bytes) -> None:
    """What is not JSON text is refused before any schema sees it, and never reaches a backend."""
    answer = await service.client.post("/api/llm/generate", content=body, headers={"Content-Type": "application/json"})
    assert_error(answer, 400, "invalid_json")
    assert not [request for request in fake.requests if request.path == "/api/generate"]


INVALID = {
    "wrong type": ({"prompt": 5}, ["prompt"]),
    "wrong type inside": ({"messages": [{"role": "user"}, {"role": 7}]}, ["messages", 1, "role"]),
    "number as text": ({"prompt": "Hi", "options": {"temperature": "hot"}}, ["options", "temperature"]),
    "text as boolean": ({"prompt": "Hi", "raw": "yes"}, ["raw"]),
    "out of range": ({"prompt": "Hi", "top_logprobs": 21}, ["top_logprobs"]),
    "empty model": ({"prompt": "Hi", "model": ""}, ["model"]),
    "endless model": ({"prompt": "Hi", "model": "m" * 513}, ["model"]),
}


@pytest.mark.parametrize(("body", "loc"), INVALID.values(), ids=INVALID)
async def test_422_names_each_field(service: Service, body: dict[str, Any], loc: list[Any]) -> None:
    """JSON that breaks the schema is answered with the place of each fault, and without the value."""
    route = "chat" if "messages" in body else "generate"
    error = assert_error(await post(service, route, body), 422, "validation_error")
    assert loc in [detail["loc"] for detail in error["details"]]
    assert all(set(detail) == {"loc", "msg", "type"} for detail in error["details"])


LISTS = {"images": "generate", "context": "generate", "messages": "chat", "tools": "chat", "input": "embed"}


@pytest.mark.parametrize("field", LISTS)
async def test_422_costs_no_more_for_many_faults(service: Service, field: str) -> None:
    """One wrong element of a list is enough: a million of them are not all told, nor all looked at."""
    body: dict[str, Any] = {field: [{}] * 100_000 if field in ("images", "context", "input") else [0] * 100_000}
    error = assert_error(await post(service, LISTS[field], body), 422, "validation_error")
    assert 1 <= len([detail for detail in error["details"] if detail["loc"][0] == field]) <= 2


@pytest.mark.parametrize("body", [[], "text", 5, None, True])
async def test_422_for_json_that_is_no_object(service: Service, body: Any) -> None:
    """A body that is JSON but no object breaks the schema."""
    answer = await service.client.post(
        "/api/llm/generate", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert_error(answer, 422, "validation_error")


@pytest.mark.parametrize("key", ["Model", "MODEL", "Stream", "\u017ftream", "\u212aeep_alive"])
async def test_422_for_a_key_in_another_case(service: Service, fake: FakeOllama, key: str) -> None:
    """Go would read `Model` as `model` and take the last: a key in another case is refused."""
    error = assert_error(await post(service, "generate", {**PROMPT, key: "other"}), 422, "validation_error")
    assert key.casefold() in error["details"][0]["msg"]
    assert not [request for request in fake.requests if request.path == "/api/generate"]


async def test_the_last_of_two_equal_keys_counts_everywhere(service: Service, fake: FakeOllama) -> None:
    """A duplicate key is resolved here, once: the backend sees one."""
    fake.models = ["b:latest"]
    answer = await service.client.post(
        "/api/llm/generate",
        content=b'{"model":"a","prompt":"Hi","model":"b"}',
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 200
    assert fake.requests[-1].body.count(b'"model"') == 1


async def test_401_and_its_challenge(service: Service) -> None:
    """Without a key, or with one that nobody knows, the answer is 401 with `WWW-Authenticate`; unknown routes too.

    Claude Code would try it ten times, were it not told that this is in vain.
    """
    for path in ("/api/llm/models", "/", "/no/such/route", "/api/llm/generate"):
        answer = await service.stranger.get(path)
        assert_error(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["x-should-retry"] == "false"
    wrong = await service.stranger.get("/api/llm/models", headers={"X-API-Key": "wrong"})
    assert_error(wrong, 401, "unauthorized")


async def test_403_for_a_key_that_may_not(serve: ServeFactory, fake: FakeOllama) -> None:
    """The placeholder key works from this machine only: through a proxy, or under another name, it is refused."""
    placeholder = "your-secret-api-key-change-this"
    async with serve(fake.url, api_key=placeholder) as service:
        key = {"X-API-Key": placeholder}
        assert (await service.stranger.get("/api/llm/models", headers=key)).status_code == 200
        for hint in ({"X-Forwarded-For": "127.0.0.1"}, {"Via": "1.1 proxy"}, {"Host": "llm.example.org"}):
            answer = await service.stranger.get("/api/llm/models", headers={**key, **hint})
            assert "API_KEY" in assert_error(answer, 403, "forbidden")["error"]


@pytest.mark.parametrize("route", ROUTES)
async def test_404_for_an_unknown_model(service: Service, route: str) -> None:
    """The backend's own 404 is the answer, in our shape."""
    answer = await post(service, route, {**ROUTES[route], "model": "nobody"})
    error = assert_error(answer, 404, "model_not_found")
    assert error["error"] == "model 'nobody' not found"


@pytest.mark.parametrize("path", ["/no/such/route", "/health/", "//health", "/api/llm/streams/unknown", "/docs/"])
async def test_404_for_an_unknown_route(service: Service, path: str) -> None:
    """A route has one name: no trailing slash, no doubled one, and no redirect."""
    answer = await service.client.get(f"{service.url}{path}")
    assert_error(answer, 404, "not_found")


async def test_405_says_what_is_allowed(service: Service) -> None:
    """A method that the route does not take is answered with `Allow`."""
    answer = await service.client.get("/api/llm/generate")
    assert_error(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]
    assert_error(await service.client.put("/health"), 405, "method_not_allowed")
    assert (await service.client.head("/api/llm/streams/unknown")).status_code == 405


async def test_409_when_something_stands_in_the_way(service: Service) -> None:
    """What cannot be done as things are: a reply made anew where nothing was asked."""
    made = (await service.client.post("/api/database/conversations", json={})).json()
    answer = await service.client.post(f"/api/database/conversations/{made['id']}/regenerate", json={})
    assert_error(answer, 409, "conflict")


async def test_412_when_somebody_was_faster(service: Service) -> None:
    """A change of another version than the present one is refused."""
    made = await service.client.post("/api/database/conversations", json={})
    url, version = made.headers["location"], {"If-Match": made.headers["etag"]}
    answers = [await service.client.patch(url, json={"title": "x"}, headers=version) for _ in range(2)]
    assert answers[0].status_code == 200
    assert_error(answers[1], 412, "precondition_failed")


@pytest.mark.parametrize("declared", [True, False])
async def test_413_reaches_the_client(serve: ServeFactory, fake: FakeOllama, declared: bool) -> None:
    """A body over the limit, declared or chunked, is answered with 413 although the client is still sending."""
    async with serve(fake.url, max_body_bytes=1000) as service:
        text = b'{"prompt":"' + b"x" * 8_000_000 + b'"}'

        async def chunks() -> Any:
            for start in range(0, len(text), 65536):
                yield text[start : start + 65536]

        answer = await service.client.post(
            "/api/llm/generate",
            content=text if declared else chunks(),
            headers={"Content-Type": "application/json"},
        )
        assert_error(answer, 413, "body_too_large")
        exact = b'{"model":"llama3","prompt":""}'
        fits = exact.replace(b'""', b'"' + b"x" * (1000 - len(exact)) + b'"')
        accepted = await service.client.post(
            "/api/llm/generate", content=fits, headers={"Content-Type": "application/json"}
        )
        assert (len(fits), accepted.status_code) == (1000, 200)


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_415_for_a_declared_type_that_is_not_json(service: Service, media_type: str) -> None:
    """A declared type that is not JSON is refused; none at all, or a `+json` type, is taken for JSON."""
    path, body = "/api/llm/generate", json.dumps(PROMPT).encode()
    answer = await service.client.post(path, content=body, headers={"Content-Type": media_type})
    assert_error(answer, 415, "unsupported_media_type")
    assert (await service.client.post(path, content=body)).status_code == 200
    vendor = {"Content-Type": "application/vnd.example+json; charset=utf-8"}
    assert (await service.client.post(path, content=body, headers=vendor)).status_code == 200


async def test_500_is_json_without_a_trace(service: Service) -> None:
    """A fault of ours is answered in JSON, with CORS headers and without its text, and is logged."""

    async def fault() -> str:
        raise RuntimeError("the secret inner life")

    service.app.view_functions["other.get_info"] = fault
    answer = await service.client.get("/api/other/info", headers={"Origin": "http://localhost"})
    assert "secret" not in json.dumps(assert_error(answer, 500, "internal_error"))
    assert answer.headers["access-control-allow-origin"] == "http://localhost"


FAILED = {
    Mode.ERROR_500: "backend_failed",
    Mode.CLOSE_BEFORE_HEADERS: "backend_vanished",
    Mode.GARBAGE: "backend_nonsense",
    Mode.GARBAGE_JSON: "backend_nonsense",
    Mode.ERROR_FIRST_LINE: "backend_failed",
}


@pytest.mark.parametrize("mode", FAILED, ids=lambda mode: mode.name)
@pytest.mark.parametrize("route", ROUTES)
async def test_502_when_the_backend_fails(service: Service, fake: FakeOllama, route: str, mode: Mode) -> None:
    """What a backend does wrong before its first byte is a 502 that tells one fault from another."""
    fake.mode = mode
    assert_error(await post(service, route, ROUTES[route]), 502, FAILED[mode])


async def test_502_for_a_whole_answer_that_breaks_off(service: Service, fake: FakeOllama) -> None:
    """A whole answer that is cut is not passed on in part."""
    fake.mode = Mode.CUT_MID_STREAM
    assert_error(await post(service, "generate", PROMPT), 502, "backend_vanished")


@pytest.mark.parametrize(
    ("address", "code"),
    [("http://127.0.0.1:9", "backend_refused"), ("http://no-such-host.invalid:11434", "backend_unresolvable")],
)
async def test_502_tells_refused_from_unresolvable(serve: ServeFactory, address: str, code: str) -> None:
    """An address where nothing listens and a name without one are told apart."""
    async with serve(address) as service:
        assert_error(await post(service, "generate", PROMPT), 502, code)
        assert_error(await post(service, "stream", PROMPT), 502, code)


async def test_502_when_the_backend_wants_other_credentials(serve: ServeFactory) -> None:
    """A backend's 401 is about our credentials, not the client's: it must not look like a wrong key."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server, serve(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as service:
        answer = await post(service, "generate", PROMPT)
        assert_error(answer, 502, "backend_failed")
        assert "www-authenticate" not in answer.headers


async def test_503_when_no_backend_is_usable(serve: ServeFactory) -> None:
    """With several backends and none reachable the answer is 503 with `Retry-After`."""
    async with serve("http://127.0.0.1:9", "http://127.0.0.1:10") as service:
        answer = await post(service, "generate", PROMPT)
        assert_error(answer, 503, "no_usable_backend")
        assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("route", ROUTES)
async def test_503_when_the_backend_is_busy(service: Service, fake: FakeOllama, route: str) -> None:
    """Ollama's full queue is a 503 with `Retry-After`, which Ollama itself does not send."""
    fake.mode = Mode.BUSY_503
    answer = await post(service, route, ROUTES[route])
    assert_error(answer, 503, "backend_busy")
    assert int(answer.headers["retry-after"]) > 0


async def test_503_while_draining(service: Service) -> None:
    """A draining service takes no new generation, and is not ready."""
    service.admission.draining = True
    for route, body in ROUTES.items():
        answer = await post(service, route, body)
        assert_error(answer, 503, "draining")
        assert "retry-after" in answer.headers
    assert (await service.stranger.get("/health/ready")).status_code == 503


async def test_503_when_the_pool_is_full(
    serve: ServeFactory, fake: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all connections in use a call waits briefly, then is told so; afterwards the slot is free again."""
    monkeypatch.setattr(upstream_module, "POOL_WAIT", 0.05)
    fake.hold()
    async with serve(fake.url, upstream_max_connections=1) as service:
        first = asyncio.create_task(post(service, "generate", PROMPT))
        await fake.wait_for_request("/api/generate")
        assert_error(await post(service, "generate", PROMPT), 503, "pool_full")
        fake.release()
        assert (await first).status_code == 200
        assert (await post(service, "generate", PROMPT)).status_code == 200


@pytest.mark.parametrize("route", ROUTES)
async def test_504_when_the_first_byte_is_late(serve: ServeFactory, fake: FakeOllama, route: str) -> None:
    """A backend that says nothing is given up after `FIRST_BYTE_TIMEOUT`, and hung up on."""
    fake.mode = Mode.HANG_BEFORE_HEADERS
    async with serve(fake.url, first_byte_timeout=0.1) as service:
        assert_error(await post(service, route, ROUTES[route]), 504, "first_byte_timeout")
        await fake.wait_for_disconnect()


async def test_504_when_connecting_is_late(serve: ServeFactory) -> None:
    """A connection that does not come about is given up after `CONNECT_TIMEOUT`."""
    async with _deaf_address() as address, serve(address, connect_timeout=0.2) as service:
        assert_error(await post(service, "generate", PROMPT), 504, "connect_timeout")


def _deaf_address() -> Any:
    """An address whose queue of connections is full, so that connecting hangs."""
    import contextlib
    import socket

    @contextlib.asynccontextmanager
    async def deaf() -> Any:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            host, port = listener.getsockname()
            fillers = []
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex((host, port))
                fillers.append(filler)
            yield f"http://{host}:{port}"
            for filler in fillers:
                filler.close()

    return deaf()
