"""Traces: one span for each generation, over real sockets to a collector, and its context to the backend."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic, time_ns
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from mlops_backend.telemetry import otlp
from mlops_backend.telemetry.metrics import Metrics
from mlops_backend.telemetry.numbers import parted
from tests.conftest import ServeFactory
from tests.fakes.collector import FakeCollector, Span
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.fakes.openai_server import FakeOpenAI
from tests.service import Service
from tests.web.test_logs import requests_in

PROMPT: Final = "a prompt of the tests"
TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
PARENT: Final = "b7ad6b7169203331"
CLIENT: Final = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=x,other=y"}
CHAT: Final = {"model": "llama3", "messages": [{"role": "user", "content": PROMPT}]}
OPEN: Final = "application/openmetrics-text;version=1.0.0"
COMPLETION: Final = {"model": "llama3", "prompt": PROMPT}
# Route -> its body, what it does, and why its answer ended.
DIALECTS: Final[dict[str, tuple[dict[str, Any], str, str]]] = {
    "/api/llm/chat": (CHAT, "chat", "stop"),
    "/api/llm/generate": (COMPLETION, "text_completion", "stop"),
    "/api/chat": (CHAT, "chat", "stop"),
    "/api/generate": (COMPLETION, "text_completion", "stop"),
    "/v1/chat/completions": (CHAT, "chat", "stop"),
    "/v1/completions": (COMPLETION, "text_completion", "stop"),
    "/v1/responses": ({"model": "llama3", "input": PROMPT}, "chat", "completed"),
    "/v1/messages": (CHAT | {"max_tokens": 99}, "chat", "end_turn"),
}
# What its answers count apart, though there is nothing of it.
COUNTED_APART: Final = {
    "/v1/responses": {"gen_ai.usage.cache_read.input_tokens": 0, "gen_ai.usage.reasoning.output_tokens": 0}
}
# Its answer is whole whatever the body says.
NEVER_STREAMED: Final = "/api/llm/generate"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans are sent at once: by the library's own variable."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")


@pytest.fixture
async def collector() -> AsyncIterator[FakeCollector]:
    """One that takes everything."""
    async with FakeCollector() as server:
        yield server


Traced = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture
def traced(serve: ServeFactory, collector: FakeCollector) -> Traced:
    """Serve with traces that go to `collector`."""

    @asynccontextmanager
    async def start(*backends: str, **settings: Any) -> AsyncIterator[Service]:
        async with serve(*backends, otel_exporter_otlp_endpoint=collector.url, **settings) as service:
            yield service

    return start


async def only_span(collector: FakeCollector) -> Span:
    """The one span that there is, once it is there."""
    await collector.wait_until(lambda: len(collector.spans) > 0)
    (span,) = collector.spans
    return span


def asked_of(fake: FakeOllama | FakeOpenAI) -> list[str | None]:
    """The `traceparent` of everything that was to be computed."""
    return [request.header("traceparent") for request in fake.requests if request.method == "POST"]


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("path", DIALECTS)
async def test_a_generation_of_each_dialect_is_a_span(
    traced: Traced, fake: FakeOllama, collector: FakeCollector, path: str, *, streamed: bool
) -> None:
    """With every attribute of the conventions that is known, its events in their order, below the client's span."""
    body, operation, reason = DIALECTS[path]
    before = time_ns()
    async with traced(fake.url) as service:
        answer = await service.client.post(path, json=body | {"stream": streamed}, headers=CLIENT)
        assert answer.status_code == 200, answer.text
    span = await only_span(collector)
    assert (span.name, span.kind, span.failed) == (f"{operation} llama3", 3, False)  # a client's span
    assert (span.trace_id, span.parent_id, span.state) == (TRACE, PARENT, "vendor=x,other=y")
    attributes = dict(span.attributes)
    streams = streamed and path != NEVER_STREAMED
    assert (attributes.pop("gen_ai.response.time_to_first_chunk", None) is not None) == streams
    assert attributes.pop("gen_ai.response.id", "").startswith(("chatcmpl", "cmpl", "msg", "resp", ""))
    assert attributes.pop("mlops_backend.key_id")
    assert attributes == {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "ollama",
        "gen_ai.request.model": "llama3",
        "gen_ai.response.model": "llama3",
        "gen_ai.response.finish_reasons": [reason],
        "gen_ai.usage.input_tokens": len(PROMPT.split()),
        "gen_ai.usage.output_tokens": len(DEFAULT_WORDS),
        **COUNTED_APART.get(path, {}),
        "server.address": "127.0.0.1",
        "server.port": fake.port,
        "http.route": path,
        "http.response.status_code": 200,
        "mlops_backend.backend": fake.url,
        "mlops_backend.outcome": "done",
        "mlops_backend.request_id": answer.headers["x-request-id"],
        **({"gen_ai.request.stream": True} if streams else {}),
    }
    assert [name for name, _ in span.events] == ["leased", "first_token", "done"]
    moments = [before, span.start, *(moment for _, moment in span.events), time_ns()]
    assert moments == sorted(moments)
    assert span.end == span.events[-1][1]
    assert asked_of(fake) == [f"00-{TRACE}-{span.id}-01"]


