"""What a request asks of Ollama, and the refusals that Ollama answers before it does anything."""

import json
import re
from collections.abc import Sequence
from typing import Any

from tests.fakes.http11 import Request
from tests.fakes.ollama_errors import Refused, error_for
from tests.fakes.ollama_shapes import Generation, JsonObject

SAYS_MODEL_IS_REQUIRED = frozenset(
    {
        "/api/chat",
        "/api/embeddings",
        "/api/show",
        "/api/push",
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/audio/transcriptions",
    }
)
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


def body_of(request: Request) -> JsonObject:
    """Return the body as an object; absent and null fields are the same thing."""
    path = request.path
    if not request.body:
        raise Refused(error_for(path, 400, "EOF" if path.startswith("/v1/") else "missing request body"))
    try:
        body = json.loads(request.body)
    except ValueError as exc:
        raise Refused(error_for(path, 400, _syntax_message(exc))) from exc
    if not isinstance(body, dict):
        name = JSON_NAMES.get(type(body), "null")
        raise Refused(error_for(path, 400, f"json: cannot unmarshal {name} into Go value of type api.Request"))
    body = {name: value for name, value in body.items() if value is not None}
    for name, (expected, go_type) in FIELD_TYPES.items():
        if name in body and not isinstance(body[name], expected):
            found = JSON_NAMES[type(body[name])]
            message = f"json: cannot unmarshal {found} into Go struct field Request.{name} of type {go_type}"
            raise Refused(error_for(path, 400, message))
    return body


def _syntax_message(exc: ValueError) -> str:
    if isinstance(exc, json.JSONDecodeError) and exc.pos < len(exc.doc):
        return f"invalid character {exc.doc[exc.pos]!r} looking for beginning of value"
    return "unexpected EOF"


def full_name(model: str) -> str:
    """Return a model's name as Ollama compares it: lower case, with its tag."""
    name = model.strip().lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return name if ":" in name else f"{name}:latest"


def named_model(body: JsonObject) -> str:
    """Return the model that a body names, by its present field or the old one."""
    return str(body.get("model") or body.get("name") or "")


def knows(models: Sequence[str], model: str) -> bool:
    """Return whether a model is one of those."""
    return bool(model) and full_name(model) in {full_name(name) for name in models}


def check_model(path: str, body: JsonObject, models: Sequence[str]) -> str:
    """Return the model that is asked for, or refuse an unknown one."""
    model = named_model(body)
    if not model and path in SAYS_MODEL_IS_REQUIRED:
        raise Refused(error_for(path, 400, "model is required"))
    if not knows(models, model):
        if path == "/api/embeddings":
            raise Refused(error_for(path, 404, f'model "{model}" not found, try pulling it first'))
        raise Refused(error_for(path, 404, f"model '{model}' not found"))
    return model


def generation_for(
    path: str,
    body: JsonObject,
    words: Sequence[str],
    tool_calls: Sequence[JsonObject] = (),
    thinking: str = "",
    context_size: int = 3,
) -> Generation:
    """Return what a native request to generate or chat will be told."""
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
        thoughts=() if body.get("think") is False else tuple(re.findall(r"\s*\S+", thinking)),
        context_size=context_size,
    )


def _prompt_text(body: JsonObject) -> str:
    spoken = [str(message.get("content", "")) for message in body.get("messages", [])]
    return " ".join([body.get("prompt", ""), *spoken])


def load_reason(path: str, body: JsonObject) -> str | None:
    """Return why a request without a prompt was made: to load the model, or to unload it."""
    if body.get("messages" if path == "/api/chat" else "prompt"):
        return None
    return "unload" if body.get("keep_alive") in (0, "0") else "load"


def inputs_of(body: JsonObject, path: str = "/api/embed") -> list[str]:
    """Return the texts to embed."""
    given: Any = body.get("input", [])
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Refused(error_for(path, 400, "invalid input type"))
    return [text for text in texts if text]
