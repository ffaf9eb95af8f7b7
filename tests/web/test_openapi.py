"""The API's description: valid, complete, and true to the routes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from mlops_backend import __version__
from mlops_backend.schemas.keys import CreateKeyRequest
from mlops_backend.services.other.keys.service import ApiKeys
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, Service

TALK = "/api/database/conversations"
STREAMS = {
    ("post", "/api/llm/stream"),
    ("post", "/api/llm/chat"),
    ("get", "/api/llm/streams/{ticket_id}"),
    ("post", f"{TALK}/{{conversation_id}}/messages"),
    ("post", f"{TALK}/{{conversation_id}}/regenerate"),
}
MODEL = "smollm2:135m"
OPEN = {"/health", "/health/live", "/health/ready", "/api/llm/streams/{ticket_id}"}
ADMIN = {"X-API-Key": ADMIN_KEY}
BODIES = {f"/api/llm/{name}" for name in ("generate", "stream", "chat", "embed", "streams")}
CLIENTS_ERRORS = {"400", "401", "403", "404", "405", "408", "409", "412", "413", "415", "422"}
ERRORS = CLIENTS_ERRORS | {"500", "501", "502", "503", "504"}


@pytest.fixture
async def document(service: Service) -> dict[str, Any]:
    """What `/openapi.json` answers to somebody without a key."""
    answer = await service.stranger.get("/openapi.json")
    assert answer.status_code == 200
    described: dict[str, Any] = answer.json()
    return described


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def media_types(operation: dict[str, Any], status: str = "200") -> dict[str, Any]:
    """The media types of one answer."""
    content: dict[str, Any] = operation["responses"][status].get("content", {})
    return content


async def test_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    """The document is valid OpenAPI 3.1 and carries the service's version."""
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == __version__
    OpenAPIV31SpecValidator(document).validate()


async def test_every_route_is_described(service: Service, document: dict[str, Any]) -> None:
    """Every route is there but the documentation's own, and every operation has summary, description, tag and id."""
    written = [rule.rule.replace("<path:", "<") for rule in service.app.url_map.iter_rules()]
    rules = {rule.replace("<", "{").replace(">", "}") for rule in written}
    assert {path for path in rules if not path.startswith(("/docs", "/openapi.json"))} == set(document["paths"])
    tags = {tag["name"] for tag in document["tags"]}
    for method, path, operation in operations(document):
        assert operation["summary"], (method, path)
        assert operation["description"].strip(), (method, path)
        assert set(operation["tags"]) <= tags, (method, path)
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)


async def test_every_operation_describes_its_errors(document: dict[str, Any]) -> None:
    """Each operation lists every error that a client may meet, in our one shape, with an example of that shape."""
    for method, path, operation in operations(document):
        assert set(operation["responses"]) >= ERRORS, (method, path)
    for status in ERRORS:
        for family, keys in (("OpenAIError", {"error"}), ("AnthropicError", {"type", "error", "request_id"})):
            content = document["components"]["responses"][f"{family}{status}"]["content"]["application/json"]
            assert content["example"].keys() == keys
        content = document["components"]["responses"][f"Error{status}"]["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/ErrorResponse"}
        assert content["example"].keys() >= {"error", "code", "request_id"}


async def test_only_open_routes_go_without_a_key(document: dict[str, Any]) -> None:
    """A key is asked for everywhere but at the open routes."""
    assert document["security"] == [{"ApiKey": []}, {"Bearer": []}]
    assert {path for _, path, operation in operations(document) if operation.get("security") == []} == OPEN


async def test_every_body_has_an_example_that_fits(fake: FakeOllama, serve: ServeFactory) -> None:
    """Each body is required and shows an example that its route takes."""
    fake.models = [MODEL]
    async with serve(fake.url, allow_account_routes=True, default_model=MODEL) as service:
        document = (await service.stranger.get("/openapi.json")).json()
        with_body = {(method, path): op for method, path, op in operations(document) if "requestBody" in op}
        assert {path for _, path in with_body} >= BODIES
        key, _ = await service.services.get(ApiKeys).create(CreateKeyRequest(name="one"))
        for (method, path), operation in with_body.items():
            body = operation["requestBody"]
            assert body["required"] is True
            example = body["content"]["application/json"]["example"]
            url = path.replace("{key_id}", key.id).replace("{conversation_id}", await _talk(service))
            answer = await service.stranger.request(method, url, json=example, headers=ADMIN)
            assert answer.is_success, (path, answer.text)


async def _talk(service: Service) -> str:
    """The id of a conversation in which something was asked."""
    asked = {"messages": [{"role": "user", "content": "Hi"}]}
    made = await service.stranger.post(TALK, json=asked, headers=ADMIN)
    return str(made.json()["id"])


async def test_streams_show_their_media_types(service: Service, document: dict[str, Any]) -> None:
    """Streaming routes name NDJSON and server-sent events, each with an example in that very format."""
    streaming = {(method, path): op for method, path, op in operations(document) if (method, path) in STREAMS}
    assert set(streaming) == STREAMS
    for operation in streaming.values():
        content = media_types(operation)
        assert content["application/x-ndjson"]["example"].startswith('{"model"')
        assert content["text/event-stream"]["example"].startswith('data: {"model"')
    assert "application/json" in media_types(streaming["post", "/api/llm/chat"])
    assert "204" in streaming["get", "/api/llm/streams/{ticket_id}"]["responses"]


async def test_documentation_can_be_turned_off(serve: ServeFactory) -> None:
    """Without `DOCS_ENABLED` page, assets and description ask for a key like any unknown route, and are not there."""
    async with serve(docs_enabled=False) as service:
        for path in ("/docs", "/docs/assets/swagger-ui.css", "/openapi.json"):
            assert (await service.stranger.get(path)).status_code == 401
            assert (await service.client.get(path)).status_code == 404


async def test_documentation_page_names_no_other_host(service: Service) -> None:
    """The page and its start-up script load everything from the service itself, under a policy that says so."""
    page = await service.stranger.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    start = await service.stranger.get("/docs/assets/start.js")
    assert "validatorUrl: null" in start.text
    for text in (page.text, start.text):
        assert "://" not in text


async def test_assets_stay_in_their_folder(service: Service) -> None:
    """A path that leads out of the assets' folder is not found."""
    for path in ("/docs/assets/../start.js", "/docs/assets/..%2f__init__.py", "/docs/assets/none.css"):
        assert (await service.stranger.get(path)).status_code in {401, 404}