async def test_a_kept_answer_is_a_span_of_its_own(traced: Traced, fake: FakeOllama, collector: FakeCollector) -> None:
    """It has the request's names and its end, and nothing of a backend or of tokens."""
    async with traced(fake.url) as service:
        for _ in range(2):
            body = COMPLETION | {"options": {"temperature": 0}}
            answer = await service.client.post("/api/generate", json=body, headers={"X-Cache": "use"})
        await collector.wait_until(lambda: len(collector.spans) == 2)
    known = {span.attributes["mlops_backend.request_id"]: span for span in collector.spans}
    span = known[answer.headers["x-request-id"]]
    assert (span.name, span.failed) == ("text_completion llama3", False)
    assert span.attributes["mlops_backend.outcome"] == "done"
    unknown = {"gen_ai.provider.name", "gen_ai.usage.output_tokens", "mlops_backend.backend", "server.address"}
    assert not unknown & span.attributes.keys()


async def test_a_span_says_who_it_is_of(traced: Traced, fake: FakeOllama, collector: FakeCollector) -> None:
    """The service's name is the operator's, and each process has an id of its own."""
    for _ in range(2):
        async with traced(fake.url, otel_service_name="models of ours") as service:
            await service.client.post("/api/generate", json=COMPLETION)
    first, second = (span.resource for span in collector.spans)
    assert first["service.name"] == "models of ours"
    assert first["service.version"]
    assert first["service.instance.id"] != second["service.instance.id"]


