"""What Ollama serves in the words of OpenAI and Anthropic."""

from __future__ import annotations

from typing import Any, Final

from tests.e2e.differential.differential_case import Case, Json, get, post
from tests.e2e.differential.differential_generate import MESSAGES, NAMES, PIXEL, SCHEMA, TOOL
from tests.e2e.tiny_ollama import MODEL

ASKED: Final = [{"role": "user", "content": "Why?"}]
IMAGE: Final = f"data:image/png;base64,{PIXEL}"


def _part(url: Any, kind: str = "image_url") -> list[Json]:
    return [{"role": "user", "content": [{"type": "text", "text": "Why?"}, {"type": kind, "image_url": url}]}]


SHARED: Final[dict[str, Json]] = {
    "plain": {},
    "streamed": {"stream": True},
    "stream null": {"stream": None},
    "stream text": {"stream": "true"},
    "usage": {"stream": True, "stream_options": {"include_usage": True}},
    "usage off": {"stream": True, "stream_options": {"include_usage": False}},
    "usage null": {"stream": True, "stream_options": {"include_usage": None}},
    "usage empty": {"stream": True, "stream_options": {}},
    "usage options null": {"stream": True, "stream_options": None},
    "usage options text": {"stream": True, "stream_options": "all"},
    "usage options list": {"stream": True, "stream_options": []},
    "usage text": {"stream": True, "stream_options": {"include_usage": "yes"}},
    "usage unknown option": {"stream": True, "stream_options": {"include_obfuscation": True}},
    "usage variant": {"stream": True, "Stream_Options": {"Include_Usage": True}},
    "usage without stream": {"stream_options": {"include_usage": True}},
    "to the end": {"max_tokens": None, "stream": True},
    "to the end at once": {"max_tokens": None},
    "no tokens": {"max_tokens": 0},
    "negative tokens": {"max_tokens": -5},
    "tokens text": {"max_tokens": "3"},
    "tokens fraction": {"max_tokens": 3.5},
    "stop": {"stop": "is"},
    "stop list": {"stop": ["is", "\u2028"], "max_tokens": None},
    "stop numbers": {"stop": [7]},
    "stop number": {"stop": 7},
    "stop null": {"stop": None},
    "stop streamed": {"stop": ["😀"], "max_tokens": None, "stream": True},
    "seed": {"seed": 7},
    "seed text": {"seed": "7"},
    "temperature": {"temperature": 1.5, "top_p": 0.5, "frequency_penalty": 0.1, "presence_penalty": 0.1},
    "temperature text": {"temperature": "hot"},
    "top_p text": {"top_p": "x"},
    "ignored": {"n": 2, "user": "me", "logit_bias": {"1": 1}, "metadata": {"a": "b"}},
    "unknown field": {"a_field_of_next_month": [1]},
    "unknown streamed": {"model": "nope", "stream": True},
    "keep_alive": {"keep_alive": 0, "options": {"num_ctx": "x"}},
}
CHAT: Final[dict[str, Json]] = {
    "json": {"response_format": {"type": "json_object"}},
    "schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
    "schema missing": {"response_format": {"type": "json_schema"}},
    "format text": {"response_format": {"type": "text"}},
    "format garbage": {"response_format": {"type": "xml"}},
    "format string": {"response_format": "json"},
    "tools": {"tools": [TOOL]},
    "tools streamed": {"tools": [TOOL], "stream": True},
    "tools wrong": {"tools": "look"},
    "tool choice": {"tool_choice": "none"},
    "reasoning": {"reasoning_effort": "high"},
    "reasoning none": {"reasoning_effort": "none"},
    "logprobs": {"logprobs": True, "top_logprobs": 1},
    "completion tokens": {"max_completion_tokens": 2},
    "no messages": {"messages": []},
    "no messages streamed": {"messages": [], "stream": True},
    "messages null": {"messages": None},
    "image": {"messages": _part({"url": IMAGE})},
    "image text": {"messages": _part(IMAGE)},
    "image streamed": {"messages": _part({"url": IMAGE}), "stream": True},
    "image http": {"messages": _part({"url": "http://127.0.0.1:1/a.png"})},
    "image garbage": {"messages": _part({"url": "data:image/png;base64,%%%"})},
    "image type": {"messages": _part({"url": "data:image/tiff;base64,AAAA"})},
    "image null": {"messages": _part(None)},
    "image number": {"messages": _part({"url": 7})},
    "part unknown": {"messages": _part({"url": IMAGE}, "sound")},
    "parts empty": {"messages": [{"role": "user", "content": []}]},
    "parts strings": {"messages": [{"role": "user", "content": ["Why?"]}]},
    "tool result": {"messages": [*ASKED, {"role": "tool", "tool_call_id": "call_1", "content": "Sun."}]},
    "named": {"messages": [{"role": "user", "name": "me", "content": "Why?"}]},
    "developer": {"messages": [{"role": "developer", "content": "Be brief."}, *ASKED]},
}
COMPLETION: Final[dict[str, Json]] = {
    "no prompt": {"prompt": None},
    "empty prompt": {"prompt": ""},
    "empty prompt streamed": {"prompt": "", "stream": True},
    "prompts": {"prompt": ["a", "b"]},
    "tokens": {"prompt": [1, 2]},
    "suffix": {"suffix": "end"},
    "echo": {"echo": True, "best_of": 2, "logprobs": 1},
    "logprobs": {"logprobs": "x"},
    "unicode": {"prompt": "👩‍👩‍👧 \u0085\u2028\ud800"},
}
EMBEDDING: Final[dict[str, Json]] = {
    "text": {"input": "Why?"},
    "list": {"input": ["Why?", "Because."]},
    "tokens": {"input": [1, 2]},
    "nothing": {},
    "null": {"input": None},
    "empty": {"input": ""},
    "empty list": {"input": []},
    "empty texts": {"input": [""]},
    "number": {"input": 7},
    "mixed": {"input": ["a", 1]},
    "base64": {"input": "a", "encoding_format": "base64"},
    "format garbage": {"input": "a", "encoding_format": "x"},
    "dimensions": {"input": "a", "dimensions": 8},
    "dimensions text": {"input": "a", "dimensions": "8"},
    "user": {"input": "a", "user": "me"},
    "long": {"input": "why? " * 2000},
}
FORM: Final = (("Content-Type", "multipart/form-data; boundary=x"),)
SOUND: Final = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ntiny\r\n--x--\r\n'
OLD_AND_NEW: Final[dict[str, Json]] = {
    "/v1/responses": {"model": MODEL, "input": "Why?"},
    "/v1/messages": {"model": MODEL, "max_tokens": 3, "messages": ASKED},
}


