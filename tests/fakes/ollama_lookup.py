"""What the fake Ollama answers at once: what it is and has, and the account that it pretends to have."""

from collections.abc import Callable
from datetime import datetime

from tests.fakes.http11 import Reply, Request
from tests.fakes.ollama_errors import Refused, error_for, plain_json
from tests.fakes.ollama_manage import copy, delete
from tests.fakes.ollama_modes import Script
from tests.fakes.ollama_requests import body_of, check_model, knows
from tests.fakes.ollama_routes import KEY, MODEL
from tests.fakes.ollama_shapes import MODIFIED_AT, TEXT_TYPE, JsonObject, json_reply, loaded_models, shown, tags

CREATED = int(datetime.fromisoformat(MODIFIED_AT).timestamp())
USER: JsonObject = {"id": "1b2c", "email": "owner@example.com", "name": "owner", "plan": "free"}
FOUND: JsonObject = {"results": [{"title": "A page", "url": "https://example.com/", "content": "What it says."}]}
FETCHED: JsonObject = {"title": "A page", "content": "What it says.", "links": ["https://example.com/more"]}
RECOMMENDED: JsonObject = {"recommendations": [{"model": "llama3:latest", "description": "A model."}]}


def look_up(script: Script, request: Request, route: str, value: str) -> Reply:
    """Return the answer of every route that is neither inference, progress nor a blob."""
    replies: dict[str, Callable[[], Reply]] = {
        "/": lambda: Reply(200, f"{TEXT_TYPE}; charset=utf-8", b"Ollama is running"),
        "/api/version": lambda: json_reply({"version": script.version}),
        "/api/status": lambda: json_reply({"cloud": {"disabled": False, "source": "none"}}),
        "/api/tags": lambda: json_reply(tags(script.models)),
        "/api/ps": lambda: json_reply(loaded_models(script.models)),
        "/api/show": lambda: _show(script, request),
        "/api/copy": lambda: copy(script, request),
        "/api/delete": lambda: delete(script, request),
        "/api/me": lambda: json_reply(USER),
        "/api/signout": lambda: json_reply(None),
        KEY: lambda: json_reply(None),
        "/api/experimental/web_search": lambda: json_reply(FOUND),
        "/api/experimental/web_fetch": lambda: json_reply(FETCHED),
        "/api/experimental/model-recommendations": lambda: json_reply(RECOMMENDED),
        "/v1/models": lambda: plain_json({"object": "list", "data": [_model(name) for name in script.models] or None}),
        MODEL: lambda: _retrieve(script, request.path, value),
    }
    return replies[route]()


def _show(script: Script, request: Request) -> Reply:
    check_model(request.path, body_of(request), script.models)
    return json_reply(shown())


def _model(name: str) -> JsonObject:
    owner = name.rpartition("/")[0].rpartition("/")[2] or "library"
    return {"id": name, "object": "model", "created": CREATED, "owned_by": owner}


def _retrieve(script: Script, path: str, model: str) -> Reply:
    if not knows(script.models, model):
        raise Refused(error_for(path, 404, f"model '{model}' not found"))
    return plain_json(_model(model))