async def test_what_openai_counts_apart_is_told(traced: Traced, collector: FakeCollector) -> None:
    """Tokens from the cache and tokens of thoughts; the provider is the kind of the backend, whoever the client is."""
    usage = {
        **{"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    async with _Counting(usage) as fake:
        model = "Qwen/Qwen3-8B"
        async with traced(openai_backends=fake.url) as service:
            body = {"model": model, "messages": CHAT["messages"]}
            await service.client.post("/v1/chat/completions", json=body, headers=CLIENT)
            await service.client.post("/api/chat", json=body | {"stream": False}, headers=CLIENT)
        native, translated = collector.spans
        assert native.attributes["gen_ai.usage.cache_read.input_tokens"] == 4
        assert native.attributes["gen_ai.usage.reasoning.output_tokens"] == 3
        for span in (native, translated):
            assert span.attributes["gen_ai.provider.name"] == "openai"
            assert span.attributes["gen_ai.usage.input_tokens"] == 7
            assert span.attributes["server.port"] == fake.port
        assert asked_of(fake) == [f"00-{TRACE}-{span.id}-01" for span in (native, translated)]


async def test_metrics_and_spans_say_the_same_of_a_generation(
    traced: Traced, fake: FakeOllama, collector: FakeCollector
) -> None:
    """What was done, and by whom: the backend that was asked, in whatever dialect its client speaks."""
    async with FakeOpenAI() as other:
        asked: list[tuple[dict[str, str], str, dict[str, Any]]] = [
            ({}, "/v1/messages", CHAT | {"max_tokens": 9}),
            ({}, "/v1/chat/completions", CHAT),
            ({"openai_backends": other.url}, "/api/chat", CHAT),
        ]
        for backends, path, body in asked:
            model = "Qwen/Qwen3-8B" if backends else "llama3"
            async with traced(*([] if backends else [fake.url]), **backends) as service:
                await service.client.post(path, json=body | {"model": model, "stream": False})
                await _until(lambda: bool(kinds_in(service)))
                kinds = kinds_in(service)
            span = collector.spans[-1].attributes
            assert kinds == {(span["gen_ai.operation.name"], span["gen_ai.provider.name"])}, path
            assert span["gen_ai.provider.name"] == ("openai" if backends else "ollama")


def kinds_in(service: Service) -> set[tuple[str, str]]:
    """Operations and providers of the generations that were counted."""
    labels = [parted(name) for name, _, _ in service.services.get(Metrics).told()]
    return {
        (said["gen_ai_operation_name"], said["gen_ai_provider_name"])
        for name, said in labels
        if name == "gen_ai_server_request_duration_seconds_count"
    }


class _Counting(FakeOpenAI):
    """One that tells more of its usage."""

    def __init__(self, usage: dict[str, Any]) -> None:
        super().__init__()
        self._usage = usage

    def _completed(self, said: dict[str, Any]) -> dict[str, Any]:
        return {**super()._completed(said), "usage": self._usage}


BAD_PARENTS: Final = {
    "words": [("traceparent", "no such thing")],
    "capitals": [("traceparent", CLIENT["traceparent"].upper())],
    "no trace": [("traceparent", f"00-{'0' * 32}-{PARENT}-01")],
    "no span": [("traceparent", f"00-{TRACE}-{'0' * 16}-01")],
    "a version that is none": [("traceparent", f"ff-{TRACE}-{PARENT}-01")],
    "more behind it": [("traceparent", f"00-{TRACE}-{PARENT}-01-more")],
    "long": [("traceparent", f"01-{TRACE}-{PARENT}-01-{'x' * 4000}")],
    "two": [("traceparent", CLIENT["traceparent"])] * 2,
    "a state alone": [("tracestate", "vendor=x")],
}


@pytest.mark.parametrize("headers", BAD_PARENTS.values(), ids=BAD_PARENTS)
async def test_a_parent_that_cannot_be_read_is_ignored(
    traced: Traced, fake: FakeOllama, collector: FakeCollector, headers: list[tuple[str, str]]
) -> None:
    """A trace of its own begins, and nothing of what came goes on to the backend."""
    async with traced(fake.url) as service:
        for path, body in (("/api/generate", COMPLETION), ("/api/show", {"model": "llama3"})):
            sent = [*headers, ("x-api-key", service.client.headers["x-api-key"])]
            answer = await service.client.post(path, json=body, headers=sent)
            assert answer.status_code == 200
    span = await only_span(collector)
    assert span.trace_id not in {TRACE, "0" * 32}
    assert (span.parent_id, span.state) == ("", "")
    told = {request.path: request for request in fake.requests}
    # 03: it is kept, and its id is a random one.
    assert told["/api/generate"].header("traceparent") == f"00-{span.trace_id}-{span.id}-03"
    assert told["/api/show"].header("traceparent") is None
    assert {request.header("tracestate") for request in told.values()} == {None}


async def test_what_is_no_generation_goes_on_in_the_clients_trace(
    traced: Traced, fake: FakeOllama, collector: FakeCollector
) -> None:
    """It has no span; its backend gets the client's own place in the trace, and the log line names the trace."""
    async with traced(fake.url) as service:
        with capture_logs() as logs:
            await service.client.post("/api/show", json={"model": "llama3"}, headers=CLIENT)
            await service.client.get("/health")
            await _until(lambda: len(requests_in(logs)) == 2)
    shown = next(request for request in fake.requests if request.path == "/api/show")
    assert (shown.header("traceparent"), shown.header("tracestate")) == tuple(CLIENT.values())
    assert collector.spans == []
    assert [line.get("trace_id") for line in requests_in(logs)] == [TRACE, None]


async def test_metrics_have_the_trace_as_an_example(traced: Traced, fake: FakeOllama, collector: FakeCollector) -> None:
    """Where the scraper takes OpenMetrics: of a generation that has a span."""
    async with traced(fake.url) as service:
        unsampled = {"traceparent": CLIENT["traceparent"].removesuffix("01").replace(TRACE, "1" * 32) + "00"}
        for headers in (unsampled, CLIENT):
            await service.client.post("/api/generate", json=COMPLETION, headers=headers)
        await _until(lambda: TRACE.encode() in service.services.get(Metrics).encoded(OPEN)[0])
        told, kind = service.services.get(Metrics).encoded(OPEN)
        plain, _ = service.services.get(Metrics).encoded("text/plain")
    assert kind.startswith("application/openmetrics-text")
    examples = [line for line in told.decode().splitlines() if "trace_id" in line]
    names = {line.partition("{")[0] for line in examples}
    firsts, durations = "gen_ai_server_time_to_first_token_seconds", "gen_ai_server_request_duration_seconds"
    assert names == {f"{firsts}_bucket", f"{durations}_bucket"}
    assert all(f'# {{trace_id="{TRACE}"}}' in line for line in examples)
    assert b"trace_id" not in plain


async def test_the_log_line_names_the_trace(traced: Traced, fake: FakeOllama, collector: FakeCollector) -> None:
    """So that one finds the other, with a client's trace and without one."""
    async with traced(fake.url) as service:
        with capture_logs() as logs:
            for headers in (CLIENT, {}):
                await service.client.post("/api/generate", json=COMPLETION, headers=headers)
            await _until(lambda: len(requests_in(logs)) == 2)
    assert [line["trace_id"] for line in requests_in(logs)] == [span.trace_id for span in collector.spans]
    assert collector.spans[0].trace_id == TRACE


async def test_without_a_collector_nothing_is_traced(serve: ServeFactory, fake: FakeOllama) -> None:
    """A client's headers go on as they came, as they always did, and the log line names no trace."""
    async with serve(fake.url) as service:
        with capture_logs() as logs:
            await service.client.post("/api/generate", json=COMPLETION, headers=CLIENT | {"tracestate": "odd one"})
            await _until(lambda: len(requests_in(logs)) == 1)
    assert asked_of(fake) == [CLIENT["traceparent"]]
    assert fake.requests[-1].header("tracestate") == "odd one"
    assert not any("trace_id" in line for line in logs)


async def test_the_library_can_be_turned_off(
    traced: Traced, fake: FakeOllama, collector: FakeCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own variable: it is as it is without a collector."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    async with traced(fake.url) as service:
        await service.client.post("/api/generate", json=COMPLETION, headers=CLIENT)
    assert (asked_of(fake), collector.spans) == ([CLIENT["traceparent"]], [])


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", ("content-encoding", "gzip")),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-team=ours", ("x-team", "ours")),
    ],
)
async def test_the_librarys_own_variables_hold(
    traced: Traced,
    fake: FakeOllama,
    collector: FakeCollector,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    expected: tuple[str, str],
) -> None:
    """Those of the way to the collector, and those of who tells."""
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,team=a%20b")
    async with traced(fake.url) as service:
        await service.client.post("/api/generate", json=COMPLETION)
    span = await only_span(collector)
    assert collector.requests[0].header(expected[0]) == expected[1]
    assert (span.resource["deployment.environment.name"], span.resource["team"]) == ("test", "a b")


