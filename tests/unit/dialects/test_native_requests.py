"""Requests of OpenAI's routes as Ollama's own routes take them, and what is refused in Ollama's words."""

from __future__ import annotations

from typing import Any

import pytest

from mlops_backend.errors import BadRequest
from mlops_backend.services.llm.dialects.native import ROUTES, Carried

ASKED = [{"role": "user", "content": "Hi"}]
PIXEL = "iVBORw0KGgo="
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"sky"}'}}
NATIVE_CALL = {"id": "call_1", "function": {"name": "look", "arguments": {"at": "sky"}}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object"}
DEFAULTS = {"temperature": 1.0, "top_p": 1.0}


def chat(**fields: Any) -> Carried:
    """A chat that is carried."""
    return ROUTES["/v1/chat/completions"]({"model": "m", "messages": ASKED, **fields})


def completion(**fields: Any) -> Carried:
    """A completion that is carried."""
    return ROUTES["/v1/completions"]({"model": "m", "prompt": "Hi", **fields})


def embeddings(**fields: Any) -> Carried:
    """Embeddings that are carried."""
    return ROUTES["/v1/embeddings"]({"model": "m", **fields})


def said(*messages: Any) -> Any:
    """A conversation in Ollama's words."""
    return chat(messages=list(messages)).body["messages"]


def test_a_chat() -> None:
    """What Ollama's own `/v1` makes of it: not streamed, at temperature 1, from all tokens."""
    carried = chat()
    assert (carried.path, carried.translator) == ("/api/chat", None)
    assert carried.body == {"model": "m", "messages": ASKED, "stream": False, "options": DEFAULTS}


def test_a_completion() -> None:
    """The same."""
    assert completion().path == "/api/generate"
    assert completion(suffix="end").body["suffix"] == "end"
    assert completion().body == {"model": "m", "prompt": "Hi", "stream": False, "options": DEFAULTS}


def test_embeddings() -> None:
    """An empty text is one text."""
    assert embeddings(input=["a", "b"], dimensions=8).body == {"model": "m", "input": ["a", "b"], "dimensions": 8}
    assert embeddings(input="").body == {"model": "m", "input": [""]}
    assert embeddings(input="a", encoding_format="BASE64").path == "/api/embed"


def test_options() -> None:
    """Those that Ollama reads; others are overlooked, and so is what only its own routes take."""
    fields = {"temperature": 0, "top_p": 0.5, "seed": 7, "frequency_penalty": 0.1, "presence_penalty": -1}
    more = {"n": 2, "user": "me", "logit_bias": {}, "keep_alive": 0, "options": {"num_ctx": 1}}
    for made in (chat, completion):
        carried = made(**fields, max_tokens=3, stop="x", **more)
        assert carried.body["options"] == {**fields, "num_predict": 3, "stop": ["x"]}
        assert not {"keep_alive", "n", "user"} & carried.body.keys()


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({"max_completion_tokens": 5}, 5),
        ({"max_tokens": 9, "max_completion_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 9}, 5),
        ({"max_tokens": -1, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 1, "max_completion_tokens": 9}, 1),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": None}, None),
    ],
)
def test_the_maximum_of_a_chat(fields: dict[str, Any], most: int | None) -> None:
    """By either name; the smaller one of two."""
    assert chat(**fields).body["options"].get("num_predict") == most


def test_stop_texts() -> None:
    """A chat passes over those that are no texts; a top_p of zero is none for a completion."""
    assert chat(stop=["a", 7, None, "b"]).body["options"]["stop"] == ["a", "b"]
    nothing: tuple[Any, ...] = (None, [], 7, {})
    for stop in nothing:
        assert "stop" not in chat(stop=stop).body["options"]
        assert "stop" not in completion(stop=stop).body["options"]
    assert completion(top_p=0).body["options"]["top_p"] == 1.0
    assert chat(top_p=0).body["options"]["top_p"] == 0


def test_streams() -> None:
    """The usage only where it is asked for."""
    line = b'{"model":"m","message":{"content":""},"response":"","done":true}\n'
    for made, kind in ((chat, b'"chat.completion.chunk"'), (completion, b'"text_completion"')):
        for options, is_told in ((None, False), ({"include_usage": False}, False), ({"include_usage": True}, True)):
            carried = made(stream=True, stream_options=options)
            assert carried.body["stream"] is True
            assert carried.translator is not None
            events = carried.translator().feed(line)
            assert (kind in events, b'"usage"' in events) == (True, is_told)


def test_names_match_as_in_go() -> None:
    """In any case."""
    body = {"MODEL": "m", "Messages": [{"Role": "user", "CONTENT": "Hi"}], "\u017ftream": True}
    carried = ROUTES["/v1/chat/completions"](body)
    assert carried.body == {"model": "m", "messages": ASKED, "stream": True, "options": DEFAULTS}


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"type": "json_object"}, "json"),
        ({"type": " JSON_Object "}, "json"),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}, SCHEMA),
        ({"type": "json_schema"}, None),
        ({"type": "text"}, None),
        ({"type": "xml"}, None),
        (None, None),
    ],
)
def test_forms(form: Any, told: Any) -> None:
    """`json`, or the schema itself."""
    assert chat(response_format=form).body.get("format") == told


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({"reasoning_effort": "high"}, "high"),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning_effort": "xhigh"}, "max"),
        ({"reasoning": {"effort": "low"}}, "low"),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, "low"),
        ({"reasoning": {}}, None),
        ({"reasoning_effort": ""}, None),
        ({}, None),
    ],
)
def test_how_long_to_think(fields: dict[str, Any], think: Any) -> None:
    """In Ollama's words."""
    assert chat(**fields).body.get("think") == think


