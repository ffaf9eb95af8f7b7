"""What a request to a route under /v1 is in Ollama's own words, and which dialect answers it."""

from email import message_from_bytes
from typing import Any

from tests.fakes.anthropic_dialect import AnthropicMessages
from tests.fakes.http11 import Request
from tests.fakes.ollama_dialect import Dialect, Native
from tests.fakes.ollama_errors import Refused, error_for
from tests.fakes.ollama_shapes import JsonObject
from tests.fakes.openai_dialect import OpenAIChat, OpenAICompletion
from tests.fakes.responses_dialect import OpenAIResponses

CHARACTERS_A_TOKEN = 4
REQUIRED: dict[str, tuple[tuple[str, str], ...]] = {
    "/v1/chat/completions": (("messages", "[] is too short - 'messages'"),),
    "/v1/messages": (
        ("model", "model is required"),
        ("max_tokens", "max_tokens is required and must be positive"),
        ("messages", "messages is required"),
    ),
}
LIMITS = {"/v1/responses": "max_output_tokens"}


def text_of(content: Any) -> str:
    """Return the text of a content, be it a string or a list of parts."""
    if isinstance(content, list):
        return " ".join(text_of(part) for part in content)
    return str(content.get("text", content.get("content", ""))) if isinstance(content, dict) else str(content or "")


def native_body(path: str, body: JsonObject) -> JsonObject:
    """Return a request in Ollama's own words; refuse one that lacks what its API wants."""
    for name, message in REQUIRED.get(path, ()):
        if not body.get(name):
            raise Refused(error_for(path, 400, message))
    native: JsonObject = {name: body[name] for name in ("model", "tools") if name in body}
    native |= {"stream": body.get("stream", False), "options": _options(path, body)}
    if _thinks_not(body):
        native["think"] = False
    if path == "/v1/completions":
        return native | {"prompt": body.get("prompt", ""), "raw": True}
    spoken = [body.get("system"), body.get("instructions"), *_turns(body)]
    return native | {"messages": [{"role": "user", "content": text_of(turn)} for turn in spoken if turn is not None]}


def _options(path: str, body: JsonObject) -> JsonObject:
    limit = body.get(LIMITS.get(path, "max_tokens"))
    return {} if limit is None else {"num_predict": limit}


def _thinks_not(body: JsonObject) -> bool:
    efforts = (body.get("reasoning_effort"), body.get("reasoning", {}).get("effort"))
    return "none" in efforts or body.get("thinking", {}).get("type") == "disabled"


def _turns(body: JsonObject) -> list[Any]:
    if "messages" in body:
        return [message.get("content") for message in body["messages"]]
    given = body.get("input", "")
    return [given] if isinstance(given, str) else list(given)


def dialect_for(path: str, body: JsonObject) -> Dialect:
    """Return what answers a request to generate, whose body is the client's."""
    usage = bool(body.get("stream_options", {}).get("include_usage"))
    if path == "/v1/chat/completions":
        return OpenAIChat(include_usage=usage)
    if path == "/v1/completions":
        return OpenAICompletion(include_usage=usage)
    if path == "/v1/responses":
        return OpenAIResponses(body)
    if path == "/v1/messages":
        said = len(text_of([body.get("system"), *_turns(body)]))
        return AnthropicMessages(body["model"], max(1, said // CHARACTERS_A_TOKEN))
    return Native()


def form_of(request: Request) -> JsonObject:
    """Return the fields of a multipart form, the file's bytes among them; refuse what has no file."""
    head = f"Content-Type: {request.header('content-type')}\r\n\r\n".encode()
    message = message_from_bytes(head + request.body)
    form: JsonObject = {}
    for part in message.get_payload() if message.is_multipart() else []:
        if not isinstance(part, str):
            name = part.get_param("name", header="content-disposition")
            data = part.get_payload(decode=True)
            form[str(name)] = data if part.get_filename() else bytes(data or b"").decode()
    if "file" not in form:
        raise Refused(error_for(request.path, 400, "file is required"))
    return form