@pytest.mark.parametrize(
    ("sampler", "argument", "flags", "expected"),
    [
        ("parentbased_always_on", 1.0, "01", 1),
        ("parentbased_always_on", 1.0, "00", 0),
        ("always_on", 1.0, "00", 1),
        ("always_off", 1.0, "01", 0),
        ("parentbased_always_off", 1.0, "01", 1),
        ("traceidratio", 0.0, "01", 0),
        ("parentbased_traceidratio", 0.0, "01", 1),
        ("parentbased_traceidratio", 0.0, "", 0),
    ],
)
async def test_a_sampler_chooses(
    traced: Traced,
    fake: FakeOllama,
    collector: FakeCollector,
    sampler: str,
    argument: float,
    flags: str,
    expected: int,
) -> None:
    """By the names of the standard; the backend is told whether the span is kept."""
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-{flags}"} if flags else {}
    async with traced(fake.url, otel_traces_sampler=sampler, otel_traces_sampler_arg=argument) as service:
        await service.client.post("/api/generate", json=COMPLETION, headers=headers)
    assert len(collector.spans) == expected
    (told,) = asked_of(fake)
    assert told is not None
    assert int(told[-2:], 16) & 1 == expected


async def test_waiting_in_the_queue_is_seen(traced: Traced, fake: FakeOllama, collector: FakeCollector) -> None:
    """The one that had to wait has one event more, before its lease."""
    fake.hold()
    async with traced(fake.url, max_concurrency=1) as service:
        first = asyncio.create_task(service.client.post("/api/generate", json=COMPLETION))
        await fake.wait_until(lambda: fake.active == 1)
        second = asyncio.create_task(service.client.post("/api/generate", json=COMPLETION))
        async with asyncio.timeout(20):
            while (await service.client.get("/api/llm/queue")).json()["waiting"] != 1:
                await asyncio.sleep(0.005)
        fake.release()
        await asyncio.gather(first, second)
    shown = sorted([name for name, _ in span.events] for span in collector.spans)
    assert shown == [["leased", "first_token", "done"], ["queued", "leased", "first_token", "done"]]


