"""How an API says what a generation says: made of Ollama's own lines, one after the other, as Ollama does it."""

from abc import ABC, abstractmethod
from typing import ClassVar

from tests.fakes.http11 import Reply, head_bytes
from tests.fakes.ollama_errors import plain_json
from tests.fakes.ollama_shapes import NDJSON_TYPE, JsonObject, encode, json_reply

SSE_TYPE = "text/event-stream"
GARBAGE = (b"this is not json", b'{"model": oops', b"\xff\xfe")


def stream_head(content_type: str, **headers: str) -> bytes:
    """Return the head of a streamed answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return head_bytes(200, {"Content-Type": content_type, **named, "Transfer-Encoding": "chunked"})


def counts(line: JsonObject) -> tuple[int, int]:
    """Return how many tokens a line says were read and written; left out means none."""
    return line.get("prompt_eval_count", 0), line.get("eval_count", 0)


class Dialect(ABC):
    """One answer in one API's words; each request has its own, for a stream has a state.

    A line `{"error": …}` is what Ollama's bridges see of a runner that died: they take it for an empty line.
    """

    head: ClassVar[bytes] = stream_head(SSE_TYPE)

    @abstractmethod
    def events(self, line: JsonObject) -> list[bytes]:
        """Return what a stream says for one of Ollama's own lines, as many writes."""

    @abstractmethod
    def summary(self, line: JsonObject) -> JsonObject:
        """Return the object of an answer that is not streamed, made of Ollama's own."""

    def whole(self, line: JsonObject) -> Reply:
        """Return an answer that is not streamed."""
        return plain_json(self.summary(line))

    def garbage(self) -> list[bytes]:
        """Return events that are not JSON."""
        return [b"data: " + junk + b"\n\n" for junk in GARBAGE]


class Native(Dialect):
    """Ollama's own: a line of JSON each."""

    head = stream_head(NDJSON_TYPE)

    def events(self, line: JsonObject) -> list[bytes]:
        """Return the line."""
        return [encode(line) + b"\n"]

    def summary(self, line: JsonObject) -> JsonObject:
        """Return the line."""
        return line

    def whole(self, line: JsonObject) -> Reply:
        """Return the line, without a newline."""
        return json_reply(line)

    def garbage(self) -> list[bytes]:
        """Return lines that are not JSON."""
        return [junk + b"\n" for junk in GARBAGE]
