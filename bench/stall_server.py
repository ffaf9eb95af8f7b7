"""A backend for the stall probe, which reads no body: `python -m bench.stall_server --port N`.

A request whose model is `large` is answered with megabytes, every other one with a short answer.
"""

import argparse
import asyncio
import json
import signal
from collections.abc import Callable
from functools import cache
from typing import Any

LARGE = b'"large"'
_ENDS = 64 * 1024
_MODELS = ("small", "large")


def _numbers(count: int) -> list[float]:
    return [(number * 0.6180339887498949) % 2 - 1 for number in range(count)]


def _tags(name: str, count: int = 1) -> dict[str, Any]:
    names = [*_MODELS, *(f"{name}-{number}" for number in range(count - 1))]
    return {"models": [{"name": each, "model": each, "size": 1, "digest": "0" * 64} for each in names]}


def _ollama(text: str) -> dict[str, Any]:
    counts = {"done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 3}
    told = {"model": "small", "created_at": "2026-01-01T00:00:00Z", "response": text}
    return {**told, "message": {"role": "assistant", "content": text}, **counts}


def _openai(text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "small", "choices": [choice], "usage": usage}


def _anthropic(text: str) -> dict[str, Any]:
    usage = {"input_tokens": 3, "output_tokens": 3}
    content = [{"type": "text", "text": text}]
    return {"id": "1", "type": "message", "role": "assistant", "model": "small", "content": content, "usage": usage}


def _embed(rows: int, width: int) -> dict[str, Any]:
    return {"model": "small", "embeddings": [_numbers(width)] * rows, "prompt_eval_count": 3}


def _embeddings(rows: int, width: int) -> dict[str, Any]:
    data = [{"object": "embedding", "index": row, "embedding": _numbers(width)} for row in range(rows)]
    return {"object": "list", "data": data, "model": "small", "usage": {"prompt_tokens": 3, "total_tokens": 3}}


SHORT = "Blue."
LONG = 'He said: "blue".\n' * 1_200_000
ANSWERS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "/api/tags": lambda large: _tags("model"),
    "/api/version": lambda large: {"version": "0.14.0"},
    "/api/ps": lambda large: {"models": []},
    "/v1/models": lambda large: {"object": "list", "data": [{"id": name, "object": "model"} for name in _MODELS]},
    "/api/chat": lambda large: _ollama(LONG if large else SHORT),
    "/api/generate": lambda large: _ollama(LONG if large else SHORT),
    "/api/embed": lambda large: _embed(2000 if large else 1, 1000),
    "/v1/embeddings": lambda large: _embeddings(2000 if large else 1, 1000),
    "/v1/chat/completions": lambda large: _openai(LONG if large else SHORT),
    "/v1/messages": lambda large: _anthropic(LONG if large else SHORT),
}


@cache
def answer_to(path: str, *, large: bool) -> bytes:
    """A whole answer, its head included."""
    made = ANSWERS.get(path)
    status, value = ("200 OK", made(large)) if made else ("404 Not Found", {"error": "not found"})
    body = json.dumps(value).encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request after the other."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            left, ends, last = _length(head), b"", b""
            while left > 0:
                piece = await reader.readexactly(min(left, _ENDS))
                ends, last, left = ends or piece, piece, left - len(piece)
            path = head.split(b" ", 2)[1].decode("latin-1")
            writer.write(answer_to(path, large=LARGE in ends or LARGE in last))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def serve(port: int) -> None:
    """Serve until told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    for path in ANSWERS:
        answer_to(path, large=True)
    server = await asyncio.start_server(converse, "127.0.0.1", port, limit=1 << 20)
    await stop.wait()
    server.close()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