ENDS: Final[dict[str, tuple[Mode, dict[str, Any], str, str]]] = {
    "an error of the backend": (Mode.ERROR_500, {}, "500", "error"),
    "a busy one": (Mode.BUSY_503, {}, "503", "error"),
    "no first byte": (Mode.HANG_BEFORE_HEADERS, {"first_byte_timeout": 0.1}, "first_byte_timeout", "timeout"),
    "a pause": (Mode.HANG_MID_STREAM, {"idle_timeout": 0.1}, "idle_timeout", "timeout"),
    "a cut": (Mode.CUT_MID_STREAM, {}, "backend_vanished", "error"),
    "an error amid the answer": (Mode.ERROR_MID_STREAM, {}, "backend_error_line", "error"),
    "no such model": (Mode.NOT_FOUND_MODEL, {}, "404", "refused"),
}


@pytest.mark.parametrize(("mode", "settings", "kind", "outcome"), ENDS.values(), ids=ENDS)
async def test_what_failed_says_why(
    traced: Traced,
    fake: FakeOllama,
    collector: FakeCollector,
    mode: Mode,
    settings: dict[str, Any],
    kind: str,
    outcome: str,
) -> None:
    """The span has failed; `error.type` is the code of our error, or the status that the backend answered."""
    fake.mode = mode
    async with traced(fake.url, **settings) as service:
        await service.client.post("/api/generate", json=COMPLETION, headers=CLIENT)
    span = await only_span(collector)
    assert (span.failed, span.status, span.attributes["error.type"]) == (True, kind, kind)
    assert (span.attributes["mlops_backend.outcome"], span.events[-1][0]) == (outcome, outcome)
    assert span.trace_id == TRACE


async def test_a_request_that_is_wrong_is_a_span_too(
    traced: Traced, fake: FakeOllama, collector: FakeCollector
) -> None:
    """As it is a row of the ledger, though no backend is asked."""
    async with traced(fake.url) as service:
        answer = await service.client.post("/api/llm/chat", json={"messages": "none"})
    assert answer.status_code == 422
    span = await only_span(collector)
    assert (span.name, span.attributes["error.type"]) == ("chat", answer.json()["code"])
    assert "server.address" not in span.attributes


