"""OpenAI's routes carried over Ollama's own: a real Ollama's answer is the one that its `/v1` gives.

Asked is the part of the corpus that goes to those routes. What differs on purpose stands in `DIFFERENCES`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio

from mlops_backend.config import Settings
from tests.e2e.differential import differential_bodies, differential_v1
from tests.e2e.differential.differential_case import Case
from tests.e2e.differential.differential_generate import TOOL
from tests.e2e.tiny_ollama import MODEL, TinyOllama, tiny_ollama
from tests.e2e.wire import Answer, exchange
from tests.fakes.tiny_gguf import write_model
from tests.service import Service, serving, settings_for

ROUTES: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
# A model that calls a tool whatever it is asked, once it is told of some.
CALLER: Final = "caller"
_CALL: Final = ('{"name":', '"look",', '"arguments":', '{"city":', '"Bern"}}')
_MODELFILE: Final = """FROM {weights}
TEMPLATE \"\"\"{{{{ range .Tools }}}}{{{{ . }}}}{{{{ end }}}}
{{{{ range .Messages }}}}{{{{ .Role }}}}: {{{{ .Content }}}}
{{{{ range .ToolCalls }}}}{{"name": "{{{{ .Function.Name }}}}", "arguments": {{{{ .Function.Arguments }}}}}}
{{{{ end }}}}{{{{ end }}}}\"\"\"
PARAMETER num_thread 1
"""
_WITH_CALL: Final = [
    *differential_v1.ASKED,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"city":"Bern"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "Sun."},
]
_TOOLS: Final = {"model": CALLER, "tools": [TOOL], "max_tokens": None}
CASES: Final = {
    **{
        name: case
        for name, case in {**differential_v1.CASES, **differential_bodies.CASES}.items()
        if case.request.target in ROUTES
    },
    "call": differential_v1.chat_completion(**_TOOLS),
    "call streamed": differential_v1.chat_completion(**_TOOLS, stream=True),
    "call and result": differential_v1.chat_completion(**_TOOLS, messages=_WITH_CALL),
    "result without tools": differential_v1.chat_completion(model=CALLER, messages=_WITH_CALL),
    "call for no tools": differential_v1.chat_completion(model=CALLER, max_tokens=None),
}
_NUMBERS: Final = "Go takes no NaN anywhere, this service overlooks one where nobody reads it"
DIFFERENCES: Final = {
    "v1 chat completion tokens": "`max_completion_tokens` is a maximum here; Ollama overlooks it",
    "v1 chat image garbage": "Ollama's own route says what is wrong with the base64",
    "v1 embeddings base64": "newer Ollamas pack vectors, 0.9.3 does not yet",
    "v1 embeddings format garbage": "newer Ollamas refuse it, 0.9.3 overlooks it",
    "v1 embeddings dimensions text": "newer Ollamas refuse it, 0.9.3 overlooks it",
    "v1 body NaN": _NUMBERS,
    "v1 body Infinity": _NUMBERS,
    "v1 body valid and NaN": _NUMBERS,
    "v1 body valid and Infinity": _NUMBERS,
}
PLAIN: Final = (
    "call",
    "call streamed",
    "call and result",
    "v1 chat plain",
    "v1 chat usage",
    "v1 text streamed",
    "v1 text usage",
    "v1 embeddings list",
)
_MODELS_OWN: Final = 2048
_PINNED: Final = 192
_CALLING: Final = ("call", "call streamed", "call and result")
_PASSING: Final = frozenset({"id", "created"})


@dataclass(frozen=True)
class Pair:
    """A real Ollama, and the service before it, which carries what it is asked."""

    ollama: TinyOllama
    service: Service

    async def ask(self, case: Case) -> tuple[Answer, Answer]:
        """What each of them answers."""
        theirs = await exchange(self.ollama.url, case.request)
        return theirs, await exchange(self.service.url, case.request, [("X-API-Key", case.key)])


@pytest.fixture(name="ollama", scope="module")
def _ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyOllama]:
    with tiny_ollama(tmp_path_factory.mktemp("ollama")) as running:
        write_model(running.folder / "caller.gguf", _CALL)
        (running.folder / "Caller").write_text(_MODELFILE.format(weights=running.folder / "caller.gguf"), "utf-8")
        created = running.command("create", CALLER, "-f", "Caller")
        assert created.returncode == 0, created.stderr
        yield running


@pytest_asyncio.fixture(name="pair", scope="module", loop_scope="module")
async def _pair(ollama: TinyOllama) -> AsyncIterator[Pair]:
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.delenv(name.upper(), raising=False)
        # Another context would have the model loaded anew for each of the two.
        settings = settings_for(ollama.url, pin_num_ctx=f"*={_MODELS_OWN}")
    async with serving(settings) as service:
        yield Pair(ollama, service)


def told(answer: Answer) -> tuple[int | None, str | None, Any]:
    """What a client reads of an answer: its status, its type, and what it says."""
    kind = answer.header("content-type")
    if kind == "text/event-stream":
        return answer.status, kind, joined(answer.body)
    return answer.status, kind, steady(json.loads(answer.body))


def steady(value: Any) -> Any:
    """A value without what differs each time, and an error without its type: 0.9.3 has one for all."""
    match value:
        case {"error": {"message": str(), "type": str()} as error}:
            return {"error": {**error, "type": ""}}
        case dict():
            return {name: "" if name in _PASSING else steady(inner) for name, inner in value.items()}
        case list():
            return [steady(inner) for inner in value]
    return value


def joined(stream: bytes) -> dict[str, Any]:
    """What a stream says: newer Ollamas, and this service, cut it into other events than 0.9.3."""
    frames = [frame.removeprefix(b"data: ") for frame in stream.split(b"\n\n")]
    objects = [json.loads(frame) for frame in frames if frame not in (b"", b"[DONE]")]
    choices = [choice for each in objects for choice in each["choices"]]
    said = [choice.get("delta", choice) for choice in choices]
    return {
        "text": "".join(each.get("content", each.get("text")) or "" for each in said),
        "calls": [steady(call) for each in said for call in each.get("tool_calls", ())],
        "role": next((each["role"] for each in said if "role" in each), None),
        "reason": [choice["finish_reason"] for choice in choices if choice["finish_reason"]],
        "usage": [usage for each in objects if (usage := each.get("usage")) and not each["choices"]],
        "heads": {(each["object"], each["model"], each["system_fingerprint"]) for each in objects},
        "ids": len({each["id"] for each in objects}),
        "done": stream.endswith(b"data: [DONE]\n\n"),
    }


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", CASES)
async def test_an_answer_is_the_one_of_its_own_v1(pair: Pair, name: str) -> None:
    """Status, type and object, refusals too; of a stream what it says, why it ends and what it took.

    What the corpus asks in earnest is done.
    """
    direct, through = await pair.ask(CASES[name])
    assert direct.status == 200 or name not in PLAIN, direct.body
    assert (told(through) != told(direct)) is (name in DIFFERENCES)
    assert (b'"finish_reason":"tool_calls"' in through.body) is (name in _CALLING)
    assert through.streamed or not direct.streamed


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", ["chat/completions", "completions", "embeddings"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_model_is_loaded_with_what_is_set(ollama: TinyOllama, route: str, *, stream: bool) -> None:
    """A prompt that is too long is cut at that context, and the model stays for that long."""
    long = "why? " * 2000
    body = {"model": MODEL, "prompt": long, "input": long, "messages": [{"role": "user", "content": long}]}
    wanted = {"max_tokens": 1, "stream": stream, "stream_options": {"include_usage": True}}
    async with serving(settings_for(ollama.url, pin_num_ctx=f"tiny={_PINNED}", pin_keep_alive="tiny=3h")) as service:
        answer = await service.client.post(f"/v1/{route}", json={**body, **wanted}, timeout=60)
        assert answer.status_code == 200, answer.text
    last = answer.text.removesuffix("data: [DONE]\n\n").strip().rpartition("\n\n")[2].removeprefix("data: ")
    assert 0 < json.loads(last)["usage"]["prompt_tokens"] <= _PINNED
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        models = (await client.get(f"{ollama.url}/api/ps")).json()["models"]
    (expires,) = [each["expires_at"] for each in models if each["name"] == f"{MODEL}:latest"]
    until = datetime.fromisoformat(expires) - datetime.now(UTC)
    assert timedelta(hours=2) < until < timedelta(hours=4)
