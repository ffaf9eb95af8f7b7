"""Inference of the fake Ollama: generations and embeddings, in whichever API they are asked for."""

import base64
import struct
from typing import Any

from tests.fakes.http11 import Connection, Reply, Request
from tests.fakes.ollama_errors import Refused, error_for, plain_json
from tests.fakes.ollama_modes import MODE_WORDS, Mode, Script
from tests.fakes.ollama_play import Stage
from tests.fakes.ollama_requests import body_of, check_model, generation_for, inputs_of, load_reason
from tests.fakes.ollama_routes import NATIVE_INFERENCE
from tests.fakes.ollama_shapes import (
    NDJSON_TYPE,
    TEXT_TYPE,
    Generation,
    JsonObject,
    encode,
    json_reply,
    metrics,
    vector,
)
from tests.fakes.v1_requests import dialect_for, form_of, native_body

VECTOR_SIZE = 8
MAX_VECTOR_SIZE = 4096
EMBED_FIGURES = ("total_duration", "load_duration", "prompt_eval_count")
EMBEDDINGS = ("/api/embed", "/api/embeddings", "/v1/embeddings")
FORMATS = ("float", "base64")


async def infer(script: Script, connection: Connection, request: Request, path: str) -> None:
    """Answer a request for inference."""
    stage = Stage(script.mode, script, connection, path)
    body = form_of(request) if path == "/v1/audio/transcriptions" else body_of(request)
    if await stage.opening():
        return
    native = body if path in NATIVE_INFERENCE or path in EMBEDDINGS else native_body(path, body)
    known = [] if stage.mode is Mode.NOT_FOUND_MODEL else script.models
    body["model"] = native["model"] = check_model(path, body, known)
    if path in EMBEDDINGS:
        await stage.whole(_embedded(path, body))
    elif path == "/v1/audio/transcriptions":
        await stage.whole(_transcribed(_generation(stage, native), str(body.get("response_format", ""))))
    else:
        await _generate(stage, body, native)


def _generation(stage: Stage, native: JsonObject) -> Generation:
    script = stage.script
    path = stage.path if stage.path in NATIVE_INFERENCE else "/api/generate" if "prompt" in native else "/api/chat"
    words = MODE_WORDS.get(stage.mode, script.words)
    return generation_for(path, native, words, script.tool_calls, script.thinking, script.context_size)


async def _generate(stage: Stage, body: JsonObject, native: JsonObject) -> None:
    dialect, generation = dialect_for(stage.path, body), _generation(stage, native)
    streamed = native.get("stream", True)
    if reason := load_reason("/api/chat" if generation.chat else "/api/generate", native):
        loaded = generation.loaded(reason)
        if streamed and stage.path not in NATIVE_INFERENCE:
            await stage.stream(dialect, [], loaded)
        else:
            await stage.connection.send(dialect.whole(loaded))
    elif streamed:
        await stage.stream(dialect, generation.lines(), generation.last())
    else:
        whole = generation.unfinished() if stage.mode is Mode.NO_DONE else generation.whole()
        await stage.whole(dialect.whole(whole))


def _transcribed(generation: Generation, response_format: str) -> Reply:
    text = "".join(generation.words).strip()
    if response_format == "text":
        return Reply(200, TEXT_TYPE, text.encode())
    # The headers have left with the first line of the chat behind it, so their type is that of a stream.
    return Reply(200, NDJSON_TYPE, encode({"text": text}) + b"\n")


def _embedded(path: str, body: JsonObject) -> Reply:
    size = min(max(body.get("dimensions") or VECTOR_SIZE, 1), MAX_VECTOR_SIZE)
    if path == "/api/embeddings":
        prompt = body.get("prompt", "")
        return json_reply({"embedding": vector(prompt, size) if prompt else []})
    if path == "/v1/embeddings":
        return _openai_embedded(path, body, size)
    texts = inputs_of(body)
    reply: JsonObject = {"model": body["model"], "embeddings": [vector(text, size) for text in texts]}
    figures = metrics(_word_count(texts), 0) if texts else {}
    return json_reply(reply | {name: figures[name] for name in EMBED_FIGURES if name in figures})


def _openai_embedded(path: str, body: JsonObject, size: int) -> Reply:
    encoding = str(body.get("encoding_format", "float")).lower()
    if encoding not in FORMATS:
        message = f"Invalid value for 'encoding_format' = {encoding}. Supported values: ['float', 'base64']."
        raise Refused(error_for(path, 400, message))
    if body.get("input") in (None, []):
        raise Refused(error_for(path, 400, "invalid input"))
    texts, count = inputs_of(body, path), 0
    data = []
    for index, text in enumerate(texts):
        values: Any = vector(text, size)
        if encoding == "base64":
            values = base64.b64encode(struct.pack(f"<{size}f", *values)).decode()
        data.append({"object": "embedding", "embedding": values, "index": index})
    count = _word_count(texts)
    usage = {"prompt_tokens": count, "total_tokens": count}
    return plain_json({"object": "list", "data": data, "model": body["model"], "usage": usage})


def _word_count(texts: list[str]) -> int:
    return sum(len(text.split()) for text in texts)