async def test_who_leaves_is_seen(traced: Traced, fake: FakeOllama, collector: FakeCollector) -> None:
    """A client that leaves amid its stream ends the span."""
    fake.hold()
    fake.release(2)
    async with traced(fake.url) as service:
        async with service.client.stream("POST", "/api/generate", json=COMPLETION) as answer:
            await anext(answer.aiter_raw())
        span = await only_span(collector)
    assert (span.failed, span.attributes["error.type"], span.events[-1][0]) == (True, "client_gone", "client_gone")


async def test_a_generation_that_is_ended_by_request_is_seen(
    traced: Traced, fake: FakeOllama, collector: FakeCollector
) -> None:
    """Its outcome is `cancelled`."""
    fake.hold()
    async with traced(fake.url) as service:
        asking = asyncio.create_task(
            service.client.post("/api/generate", json=COMPLETION, headers={"x-request-id": "r"})
        )
        await fake.wait_until(lambda: fake.active == 1)
        await service.client.delete("/api/llm/generations/r")
        await asking
        fake.release()
    span = await only_span(collector)
    assert (span.failed, span.events[-1][0]) == (True, "cancelled")


async def test_the_backends_that_were_asked_in_vain_are_told(
    traced: Traced, fake: FakeOllama, collector: FakeCollector
) -> None:
    """All are asked with the context of the one span."""
    async with FakeOllama(mode=Mode.BUSY_503) as broken:
        async with traced(broken.url, fake.url) as service:
            await service.client.get("/api/llm/models")
            for number in range(40):
                prompt = f"{number} is a number"
                answer = await service.client.post("/api/generate", json={"model": "llama3", "prompt": prompt})
                assert answer.status_code == 200
                if asked_of(broken):
                    break
        span = next(span for span in collector.spans if "mlops_backend.passed_over" in span.attributes)
        assert span.attributes["mlops_backend.passed_over"] == [broken.url]
        assert (span.attributes["server.port"], span.failed) == (fake.port, False)
        told = f"00-{span.trace_id}-{span.id}-03"
        assert told in asked_of(broken)
        assert told in asked_of(fake)