def chat_completion(**fields: Any) -> Case:
    """Three words in OpenAI's chat."""
    body = {"model": MODEL, "messages": ASKED, "temperature": 0, "max_tokens": 3, **fields}
    return post("/v1/chat/completions", body)


def completion(**fields: Any) -> Case:
    """Three words by OpenAI's older route."""
    return post("/v1/completions", {"model": MODEL, "prompt": "Why?", "temperature": 0, "max_tokens": 3, **fields})


def embeddings(**fields: Any) -> Case:
    """Vectors in OpenAI's words."""
    return post("/v1/embeddings", {"model": MODEL, **fields})


def _cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for key, fields in SHARED.items():
        cases |= {f"v1 chat {key}": chat_completion(**fields), f"v1 text {key}": completion(**fields)}
    cases |= {f"v1 chat {key}": chat_completion(**fields) for key, fields in CHAT.items()}
    cases |= {f"v1 text {key}": completion(**fields) for key, fields in COMPLETION.items()}
    cases |= {f"v1 embeddings {key}": embeddings(**fields) for key, fields in EMBEDDING.items()}
    cases |= {f"v1 chat messages {key}": chat_completion(messages=value) for key, value in MESSAGES.items()}
    for key, name in NAMES.items():
        cases |= {f"v1 chat model {key}": chat_completion(model=name), f"v1 text model {key}": completion(model=name)}
        cases |= {f"v1 embeddings model {key}": embeddings(model=name, input="a")}
    for key, name in {"known": MODEL, "tag": "tiny:latest", "upper": "TINY", "unknown": "nope"}.items():
        cases |= {f"v1 model {key}": get(f"/v1/models/{name}")}
    for key, name in {
        "space": "a%20b",
        "no UTF-8": "t%FFny",
        "unicode": "t%C3%AFny",
        "percent": "t%2569ny",
        "query": "tiny?a=b",
    }.items():
        cases |= {f"v1 model {key}": get(f"/v1/models/{name}")}
    cases |= {"v1 sound": post("/v1/audio/transcriptions", SOUND, FORM)}
    cases |= {"v1 sound as JSON": post("/v1/audio/transcriptions", {"model": MODEL})}
    cases |= {f"{route} empty": post(route, b"") for route in OLD_AND_NEW}
    return cases


CASES: Final = _cases()
