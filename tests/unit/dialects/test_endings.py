"""Endings: what the last bytes of each kind of stream tell, and how one that failed is ended."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.errors import BackendVanished, StreamIncomplete
from mlops_backend.services.llm.dialects import MOST_TOKENS, OpenAIEnding, endings, openai_ending, read_usage
from mlops_backend.services.llm.dialects.endings import Ending, UnknownEnding
from mlops_backend.services.llm.dialects.openai import UnaskedUsage
from mlops_backend.telemetry.record import RequestRecord
from tests.unit.dialects.test_frames import cut

GENERATED = b'{"response":"a","done":false}\n{"done":true,"prompt_eval_count":3,"eval_count":7}\n'
PULLED = b'{"status":"pulling manifest"}\n{"status":"success"}\n'
CHAT = (
    b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":7}}\n\n'
    b"data: [DONE]\n\n"
)
MESSAGE = (
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":2,"output_tokens":0}}}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","usage":{"input_tokens":3,"output_tokens":7}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
RESPONSE = (
    b'event: response.created\ndata: {"type":"response.created","response":{"usage":null}}\n\n'
    b"event: response.completed\n"
    b'data: {"type":"response.completed","response":{"usage":{"input_tokens":3,"output_tokens":7}}}\n\n'
)
WHOLE: dict[str, tuple[Callable[[], Ending], bytes]] = {
    "generate": (endings.generation_ending, GENERATED),
    "chat/completions": (openai_ending, CHAT),
    "messages": (endings.messages_ending, MESSAGE),
    "responses": (endings.ResponsesEnding, RESPONSE),
    "unknown lines": (UnknownEnding, GENERATED),
    "unknown events": (UnknownEnding, CHAT),
}
DONE = b"data: [DONE]\n\n"
CHECKED = {**WHOLE, "pull": (endings.progress_ending, PULLED)}
del CHECKED["unknown lines"], CHECKED["unknown events"]


def blank() -> RequestRecord:
    """The record of a request that has begun."""
    return RequestRecord(id="r", method="POST")


def generating() -> RequestRecord:
    """The same of a generation, whose prompt may be 11 tokens."""
    record = blank()
    record.count_prompt = lambda: 11
    return record


def counts(record: RequestRecord) -> tuple[int | None, int | None]:
    """What was noted of the usage."""
    return record.prompt_tokens, record.completion_tokens


def watched(ending: Ending, *chunks: bytes) -> bytes:
    """Let chunks pass; gives what came through."""
    return b"".join([*map(ending.feed, chunks), ending.rest()])


@pytest.mark.parametrize("kind", WHOLE)
@given(places=st.lists(st.integers(min_value=0)))
def test_the_usage_is_found_however_a_stream_is_cut(kind: str, places: list[int]) -> None:
    """Any cutting of the same bytes gives the same bytes and the same counts."""
    make, stream = WHOLE[kind]
    ending, record = make(), blank()
    assert watched(ending, *cut(stream, places)) == stream
    ending.finish(record)
    assert counts(record) == (3, 7)


@pytest.mark.parametrize("kind", CHECKED)
def test_a_stream_without_its_last_object_is_incomplete(kind: str) -> None:
    """Wherever it ends before, even at a whole line, that is not a silent end."""
    make, stream = CHECKED[kind]
    if stream is CHAT:  # without [DONE] it is whole: a reason and a proper end are enough
        stream = CHAT[: CHAT.index(b'data: {"choices":[{"delta":{},')] + b"\n\n"
    boundary = stream.rstrip(b"\n").rfind(b"\n\n" if b"data:" in stream else b"\n")
    for text in (b"", stream[:-5].rstrip(b"\n")[:-3], stream[: boundary + 1], b"garbage\n", b"[]\n"):
        ending = make()
        watched(ending, text)
        with pytest.raises(StreamIncomplete):
            ending.finish(blank())


def test_an_end_may_nest_deeply() -> None:
    """A response repeats what was asked, and a server may be asked something deep; what is too deep is no object."""
    for levels, is_read in ((300, True), (30_000, False)):
        deep = b'{"metadata":' + b"[" * levels + b"]" * levels + b',"usage":{"input'
        ending, record = endings.ResponsesEnding(), blank()
        watched(ending, RESPONSE.replace(b'{"usage":{"input', deep))
        if is_read:
            ending.finish(record)
            assert counts(record) == (3, 7)
        else:
            with pytest.raises(StreamIncomplete):
                ending.finish(record)


SAID = {
    "generate": b'{"error":"the runner died"}\n',
    "pull": b'{"error":"the runner died"}\n',
    "chat/completions": b'data: {"error":{"message":"the runner died","type":"server_error"}}\n\n',
    "messages": b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"the runner died"}}\n\n',
    "responses": b'event: error\ndata: {"type":"error","code":null,"message":"the runner died","param":null}\n\n',
}
FAILED = (
    b"event: response.failed\n"
    b'data: {"type":"response.failed","response":{"status":"failed","error":{"message":"the runner died"}}}\n\n'
)
TOLD_APART = [
    *((kind, said, behind) for kind, said in SAID.items() for behind in (False, True)),
    ("responses", FAILED, False),
    ("chat/completions", b'error: {"code":500,"message":"the runner died"}\n\n', True),
    ("chat/completions", b'{"error":"the runner died"}\n\n', True),
    ("chat/completions", b'data: {"object":"error","message":"the runner died","code":500}\n\n', True),
    (
        "chat/completions",
        b'data: {"error":{"message":"the runner died"},"choices":[{"index":0,"delta":{},"finish_reason":null}]}\n\n',
        True,
    ),
]


@pytest.mark.parametrize(("kind", "said", "behind"), TOLD_APART)
def test_a_failure_that_the_backend_told_is_only_recorded(kind: str, said: bytes, behind: bool) -> None:
    """It has reached the client already, and so does what the backend sends behind it, a proper end as well."""
    make, stream = CHECKED[kind]
    cut = stream.index(b"\n\n" if b"data:" in stream else b"\n") + (2 if b"data:" in stream else 1)
    end = {"chat/completions": DONE}.get(kind, stream[cut:]) if behind else b""
    for chunks in ((stream[:cut], said, end), (stream[:cut] + said + end,)):
        ending, record = make(), generating()
        assert watched(ending, *filter(None, chunks)) == stream[:cut] + said + end
        ending.finish(record)
        ending.settle(record)
        assert (record.outcome, record.error, record.said) == ("error", "backend_error_line", "the runner died")


@pytest.mark.parametrize("kind", CHECKED)
@pytest.mark.parametrize("missing", [b"", b"\n", b"\r\n"])
def test_a_failure_without_its_newline_is_passed_on(kind: str, missing: bytes) -> None:
    """Whatever the backend died of, it has said it; an event gets its empty line, without which readers drop it."""
    said = SAID[kind].rstrip(b"\n") + (missing if b"data:" in SAID[kind] else b"")
    ending, record = CHECKED[kind][0](), generating()
    assert watched(ending, said) == (said.rstrip() + b"\n\n" if b"data:" in said else said)
    ending.finish(record)
    ending.settle(record)
    assert record.said == "the runner died"


def test_an_error_that_is_none_is_no_failure() -> None:
    """The Responses API tells `null` with each of its responses, and a text may speak of errors."""
    created = b'event: response.created\ndata: {"type":"response.created","response":{"error":null}}\n\n'
    ending, record = endings.ResponsesEnding(), generating()
    watched(ending, created, RESPONSE)
    ending.finish(record)
    ending.settle(record)
    assert record.outcome == ""
    lines = endings.generation_ending()
    watched(lines, json.dumps({"response": 'it says "error": 5', "error": None}).encode() + b"\n", GENERATED)
    lines.settle(record)
    assert (record.outcome, record.said) == ("", "")


def test_a_count_of_zero_may_be_missing() -> None:
    """Ollama leaves it out."""
    ending, record = endings.generation_ending(), blank()
    watched(ending, b'{"done":true}\n')
    ending.finish(record)
    assert counts(record) == (0, 0)


@pytest.mark.parametrize("kind", CHECKED)
@pytest.mark.parametrize("half", [False, True])
def test_a_failure_is_one_last_frame_of_its_own(kind: str, half: bool) -> None:
    """Half a frame before it is not passed on: clients fail on it, and never read the error."""
    make, stream = CHECKED[kind]
    events = b"data:" in stream
    first = stream[: stream.index(b"\n\n" if events else b"\n") + (2 if events else 1)]
    ending = make()
    passed = b"".join(map(ending.feed, (first, first[:-9]) if half else (first,)))
    assert passed == first
    told = ending.failure(BackendVanished("Gone."), "r-1")
    assert told.endswith(b"\n\n" if events else b"\n")
    if events:
        assert told.startswith(b"event: error\ndata: ")
    assert "Gone." in json.dumps(json.loads(told.removeprefix(b"event: error\ndata: "))["error"])


@pytest.mark.parametrize("kind", CHECKED)
def test_a_last_frame_without_its_newline_is_passed_on(kind: str) -> None:
    """As it came, where it ends the stream properly, an event with its empty line; else it is half a frame."""
    make, stream = CHECKED[kind]
    ending = make()
    assert watched(ending, stream.rstrip(b"\n")) == (stream if b"data:" in stream else stream.rstrip(b"\n"))
    ending.finish(blank())
    assert watched(make(), stream, b'{"half') == stream


def test_our_own_last_line_has_its_newline() -> None:
    """Ollama's plain JSON reply on a stream has none."""
    assert watched(endings.own_ending(), GENERATED.rstrip(b"\n")) == GENERATED


