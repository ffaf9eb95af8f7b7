"""The API's description: valid, complete, and true to the routes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urljoin

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from mlops_backend import __version__
from mlops_backend.errors import AppError, BackendRejected
from mlops_backend.middleware import error_handlers
from mlops_backend.schemas.keys import CreateKeyRequest
from mlops_backend.services.other.keys.service import ApiKeys
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, Service

TALK = "/api/database/conversations"
STREAMS = {
    ("post", "/api/llm/stream"),
    ("post", "/api/llm/chat"),
    ("get", "/api/llm/streams/{stream_id}"),
    ("post", f"{TALK}/{{conversation_id}}/messages"),
    ("post", f"{TALK}/{{conversation_id}}/regenerate"),
}
ASKING = {path for _, path in STREAMS} | {"/api/llm/generate", "/api/llm/embed", "/api/chat", "/v1/messages"}
MODEL = "smollm2:135m"
OPEN = {"/health", "/health/live", "/health/ready", "/api/llm/streams/{stream_id}"}
ADMIN = {"X-API-Key": ADMIN_KEY}
BODIES = {f"/api/llm/{name}" for name in ("generate", "stream", "chat", "embed", "streams")}
CLIENTS_ERRORS = {"400", "401", "403", "404", "405", "408", "409", "410", "412", "413", "415", "422", "429", "499"}
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
    """Every route is there but those of pages, and every operation has summary, description, tag and id."""
    written = [rule.rule.replace("<path:", "<") for rule in service.app.url_map.iter_rules()]
    rules = {rule.replace("<", "{").replace(">", "}") for rule in written}
    assert {path for path in rules if not path.startswith(("/docs", "/console", "/openapi.json"))} == set(
        document["paths"]
    )
    tags = {tag["name"] for tag in document["tags"]}
    for method, path, operation in operations(document):
        assert operation["summary"], (method, path)
        assert operation["description"].strip(), (method, path)
        assert len(set(operation.get("tags", ())) & tags) == 1, (method, path)
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)


async def test_every_answer_of_our_own_has_a_model(document: dict[str, Any]) -> None:
    """What the service itself answers in JSON is a component; what a backend answers is the backend's."""
    ours = ("/api/llm/", "/api/other/", "/api/key", "/api/usage", "/api/admin/", "/api/database/", "/health")
    seen = 0
    for method, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            content = answer.get("content", {}).get("application/json")
            if status.startswith("2") and content is not None and (path.startswith(ours) or path == "/"):
                assert content["schema"].keys() == {"$ref"}, (method, path)
                seen += 1
        if path.startswith(ours):
            assert any(answer.get("content") or status == "204" for status, answer in operation["responses"].items())
    assert seen > 30


async def test_every_operation_describes_its_errors(document: dict[str, Any]) -> None:
    """Each operation lists every error that a client may meet, with an example in its family's shape."""
    for method, path, operation in operations(document):
        assert set(operation["responses"]) >= ERRORS, (method, path)
    ours = {"error", "code", "request_id"}
    families = {"OpenAIError": {"error"}, "AnthropicError": {"type", "error", "request_id"}, "OllamaError": ours}
    for status in ERRORS:
        for family, keys in {"Error": ours, **families}.items():
            content = document["components"]["responses"][f"{family}{status}"]["content"]["application/json"]
            assert content["schema"] == {"$ref": f"#/components/schemas/{family}Response"}
            assert content["example"].keys() >= keys


def test_no_error_of_the_tree_is_left_out() -> None:
    """Whatever a service or a handler raises has a status that each operation lists."""
    raised = {kind.status for kind in _below(AppError)} | set(error_handlers._CODES) | {AppError.status}
    assert {str(status) for status in raised} == ERRORS


def _below(kind: type[AppError]) -> Iterator[type[AppError]]:
    """Every kind of error; a backend's own refusal has the status that it came with."""
    for child in kind.__subclasses__():
        yield from _below(child)
        if child is not BackendRejected and child.__module__.startswith("mlops_backend."):
            yield child


async def test_what_a_backend_refuses_is_described(document: dict[str, Any]) -> None:
    """Where a backend is asked its refusals have any status; where its answers are relayed so have its failures."""
    asking = {path for _, path, operation in operations(document) if "4XX" in operation["responses"]}
    assert asking >= ASKING
    relaying = {path for _, path, operation in operations(document) if "5XX" in operation["responses"]}
    assert relaying == {
        path
        for _, path, operation in operations(document)
        if {"ollama", "openai", "anthropic"} & set(operation["tags"])
    }


async def test_an_error_of_ollamas_needs_no_more_than_ollama_says(document: dict[str, Any]) -> None:
    """On Ollama's routes only `error` is sure; on our own also `code` and `request_id`."""
    schemas = document["components"]["schemas"]
    assert schemas["OllamaErrorResponse"]["required"] == ["error"]
    assert schemas["ErrorResponse"]["required"] == ["error", "code", "request_id"]
    for _, path, operation in operations(document):
        ollamas = operation["tags"] == ["ollama"]
        assert ("OllamaError404" in operation["responses"]["404"]["$ref"]) == ollamas, path


async def test_one_name_is_one_type(document: dict[str, Any]) -> None:
    """A model of ours stands in `components` alone, and is referred to; nothing there is left unused."""
    for method, path, operation in operations(document):
        for where, content in contents(operation):
            assert "properties" not in content["schema"] or "multipart" in where, (method, path, where)
            assert "title" not in content["schema"], (method, path, where)
    text = json.dumps(document)
    for kind in ("schemas", "responses"):
        for name in document["components"][kind]:
            assert f'"#/components/{kind}/{name}"' in text, name