@pytest.mark.parametrize("path", DIALECTS)
async def test_what_was_said_is_told_to_nobody(
    traced: Traced, fake: FakeOllama, collector: FakeCollector, path: str
) -> None:
    """Unless it is asked for, no span has a word of a prompt or an answer, nor a key."""
    async with traced(fake.url) as service:
        for streamed in (True, False):
            await service.client.post(path, json=DIALECTS[path][0] | {"stream": streamed})
        fake.mode = Mode.ERROR_MID_STREAM
        await service.client.post(path, json=DIALECTS[path][0] | {"stream": True})
        key = service.client.headers["x-api-key"]
    sent = b"".join(request.body for request in collector.requests)
    assert len(collector.spans) == 3
    for secret in (PROMPT, "prompt of", "Hello", "there.", key):
        assert secret.encode() not in sent


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("path", DIALECTS)
async def test_what_was_said_is_told_where_it_is_asked_for(
    traced: Traced, fake: FakeOllama, collector: FakeCollector, path: str, *, streamed: bool
) -> None:
    """As the messages of the conventions."""
    system = {"/v1/messages": "system", "/v1/responses": "instructions"}.get(path)
    body = DIALECTS[path][0] | {"stream": streamed} | ({system: "Be brief."} if system else {})
    async with traced(fake.url, otel_capture_content=True) as service:
        await service.client.post(path, json=body)
    attributes = (await only_span(collector)).attributes
    said = [{"role": "user", "parts": [{"type": "text", "content": PROMPT}]}]
    assert json.loads(attributes["gen_ai.input.messages"]) == said
    answered = [{"role": "assistant", "parts": [{"type": "text", "content": "".join(DEFAULT_WORDS)}]}]
    assert json.loads(attributes["gen_ai.output.messages"]) == answered
    if system:
        assert json.loads(attributes["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]


async def test_a_collector_that_is_away_harms_nobody(
    serve: ServeFactory, fake: FakeOllama, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are answered, the log says it once and shows no secret, and the lost are counted."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1.5")
    async with FakeCollector() as gone:
        pass
    endpoint = gone.url.replace("http://", "http://user:hidden-password@")
    headers = "authorization=Bearer%20hidden-token-of-the-collector"
    settings = {"otel_exporter_otlp_endpoint": endpoint, "otel_exporter_otlp_headers": headers}
    async with serve(fake.url, **settings) as service:
        for _ in range(3):
            assert (await service.client.post("/api/generate", json=COMPLETION)).status_code == 200
        await _until(lambda: _numbers(service) == (0, 3))
    lines = "".join(capsys.readouterr())
    assert "hidden" not in lines
    (line,) = told_of_traces(lines)
    assert line["event"] == "traces cannot be exported"
    assert "refused" in line["reason"]


async def test_a_collector_that_refuses_is_told_of_once(
    traced: Traced, fake: FakeOllama, collector: FakeCollector, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then that it is back; in between the lost are counted."""
    collector.status = 401
    async with traced(fake.url, otel_exporter_otlp_headers="x-key=a%20secret") as service:

        async def ask(lost: int, exported: int) -> None:
            await service.client.post("/api/generate", json=COMPLETION)
            await _until(lambda: _numbers(service) == (exported, lost))

        await ask(1, 0)
        await ask(2, 0)
        collector.status = 200
        await ask(2, 1)
        await ask(2, 2)
    lines = "".join(capsys.readouterr())
    told = told_of_traces(lines)
    assert [line["event"] for line in told] == ["traces cannot be exported", "traces are exported again"]
    assert "401" in told[0]["reason"]
    assert told[0]["collector"] == collector.url
    assert {request.header("x-key") for request in collector.requests} == {"a secret"}
    assert "a secret" not in lines


async def test_a_collector_that_answers_nothing_holds_up_no_stop(
    traced: Traced, fake: FakeOllama, collector: FakeCollector, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last spans have two seconds; what is left then is told."""
    collector.silent = True
    async with traced(fake.url) as service:
        await service.client.post("/api/generate", json=COMPLETION)
        await collector.wait_for_request()
        stopped = monotonic()
    assert otlp.LAST_SPANS <= monotonic() - stopped < otlp.LAST_SPANS + 2
    (line,) = told_of_traces("".join(capsys.readouterr()))
    assert line["lost"] == 1


async def test_no_more_spans_wait_than_may(
    traced: Traced, fake: FakeOllama, collector: FakeCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that come then are counted as lost."""
    monkeypatch.setattr(otlp, "_MOST_WAITING", 2)
    monkeypatch.setattr(otlp, "_BATCH", 1)
    collector.silent = True
    async with traced(fake.url) as service:
        for _ in range(5):
            await service.client.post("/api/generate", json=COMPLETION)
        await _until(lambda: _numbers(service) == (0, 3))


async def test_without_the_packages_the_log_says_so(
    traced: Traced, fake: FakeOllama, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, which names what to install; the service serves as it does without traces."""
    monkeypatch.delitem(sys.modules, "mlops_backend.telemetry.otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    async with traced(fake.url) as service:
        assert (await service.client.post("/api/generate", json=COMPLETION, headers=CLIENT)).status_code == 200
    (line,) = told_of_traces("".join(capsys.readouterr()))
    assert "requirements-tracing.txt" in line["advice"]
    assert asked_of(fake) == [CLIENT["traceparent"]]


async def test_a_variable_that_the_library_cannot_use_is_told(
    traced: Traced, fake: FakeOllama, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line; the service serves, and nobody gets its spans."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "0")
    async with traced(fake.url) as service:
        assert (await service.client.post("/api/generate", json=COMPLETION)).status_code == 200
    (line,) = told_of_traces("".join(capsys.readouterr()))
    assert line["reason"]


def told_of_traces(lines: str) -> list[dict[str, Any]]:
    """The events of the log that tell of traces."""
    entries: list[dict[str, Any]] = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    return [entry for entry in entries if "traces" in entry["event"]]


def _numbers(service: Service) -> tuple[int, int]:
    """Exported, lost."""
    told = {name: value for name, value, _ in service.services.get(Metrics).told()}
    return int(told["mlops_spans_exported_total"]), int(told["mlops_spans_lost_total"])


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)