def test_scores() -> None:
    """Switched on in a chat, numbered in a completion."""
    wanted = {"logprobs": True, "top_logprobs": 2}
    assert wanted.items() <= chat(**wanted).body.items()
    assert wanted.items() <= completion(logprobs=2).body.items()
    assert "top_logprobs" not in chat(logprobs=True, top_logprobs=0).body
    assert "top_logprobs" not in chat(logprobs=True, top_logprobs=2.5).body
    for body in (chat(top_logprobs=2).body, completion(logprobs=0).body, completion(logprobs="x").body):
        assert not wanted.keys() & body.keys()


def test_tools() -> None:
    """As they came, with their members in order."""
    assert chat(tools=[TOOL]).body["tools"] == [TOOL]


def test_calls_and_results() -> None:
    """Arguments are an object; a result has the name of the function that it is of, by the id of its call."""
    call = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "Blue."}
    assert said(*ASKED, call, result) == [
        *ASKED,
        {"role": "assistant", "content": "", "tool_calls": [NATIVE_CALL]},
        {"role": "tool", "content": "Blue.", "tool_name": "look", "tool_call_id": "call_1"},
    ]
    (named,) = said({**result, "name": "see"})
    assert named["tool_name"] == "see"
    (unknown,) = said(result)
    assert "tool_name" not in unknown
    twice = {**CALL, "function": {"name": "hear", "arguments": "{}"}}
    *_, last = said(call, {**call, "tool_calls": [twice]}, result)
    assert last["tool_name"] == "hear"


def test_calls_beside_a_text() -> None:
    """Text, thoughts and calls are one message; an empty list of calls needs no text either."""
    message = {"role": "assistant", "content": "See:", "reasoning": "Hm.", "tool_calls": [CALL], "name": "me"}
    told = {"role": "assistant", "content": "See:", "thinking": "Hm.", "tool_calls": [NATIVE_CALL]}
    assert said(message) == [told]
    parts = [{"type": "text", "text": words} for words in ("a", "b", "See:")]
    first, second, last = said({**message, "content": parts})
    assert (first, second) == ({"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"})
    assert last == told
    assert said({"role": "assistant", "tool_calls": []}) == [{"role": "assistant", "content": ""}]
    nothing = {**CALL, "function": {"name": "look", "arguments": "null"}}
    assert said({"role": "assistant", "tool_calls": [nothing]})[0]["tool_calls"][0]["function"]["arguments"] == {}