def test_what_a_stream_tells_at_its_start_is_kept() -> None:
    """Some servers tell a message's prompt tokens there and nowhere else, those from their cache apart."""
    start = (
        b'event: message_start\ndata: {"type":"message_start","message":{"usage":'
        b'{"input_tokens":1,"cache_read_input_tokens":36,"cache_creation_input_tokens":2,"output_tokens":0}}}\n\n'
    )
    piece = b'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n'
    delta = b'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":7}}\n\n'
    ending, record = endings.messages_ending(), blank()
    watched(ending, start, *[piece] * 20, delta, b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    ending.finish(record)
    assert counts(record) == (39, 7)


def test_white_space_behind_the_last_object_is_nothing() -> None:
    """A blank line, in a chunk of its own, does not make a whole stream incomplete."""
    ending, record = endings.generation_ending(), blank()
    assert watched(ending, GENERATED, b"\n", b"\r\n") == GENERATED + b"\n\r\n"
    ending.finish(record)
    assert counts(record) == (3, 7)


def test_a_line_of_megabytes_keeps_its_counts() -> None:
    """The `context` of a last line may be huge; it comes in many chunks."""
    last = json.dumps({"done": True, "context": [1] * 500_000, "prompt_eval_count": 3, "eval_count": 7}).encode()
    ending, record = endings.generation_ending(), blank()
    watched(ending, GENERATED[:30], *(last[at : at + 65536] for at in range(0, len(last), 65536)), b"\n")
    ending.finish(record)
    assert counts(record) == (3, 7)


def test_zeros_are_no_usage() -> None:
    """Some servers tell them always; a reranker's sum is the prompt's."""
    for usage in ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, {"prompt_tokens": 0}, {}):
        record = blank()
        assert not read_usage({"usage": usage}, record)
        assert counts(record) == (None, None)
    assert read_usage({"usage": {"total_tokens": 56}}, record)
    assert counts(record) == (56, None)


