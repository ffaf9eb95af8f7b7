"""What the upstream answers in each wire format, as bytes that are made before anybody asks."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

CREATED = "2026-01-01T00:00:00.000000000Z"
STAMPED = " %019d"  # a token's text: the time at which it was written
WORDS = 50
WHOLE_TEXT = " word" * WORDS
PROMPT_TOKENS = 3
DIMENSIONS = 384
JSON_HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"
LAST = b"0\r\n\r\n"


@dataclass(frozen=True)
class Frames:
    """One wire format; `token` is a template for the time, `closing` takes the tokens and whether usage is wanted."""

    content_type: str
    opening: bytes
    token: bytes
    closing: Callable[[int, bool], bytes]
    whole: bytes

    @property
    def head(self) -> bytes:
        """The reply's head, and what comes before the first token."""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {self.content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        return head.encode() + self.opening


def json_answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a whole reply."""
    return JSON_HEAD % (status, len(body)) + body


def _compact(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _chunks(*pieces: bytes) -> bytes:
    """Frame each piece as an HTTP chunk of its own, as Ollama flushes them."""
    return b"".join(b"%x\r\n" % len(piece) + piece + b"\r\n" for piece in pieces)


def _template(piece: bytes) -> bytes:
    return b"%x\r\n" % len(piece % 0) + piece + b"\r\n"


def _native(text: str, **figures: Any) -> bytes:
    return _compact({"model": "bench", "created_at": CREATED, "response": text, "done": bool(figures), **figures})


def _native_figures(tokens: int) -> dict[str, Any]:
    counts = {"prompt_eval_count": PROMPT_TOKENS, "prompt_eval_duration": 1000, "eval_count": tokens}
    durations = {"total_duration": 1000000, "load_duration": 1000}
    return {"done_reason": "stop", **durations, **counts, "eval_duration": 1000000}


NATIVE = Frames(
    content_type=NDJSON,
    opening=b"",
    token=_template(_native(STAMPED) + b"\n"),
    closing=lambda tokens, usage: _chunks(_native("", **_native_figures(tokens)) + b"\n") + LAST,
    whole=json_answer(_native(WHOLE_TEXT, **_native_figures(WORDS))),
)


def _chat(text: str, **figures: Any) -> bytes:
    message = {"role": "assistant", "content": text}
    return _compact({"model": "bench", "created_at": CREATED, "message": message, "done": bool(figures), **figures})


CHAT = Frames(
    content_type=NDJSON,
    opening=b"",
    token=_template(_chat(STAMPED) + b"\n"),
    closing=lambda tokens, usage: _chunks(_chat("", **_native_figures(tokens)) + b"\n") + LAST,
    whole=json_answer(_chat(WHOLE_TEXT, **_native_figures(WORDS))),
)


def _openai(kind: str, choices: list[dict[str, Any]], **more: Any) -> bytes:
    head = {"id": "chatcmpl-1", "object": kind, "created": 1767225600, "model": "bench"}
    return _compact({**head, "system_fingerprint": "fp_ollama", "choices": choices, **more})


def _openai_event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    return b"data: " + _openai("chat.completion.chunk", choices, **more) + b"\n\n"


def _openai_delta(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    return _openai_event([{"index": 0, "delta": delta, "finish_reason": finish_reason}])


def _openai_usage(tokens: int) -> dict[str, int]:
    total = PROMPT_TOKENS + tokens
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": tokens, "total_tokens": total}


def _openai_closing(tokens: int, usage: bool) -> bytes:
    counted = [_openai_event([], usage=_openai_usage(tokens))] if usage else []
    return _chunks(_openai_delta({}, "stop"), *counted, b"data: [DONE]\n\n") + LAST


def _openai_whole() -> bytes:
    message = {"role": "assistant", "content": WHOLE_TEXT}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json_answer(_openai("chat.completion", [choice], usage=_openai_usage(WORDS)))


OPENAI = Frames(
    content_type=EVENTS,
    opening=_chunks(_openai_delta({"role": "assistant", "content": ""})),
    token=_template(_openai_delta({"content": STAMPED})),
    closing=_openai_closing,
    whole=_openai_whole(),
)


def _anthropic_event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + _compact({"type": kind, **more}) + b"\n\n"


def _anthropic_message(content: list[dict[str, str]], stop_reason: str | None, tokens: int) -> dict[str, Any]:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "bench"}
    return {**head, "content": content, "stop_reason": stop_reason, "usage": _anthropic_usage(tokens)}


def _anthropic_usage(tokens: int) -> dict[str, int]:
    return {"input_tokens": PROMPT_TOKENS, "output_tokens": tokens}


def _anthropic_closing(tokens: int, usage: bool) -> bytes:
    delta = _anthropic_event("message_delta", delta={"stop_reason": "end_turn"}, usage=_anthropic_usage(tokens))
    return _chunks(_anthropic_event("content_block_stop", index=0), delta, _anthropic_event("message_stop")) + LAST


ANTHROPIC = Frames(
    content_type=EVENTS,
    opening=_chunks(
        _anthropic_event("message_start", message=_anthropic_message([], None, 0)),
        _anthropic_event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    ),
    token=_template(_anthropic_event("content_block_delta", index=0, delta={"type": "text_delta", "text": STAMPED})),
    closing=_anthropic_closing,
    whole=json_answer(_compact(_anthropic_message([{"type": "text", "text": WHOLE_TEXT}], "end_turn", WORDS))),
)


def _embeddings() -> bytes:
    vector = [round((number % 97) / 97 - 0.5, 8) for number in range(DIMENSIONS)]
    data = [{"object": "embedding", "embedding": vector, "index": 0}]
    usage = {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}
    return json_answer(_compact({"object": "list", "data": data, "model": "bench", "usage": usage}))


EMBEDDINGS = Frames("application/json", opening=b"", token=b"", closing=lambda tokens, usage: b"", whole=_embeddings())