@pytest.mark.parametrize("start", ["data:image/png;base64,", "data:image/jpeg;base64,", "data:;base64,"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_images(start: str, *, wrapped: bool) -> None:
    """Each part is a message, as Ollama makes it; an image is its base64 alone."""
    url: Any = {"url": start + PIXEL} if wrapped else start + PIXEL
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": url}]
    assert said({"role": "user", "content": parts}) == [
        {"role": "user", "content": "What is it?"},
        {"role": "user", "content": "", "images": [PIXEL]},
    ]
    assert said({"role": "user", "content": []}, *ASKED) == ASKED


def part(**fields: Any) -> dict[str, Any]:
    """A chat whose message is one part."""
    return {"messages": [{"role": "user", "content": [fields]}]}


def of_type(name: str, found: str, wanted: str, struct: str = "ChatCompletionRequest") -> str:
    """Go's words for a value of a wrong type."""
    return f"json: cannot unmarshal {found} into Go struct field {struct}.{name} of type {wanted}"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no messages": ({"messages": []}, "[] is too short - 'messages'"),
    "null": ({"messages": None}, "[] is too short - 'messages'"),
    "content null": ({"messages": [{"role": "user"}]}, "invalid message content type: <nil>"),
    "message null": ({"messages": [None]}, "invalid message content type: <nil>"),
    "content number": ({"messages": [{"content": 7}]}, "invalid message content type: float64"),
    "content object": ({"messages": [{"content": {}}]}, "invalid message content type: map[string]interface {}"),
    "content flag": ({"messages": [{"content": True}]}, "invalid message content type: bool"),
    "part text": ({"messages": [{"content": ["Hi"]}]}, "invalid message format"),
    "part unknown": (part(type="input_audio"), "invalid message format"),
    "part without text": (part(type="text"), "invalid message format"),
    "image by address": (part(type="image_url", image_url={"url": "http://x/a.png"}), "invalid image input"),
    "image null": (part(type="image_url", image_url=None), "invalid message format"),
    "image number": (part(type="image_url", image_url={"url": 7}), "invalid message format"),
    "message text": ({"messages": ["Hi"]}, of_type("messages", "string", "openai.Message")),
    "messages text": ({"messages": "Hi"}, of_type("messages", "string", "[]openai.Message")),
    "role": ({"messages": [{"role": 7}]}, of_type("messages.role", "number", "string", "Message")),
    "model": ({"model": 7}, of_type("model", "number", "string")),
    "stream": ({"stream": "yes"}, of_type("stream", "string", "bool")),
    "stream options": ({"stream_options": []}, of_type("stream_options", "array", "openai.StreamOptions")),
    "usage": (
        {"stream_options": {"include_usage": 1}},
        of_type("stream_options.include_usage", "number", "bool", "StreamOptions"),
    ),
    "maximum text": ({"max_tokens": "3"}, of_type("max_tokens", "string", "int")),
    "maximum fraction": ({"max_tokens": 3.5}, of_type("max_tokens", "number 3.5", "int")),
    "maximum flag": ({"max_tokens": True}, of_type("max_tokens", "bool", "int")),
    "maximum large": ({"max_tokens": 2**63}, of_type("max_tokens", f"number {2**63}", "int")),
    "seed": ({"seed": "7"}, of_type("seed", "string", "int")),
    "temperature": ({"temperature": "hot"}, of_type("temperature", "string", "float64")),
    "temperature endless": ({"temperature": float("inf")}, of_type("temperature", "number", "float64")),
    "temperature no number": ({"temperature": float("nan")}, of_type("temperature", "number", "float64")),
    "top_p": ({"top_p": []}, of_type("top_p", "array", "float64")),
    "form": ({"response_format": "json"}, of_type("response_format", "string", "openai.ResponseFormat")),
    "tools": ({"tools": "look"}, of_type("tools", "string", "[]api.Tool")),
    "effort": (
        {"reasoning_effort": "long"},
        'invalid reasoning value: \'long\' (must be "high", "medium", "low", "max", or "none")',
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_chats(name: str) -> None:
    """In the words of Ollama's `/v1`."""
    fields, words = REFUSED[name]
    with pytest.raises(BadRequest) as caught:
        chat(**fields)
    assert caught.value.message == words


@pytest.mark.parametrize("arguments", ["", "{", "[]", '"a"', "7"])
def test_refused_arguments(arguments: str) -> None:
    """What is no object is no arguments."""
    call = {**CALL, "function": {"name": "look", "arguments": arguments}}
    with pytest.raises(BadRequest, match=r"^invalid tool call arguments$"):
        said({"role": "assistant", "tool_calls": [call]})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (7, of_type("messages.tool_calls", "number", "openai.ToolCall", "Message")),
        ({"id": 7}, of_type("messages.tool_calls.id", "number", "string", "ToolCall")),
        ({"function": {"arguments": {}}}, of_type("messages.tool_calls.function.arguments", "object", "string", "")),
    ],
)
def test_refused_calls(call: Any, words: str) -> None:
    """Go's words."""
    with pytest.raises(BadRequest) as caught:
        said({"role": "assistant", "tool_calls": [call]})
    assert caught.value.message == words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": ["a"]}, of_type("prompt", "array", "string", "CompletionRequest")),
        ({"top_p": "x"}, of_type("top_p", "string", "float32", "CompletionRequest")),
        ({"suffix": 7}, of_type("suffix", "number", "string", "CompletionRequest")),
        ({"stop": ["a", 7]}, "invalid type for 'stop' field: float64"),
        ({"stop": [None]}, "invalid type for 'stop' field: <nil>"),
        ({"stop": [{}]}, "invalid type for 'stop' field: map[string]interface {}"),
    ],
)
def test_refused_completions(fields: dict[str, Any], words: str) -> None:
    """In the words of Ollama's `/v1`."""
    with pytest.raises(BadRequest) as caught:
        completion(**fields)
    assert caught.value.message == words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "invalid input"),
        ({"input": []}, "invalid input"),
        (
            {"input": "a", "encoding_format": "x"},
            "Invalid value for 'encoding_format' = x. Supported values: ['float', 'base64'].",
        ),
        ({"input": "a", "dimensions": "8"}, of_type("dimensions", "string", "int", "EmbedRequest")),
    ],
)
def test_refused_embeddings(fields: dict[str, Any], words: str) -> None:
    """In the words of Ollama's `/v1`; what kind of text it is is for its own route to say."""
    with pytest.raises(BadRequest) as caught:
        embeddings(**fields)
    assert caught.value.message == words
    assert embeddings(input=7).body["input"] == 7