def test_counts_that_cannot_be_are_none() -> None:
    """A server that says -1 does not know, and so it is guessed; no count is beyond the ledger's."""
    record = blank()
    assert not read_usage({"usage": {"prompt_tokens": -1, "completion_tokens": -1, "total_tokens": -1}}, record)
    assert counts(record) == (None, None)
    assert read_usage({"usage": {"prompt_tokens": -1, "completion_tokens": 7}}, record)
    assert counts(record) == (None, 7)
    assert read_usage({"usage": {"input_tokens": 10**30, "cache_read_input_tokens": 9}}, record)
    assert counts(record) == (MOST_TOKENS, 7)


def test_tokens_from_a_cache_are_counted_once() -> None:
    """OpenAI's count holds them, Anthropic's does not; what a later event leaves out keeps its value."""
    record = blank()
    read_usage({"usage": {"prompt_tokens": 1000, "completion_tokens": 1, "cache_read_input_tokens": 800}}, record)
    assert counts(record) == (1000, 1)
    record = blank()
    read_usage(
        {"message": {"usage": {"input_tokens": 200, "cache_read_input_tokens": 800, "output_tokens": 0}}}, record
    )
    assert counts(record) == (1000, 0)
    read_usage({"usage": {"output_tokens": 7}}, record)
    read_usage({"usage": {"input_tokens": 201, "output_tokens": 8}}, record)
    assert counts(record) == (1001, 8)