async def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    """Bodies, answers, streams, errors, and what stands in the models: every example and default is possible."""
    shown = [(content["schema"], content["example"]) for _, content in every_content(document) if "example" in content]
    within = [(schema, example) for schema in every_schema(document) for example in schema.get("examples", ())]
    given = [(schema, schema["default"]) for schema in every_schema(document) if "default" in schema]
    assert len(shown) > 80
    for schema, example in (*shown, *within, *given):
        alone = {name: value for name, value in schema.items() if name not in {"examples", "default"}}
        validator = OAS31Validator({**alone, "components": document["components"]})
        assert [error.message for error in validator.iter_errors(example)] == [], example


async def test_what_is_no_json_is_described_as_text_or_bytes(document: dict[str, Any]) -> None:
    """A stream, CSV and Markdown are texts, images are bytes: no client is to read an object from them.

    Of events nothing is said: some clients take them for a text, some each for an object.
    """
    for where, content in every_content(document):
        media_type = where.rpartition(" ")[2]
        if media_type == "text/event-stream":
            assert not content["schema"].keys() - {"description"}, where
        elif media_type not in {"application/json", "multipart/form-data"}:
            assert content["schema"]["type"] == "string", where
            is_text = media_type.startswith("text/") or media_type == "application/x-ndjson"
            assert ("format" in content["schema"]) != is_text, where
    for path in ("/api/usage/export", "/api/admin/usage/export"):
        assert set(media_types(document["paths"][path]["get"])) == {"text/csv"}


async def test_no_default_stands_where_leaving_out_means_something_else(document: dict[str, Any]) -> None:
    """A client may send each default that it reads: what `PATCH` takes has none, and `null` is none anywhere."""
    schemas = document["components"]["schemas"]
    changes = [content["schema"]["$ref"] for _, content in every_content(document, {"patch"}, {"body"})]
    assert len(changes) == 2
    for reference in changes:
        properties = schemas[reference.rpartition("/")[2]]["properties"]
        assert not [name for name, member in properties.items() if "default" in member]
    assert not [schema for schema in every_schema(document) if schema.get("default", ...) is None]


async def test_defaults_that_are_written_out_change_nothing(service: Service, document: dict[str, Any]) -> None:
    """A body in which every default of the description is written out makes the same as one without."""
    for path, volatile in (
        ("/api/admin/keys", {"id", "created_at", "key"}),
        (TALK, {"id", "created_at", "updated_at"}),
    ):
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        least = {name: value for name, value in body["example"].items() if name == "name"}
        written = {**defaults_of(document, body["schema"]), **least}
        made = [await service.stranger.post(path, json=sent, headers=ADMIN) for sent in (least, written)]
        plain, full = ({k: v for k, v in answer.json().items() if k not in volatile} for answer in made)
        assert plain == full


async def test_the_version_to_change_can_be_named(document: dict[str, Any]) -> None:
    """Whatever may answer that a conversation is at another version takes the header that asks for one."""
    taking = [
        path
        for _, path, operation in operations(document)
        for parameter in operation["parameters"]
        if (parameter["name"], parameter["in"], parameter["schema"].get("type")) == ("if-match", "header", "string")
    ]
    assert sorted(taking) == sorted(
        f"{TALK}/{{conversation_id}}{rest}" for rest in ("", "", "/append", "/truncate", "/messages", "/regenerate")
    )


async def test_an_address_is_told(document: dict[str, Any]) -> None:
    """The service is where its description is, also beneath a proxy's path."""
    (server,) = document["servers"]
    assert urljoin("http://example.org/llm/openapi.json", server["url"]) == "http://example.org/llm/"


def contents(
    operation: dict[str, Any], parts: Iterable[str] = ("body", "answer")
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each media type of an operation's body and of its own answers, and where it stands."""
    body = operation.get("requestBody", {}) if "body" in parts else {}
    answers = operation["responses"] if "answer" in parts else {}
    for where, described in (("body", body), *answers.items()):
        for media_type, content in described.get("content", {}).items():
            yield f"{where} {media_type}", content


def every_content(
    document: dict[str, Any], methods: Iterable[str] = (), parts: Iterable[str] = ("body", "answer")
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each media type of all operations, and of the errors that they share."""
    for method, path, operation in operations(document):
        if not methods or method in methods:
            yield from ((f"{method} {path} {where}", content) for where, content in contents(operation, parts))
    if not methods:
        for name, response in document["components"]["responses"].items():
            yield from ((f"{name} {media_type}", content) for media_type, content in response["content"].items())


def every_schema(described: Any) -> Iterator[dict[str, Any]]:
    """Everything that looks like a schema, wherever it stands."""
    if isinstance(described, dict):
        if described.keys() & {"type", "anyOf", "$ref", "enum", "const"}:
            yield described
        for name, inner in described.items():
            if name not in {"example", "examples"}:
                yield from every_schema(inner)
    elif isinstance(described, list):
        for inner in described:
            yield from every_schema(inner)


def defaults_of(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The defaults of a model's members; a member that is itself a model has those of its own."""
    model = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    told = {}
    for name, member in model.get("properties", {}).items():
        if "default" in member:
            told[name] = member["default"]
        elif "$ref" in member:
            told[name] = defaults_of(document, member)
    return told


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
            if "application/json" not in body["content"]:
                continue
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
    assert "204" in streaming["get", "/api/llm/streams/{stream_id}"]["responses"]


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
