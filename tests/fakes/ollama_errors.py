"""The shape of an error on each route: Ollama's own, OpenAI's and Anthropic's."""

import secrets

from tests.fakes.http11 import Reply
from tests.fakes.ollama_shapes import TEXT_TYPE, encode, error_reply

PLAIN_JSON_TYPE = "application/json"
OPENAI_TYPES = {400: "invalid_request_error", 404: "not_found_error"}
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}
NO_ROUTE = Reply(404, TEXT_TYPE, b"404 page not found")


class Refused(Exception):
    """The request is answered with this reply and nothing else."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def plain_json(value: object, status: int = 200) -> Reply:
    """Return an object as the routes under /v1 write it: no charset, and a newline at the end."""
    return Reply(status, PLAIN_JSON_TYPE, encode(value) + b"\n")


def error_for(path: str, status: int, message: str) -> Reply:
    """Return an error in the shape of the API that a path belongs to."""
    if path.startswith("/v1/messages"):
        error = {"type": ANTHROPIC_TYPES.get(status, "api_error"), "message": message}
        return plain_json({"type": "error", "error": error, "request_id": new_id("req")}, status)
    if path.startswith("/v1/"):
        kind = OPENAI_TYPES.get(status, "api_error")
        return plain_json({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)
    return error_reply(status, message)


def new_id(kind: str) -> str:
    """Return an identifier as Ollama makes them for Anthropic's API."""
    return f"{kind}_{secrets.token_hex(12)}"