def piece(reason: str = "null", index: int = 0, more: str = "") -> bytes:
    """An event of a chat."""
    return f'data: {{"choices":[{{"index":{index},"delta":{{}},"finish_reason":{reason}}}]{more}}}\n\n'.encode()


@pytest.mark.parametrize("make", [OpenAIEnding, UnaskedUsage])
def test_done_is_held_back_from_a_stream_that_was_cut(make: type[OpenAIEnding]) -> None:
    """Every SDK stops reading there: an error must come before it."""
    for choices, stream in ((1, piece()), (2, piece('"stop"') + piece(index=1))):
        ending = make(choices)
        assert DONE not in watched(ending, stream, DONE)
        with pytest.raises(StreamIncomplete):
            ending.finish(blank())


@pytest.mark.parametrize("make", [OpenAIEnding, UnaskedUsage])
def test_a_reason_for_each_choice_is_an_end(make: type[OpenAIEnding]) -> None:
    """With `[DONE]` or without."""
    for choices, stream in ((1, piece() + piece('"stop"')), (2, piece('"stop"') + piece('"length"', 1)), (1, DONE)):
        for end in (b"", DONE):
            ending = make(choices)
            assert watched(ending, stream, end) == stream + end
            ending.finish(blank())


def test_what_the_usage_brings_along_goes_into_the_last_piece() -> None:
    """vLLM's fingerprint, llama.cpp's timings; the usage itself is taken out."""
    usage = b'data: {"choices":[],"system_fingerprint":"fp","usage":{"prompt_tokens":3,"completion_tokens":7}}\n\n'
    for text in (usage, b": a comment\n" + usage):
        ending, record = UnaskedUsage(), blank()
        passed = watched(ending, piece(), piece('"stop"'), text, DONE)
        assert passed == piece() + piece('"stop"', more=',"system_fingerprint":"fp"') + DONE
        ending.finish(record)
        assert counts(record) == (3, 7)


RUNNING = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\n'
REASON = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'


def test_nothing_overtakes_the_event_that_is_held() -> None:
    """An event that comes behind the one with the reason, as some servers send, stays behind it."""
    ending = UnaskedUsage()
    assert b"".join(map(ending.feed, (RUNNING, REASON, RUNNING))) == RUNNING + REASON + RUNNING


@pytest.mark.parametrize("choices", [1, 2])
def test_an_event_amid_the_answer_is_not_looked_at(choices: int) -> None:
    """Of one answer, while nothing is held: a token would pay for each look. Of several answers each event is."""
    ending = UnaskedUsage(choices)
    ending.feed(RUNNING)
    assert ending.passes is (choices == 1)
    ending.feed(REASON)
    assert not ending.passes
    ending.feed(RUNNING)
    assert ending.passes is (choices == 1)
