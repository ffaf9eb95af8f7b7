"""Bodies of `/api/llm/*`: Ollama's field names and types.

Validation only checks; what goes to the backend is the client's own JSON, unknown fields included, since Ollama grows
about monthly. Go reads keys without regard to case and takes the last of several, so a key that differs from a known
one in case alone would slip past what was checked: it is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    RootModel,
    Tag,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from mlops_backend.schemas.schema import Schema

Number = Annotated[float, Field(allow_inf_nan=False)]
T = TypeVar("T")
# The first wrong element is enough: one error each would cost seconds and gigabytes for a few megabytes of them.
ListOf = Annotated[list[T], Field(fail_fast=True)]
Images = Annotated[ListOf[str], Field(description="Base64 without a data: prefix")]


class _Body(Schema):
    model_config = ConfigDict(extra="allow", strict=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _no_case_variants(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                known = key.casefold()
                if key != known and (known in cls.model_fields or known == "stream"):
                    raise ValueError(f"a field is {known!r} in another case; write it exactly")
        return data


class Options(_Body):
    """Sampling and runner options; see Ollama's Modelfile parameters. Unknown ones are passed on."""

    num_predict: Number | None = Field(None, description="At most this many tokens; -1: no limit")
    num_ctx: Number | None = None
    temperature: Number | None = None
    top_k: Number | None = None
    top_p: Number | None = None
    min_p: Number | None = None
    repeat_penalty: Number | None = None
    seed: Number | None = None
    stop: ListOf[str] | None = None


class _Inference(_Body):
    model: str | None = Field(
        None, min_length=1, max_length=512, description="May be left out when there is a default or a single model"
    )
    options: Options | None = None
    keep_alive: Number | str | None = Field(None, description="Seconds, or a duration such as 5m; below 0: for ever")


class Generating(_Inference):
    """What a request for a generation may say of it, whatever it is made from."""

    format: Literal["", "json"] | dict[str, Any] | None = Field(None, description="`json` or a JSON schema")
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    truncate: bool | None = None
    shift: bool | None = None


class GenerateRequest(Generating):
    """A prompt to complete. A `stream` field is ignored: the route decides."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"prompt": "Why is the sky blue?", "options": {"temperature": 0, "num_predict": 60}}]
        }
    )

    prompt: str | None = Field(None, description="Empty: the model is only loaded")
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: ListOf[int] | None = Field(None, description="Deprecated by Ollama")
    raw: bool | None = None
    images: Images | None = None


class Message(_Body):
    """One turn of a conversation."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: Images | None = None
    tool_calls: ListOf[dict[str, Any]] | None = None
    tool_name: str | None = None


class ChatRequest(Generating):
    """A conversation to continue; answered as a stream when `stream` is true."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "messages": [{"role": "user", "content": "Name three colours."}],
                    "stream": False,
                    "options": {"temperature": 0, "num_predict": 60},
                }
            ]
        }
    )

    messages: ListOf[Message] | None = None
    tools: ListOf[dict[str, Any]] | None = None
    stream: bool | None = None


class EmbedRequest(_Inference):
    """Texts to embed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": ["The sky is blue.", "Grass is green."]}]})

    input: str | ListOf[str] | None = None
    truncate: bool | None = None
    dimensions: int | None = None


def _operation(body: Any) -> str:
    return "chat" if isinstance(body, dict) and "messages" in body else "generate"


class StreamRequest(
    RootModel[
        Annotated[
            Annotated[ChatRequest, Tag("chat")] | Annotated[GenerateRequest, Tag("generate")],
            Discriminator(_operation),
        ]
    ]
):
    """A body of `/api/llm/stream`, or one of `/api/llm/chat` when it has `messages`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"prompt": "Why is the sky blue?"}]})

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A body with both kinds' fields fits both, since both take unknown ones: `anyOf`, not `oneOf`."""
        described = handler(schema)
        described["anyOf"] = described.pop("oneOf")
        return described

    @property
    def operation(self) -> Literal["generate", "chat"]:
        """Which of the two it is."""
        return "chat" if isinstance(self.root, ChatRequest) else "generate"


class _Answer(Schema):
    model_config = ConfigDict(extra="allow", protected_namespaces=())


class _Usage(_Answer):
    """Durations in nanoseconds; a count that is 0 may be missing."""

    model: str
    created_at: str
    done: bool
    done_reason: str | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None


class GenerateResponse(_Usage):
    """The completion; in a stream each line holds a piece of it and the last one, with `done`, the counts."""

    response: str


class ChatResponse(_Usage):
    """The assistant's turn; in a stream each line holds a piece of it and the last one, with `done`, the counts."""

    message: Message


class EmbedResponse(_Answer):
    """One vector an input, each of length 1."""

    model: str
    embeddings: list[list[float]]
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None


class ModelInfo(_Answer):
    """One entry of Ollama's `/api/tags`."""

    name: str
    model: str | None = None
    modified_at: str | None = None
    size: int | None = None
    digest: str | None = None
    details: dict[str, Any] | None = None


class ModelsResponse(_Answer):
    """The models of all reachable backends; `partial` and `unreachable` are there when a backend is missing."""

    models: list[ModelInfo]
    count: int
    partial: bool | None = None
    unreachable: list[str] | None = None


class BackendHealth(_Answer):
    """One backend; credentials in its address are masked. `note` says what is missing although it answers."""

    url: str
    kind: Literal["ollama", "openai"]
    reachable: bool
    version: str
    latency_ms: float
    models: list[str]
    error: str | None = None
    note: str | None = None


class LlmHealthResponse(_Answer):
    """`healthy`: every backend answers; `degraded`: some do; `unhealthy` (503): none does."""

    status: Literal["healthy", "degraded", "unhealthy"]
    backends: list[BackendHealth]


class StreamResponse(_Answer):
    """A stream that runs; `url` is where it is read. `request_id` is that of its generation."""

    id: str
    url: str
    request_id: str


class ReadStreamQuery(Schema):
    """Where a stream is read from."""

    model_config = ConfigDict(extra="forbid")

    after: int | None = Field(None, ge=0, description="The number of the last event that is not wanted")


class ReadStreamHeaders(Schema):
    """What a browser sends that has lost its connection."""

    last_event_id: str | None = Field(None, description="The same as `after`, and before it")


class ListedStream(StreamResponse):
    """A stream that runs, or has ended and is kept; `events` is how many it has by now."""

    route: str
    conversation_id: str | None = None
    started_at: str
    events: int
    outcome: str | None = Field(None, description="How it ended; `null` while it runs")


class StreamsResponse(_Answer):
    """One's own streams, the oldest first."""

    streams: list[ListedStream]
    count: int
