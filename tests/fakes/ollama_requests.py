"""What a request asks of Ollama, and the refusals that Ollama answers before it does anything."""

import json
from collections.abc import Sequence
from typing import Any

from tests.fakes.http11 import Reply, Request
from tests.fakes.ollama_shapes import TEXT_TYPE, Generation, JsonObject, error_reply

READ = ("GET", "HEAD")
ROUTES: dict[str, tuple[str, ...]] = {
    "/": READ,
    "/api/version": READ,
    "/api/tags": READ,
    "/api/ps": ("GET",),
    "/api/show": ("POST",),
    "/api/generate": ("POST",),
    "/api/chat": ("POST",),
    "/api/embed": ("POST",),
    "/api/embeddings": ("POST",),
}
INFERENCE = frozenset({"/api/generate", "/api/chat", "/api/embed", "/api/embeddings"})
PROBES = frozenset({"/api/version", "/api/tags"})
SAYS_MODEL_IS_REQUIRED = frozenset({"/api/chat", "/api/embeddings", "/api/show"})
FIELD_TYPES: dict[str, tuple[type, str]] = {
    "model": (str, "string"),
    "prompt": (str, "string"),
    "stream": (bool, "bool"),
    "messages": (list, "[]api.Message"),
    "options": (dict, "map[string]interface {}"),
}
JSON_NAMES: dict[type, str] = {
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
}


class Refused(Exception):
    """The request is answered with this reply and nothing else."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def check_route(request: Request) -> None:
    """Refuse what the router and the CORS check refuse."""
    if request.header("origin"):
        raise Refused(Reply(403))
    methods = ROUTES.get(request.path)
    if methods is None:
        raise Refused(Reply(404, TEXT_TYPE, b"404 page not found"))
    if request.method not in methods:
        raise Refused(Reply(405, TEXT_TYPE, b"405 method not allowed", {"Allow": ", ".join(methods)}))


def body_of(request: Request) -> JsonObject:
    """Return the body as an object; absent and null fields are the same thing."""
    if not request.body:
        raise Refused(error_reply(400, "missing request body"))
    try:
        body = json.loads(request.body)
    except ValueError as exc:
        raise Refused(error_reply(400, _syntax_message(exc))) from exc
    if not isinstance(body, dict):
        name = JSON_NAMES.get(type(body), "null")
        raise Refused(error_reply(400, f"json: cannot unmarshal {name} into Go value of type api.Request"))
    body = {name: value for name, value in body.items() if value is not None}
    for name, (expected, go_type) in FIELD_TYPES.items():
        if name in body and not isinstance(body[name], expected):
            found = JSON_NAMES[type(body[name])]
            message = f"json: cannot unmarshal {found} into Go struct field Request.{name} of type {go_type}"
            raise Refused(error_reply(400, message))
    return body


def _syntax_message(exc: ValueError) -> str:
    if isinstance(exc, json.JSONDecodeError) and exc.pos < len(exc.doc):
        return f"invalid character {exc.doc[exc.pos]!r} looking for beginning of value"
    return "unexpected EOF"


def full_name(model: str) -> str:
    """Return a model's name as Ollama compares it: lower case, with its tag."""
    name = model.strip().lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return name if ":" in name else f"{name}:latest"


def check_model(path: str, body: JsonObject, models: Sequence[str]) -> str:
    """Return the model that is asked for, or refuse an unknown one."""
    model = str(body.get("model") or body.get("name") or "")
    if not model and path in SAYS_MODEL_IS_REQUIRED:
        raise Refused(error_reply(400, "model is required"))
    if not model or full_name(model) not in {full_name(name) for name in models}:
        if path == "/api/embeddings":
            raise Refused(error_reply(404, f'model "{model}" not found, try pulling it first'))
        raise Refused(error_reply(404, f"model '{model}' not found"))
    return model


def generation_for(
    path: str, body: JsonObject, words: Sequence[str], tool_calls: Sequence[JsonObject] = ()
) -> Generation:
    """Return what a request to generate or chat will be told."""
    wanted = body.get("options", {}).get("num_predict")
    limit = -1 if wanted is None else int(wanted)
    shortened = 0 <= limit < len(words)
    chat = path == "/api/chat"
    return Generation(
        model=body["model"],
        words=tuple(words[:limit] if shortened else words),
        prompt_words=max(1, len(_prompt_text(body).split())),
        chat=chat,
        done_reason="length" if shortened else "stop",
        raw=bool(body.get("raw")),
        tool_calls=tuple(tool_calls) if chat and body.get("tools") else (),
    )


def _prompt_text(body: JsonObject) -> str:
    spoken = [str(message.get("content", "")) for message in body.get("messages", [])]
    return " ".join([body.get("prompt", ""), *spoken])


def load_reason(path: str, body: JsonObject) -> str | None:
    """Return why a request without a prompt was made: to load the model, or to unload it."""
    if body.get("messages" if path == "/api/chat" else "prompt"):
        return None
    return "unload" if body.get("keep_alive") in (0, "0") else "load"


def inputs_of(body: JsonObject) -> list[str]:
    """Return the texts to embed."""
    given: Any = body.get("input", [])
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Refused(error_reply(400, "invalid input type"))
    return [text for text in texts if text]
