"""Whole answers of Ollama's own routes in OpenAI's words, and refusals of both."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects import Dialect
from mlops_backend.services.llm.dialects.native import refusal, reworded
from mlops_backend.services.llm.dialects.native.replies import chat_reply, completion_reply, embeddings_reply

COUNTS = {"prompt_eval_count": 3, "eval_count": 2}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
MESSAGE = {"role": "assistant", "content": "Blue."}
CALL = {"function": {"name": "look", "arguments": {"at": "sky", "ä": "<&>"}}}
SCORES = [{"token": "a", "logprob": -0.5}]


def chat(message: Any, **more: Any) -> dict[str, Any]:
    """A chat's answer in OpenAI's words."""
    return chat_reply({"model": "m", "message": message, "done": True, "done_reason": "stop", **COUNTS, **more})


def test_a_chat() -> None:
    """Its head is the one that Ollama gives."""
    answer = chat(MESSAGE)
    assert answer.pop("id").startswith("chatcmpl-")
    assert answer.pop("created") > 1_700_000_000
    assert answer == {
        "object": "chat.completion",
        "model": "m",
        "system_fingerprint": "fp_ollama",
        "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
        "usage": USAGE,
    }
    assert chat(MESSAGE)["id"] != chat(MESSAGE)["id"]


def test_a_completion() -> None:
    """The same."""
    answer = completion_reply({"model": "m", "response": "Blue.", "done_reason": "length", "context": [1], **COUNTS})
    assert answer.pop("id").startswith("cmpl-")
    del answer["created"]
    assert answer == {
        "object": "text_completion",
        "model": "m",
        "system_fingerprint": "fp_ollama",
        "choices": [{"text": "Blue.", "index": 0, "finish_reason": "length"}],
        "usage": USAGE,
    }


def test_thoughts_and_calls() -> None:
    """A call is why the answer ends, whatever Ollama says."""
    (choice,) = chat({**MESSAGE, "content": "", "thinking": "Hm.", "tool_calls": [CALL, CALL]})["choices"]
    first, second = choice["message"]["tool_calls"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", "")
    assert choice["message"]["reasoning"] == "Hm."
    assert (first["index"], second["index"], first["type"]) == (0, 1, "function")
    assert first["function"] == {"name": "look", "arguments": '{"at":"sky","ä":"<&>"}'}
    assert first["id"].startswith("call_")
    assert first["id"] != second["id"]
    (kept,) = chat({"tool_calls": [{"id": "call_7", "function": {"name": "look"}}]})["choices"][0]["message"][
        "tool_calls"
    ]
    assert (kept["id"], kept["function"]["arguments"]) == ("call_7", "{}")


def test_what_is_left_out() -> None:
    """A count of zero, a reason, a role, a text."""
    answer = chat_reply({"message": {}})
    assert answer["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": ""},
        "finish_reason": None,
    }
    assert (set(answer["usage"].values()), answer["model"]) == ({0}, "")


def test_scores_and_cached_tokens() -> None:
    """Where an Ollama tells them."""
    answer = chat(MESSAGE, logprobs=SCORES, prompt_eval_cached_count=2)
    assert answer["choices"][0]["logprobs"] == {"content": SCORES}
    assert answer["usage"] == {**USAGE, "prompt_tokens_details": {"cached_tokens": 2}}
    assert completion_reply({"response": "", "logprobs": SCORES})["choices"][0]["logprobs"] == {"content": SCORES}


def test_embeddings() -> None:
    """By the client's name of the model; packed where that is asked for."""
    told = {"model": "m:latest", "embeddings": [[1.0, 0], [0.5, -2]], "prompt_eval_count": 4}
    answer = embeddings_reply(told, "m", "")
    assert answer == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [1.0, 0]},
            {"object": "embedding", "index": 1, "embedding": [0.5, -2]},
        ],
        "model": "m",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    packed = embeddings_reply({"embeddings": [[1.0, 0]]}, "m", "base64")
    assert packed["data"][0]["embedding"] == "AACAPwAAAAA="
    assert packed["usage"]["prompt_tokens"] == 0


NONSENSE: list[tuple[Callable[[Mapping[str, Any]], Any], dict[str, Any]]] = [
    (chat_reply, {}),
    (chat_reply, {"message": "Blue."}),
    (chat_reply, {"message": {"tool_calls": [7]}}),
    (chat_reply, {"message": {"tool_calls": [{"function": {}}]}}),
    (chat_reply, {"message": {"tool_calls": 7}}),
    (chat_reply, {"message": {}, "eval_count": "2"}),
    (completion_reply, {}),
    (completion_reply, {"response": 7}),
    (lambda told: embeddings_reply(told, "m", ""), {}),
    (lambda told: embeddings_reply(told, "m", "base64"), {"embeddings": [["a"]]}),
    (lambda told: embeddings_reply(told, "m", "base64"), {"embeddings": [7]}),
    (lambda told: embeddings_reply(told, "m", "base64"), {"embeddings": [[1e300]]}),
]


@pytest.mark.parametrize(("reply", "told"), NONSENSE)
def test_nonsense(reply: Callable[[Mapping[str, Any]], Any], told: dict[str, Any]) -> None:
    """Is the backend's failure."""
    with pytest.raises(BackendNonsense):
        reply(told)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (404, "not_found_error"), (500, "api_error"), (503, "api_error")],
)
def test_a_refusal(status: int, kind: str) -> None:
    """In OpenAI's form, with Ollama's words for its kind."""
    error = {"error": {"message": "No.", "type": kind, "param": None, "code": None}}
    assert json.loads(refusal(Dialect.OPENAI, status, "No.", "id")) == error
    told = reworded(Dialect.OPENAI, status, b'{"error":"No."}', "id")
    assert told is not None
    assert (json.loads(told), told.endswith(b"\n")) == (error, True)


@pytest.mark.parametrize("body", [b"404 page not found", b"", b'{"error":{"message":"No."}}', b"[]", b'{"x":1}'])
def test_what_is_no_refusal_of_ollamas(body: bytes) -> None:
    """Is left as it is."""
    assert reworded(Dialect.OPENAI, 404, body, "id") is None
