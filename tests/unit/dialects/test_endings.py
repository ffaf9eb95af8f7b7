"""Endings: what the last bytes of each kind of stream tell, and how one that failed is ended."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.errors import BackendVanished, StreamIncomplete
from mlops_backend.services.llm.dialects import OpenAIEnding, endings, read_usage
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
    "chat/completions": (endings.openai_ending, CHAT),
    "messages": (endings.messages_ending, MESSAGE),
    "responses": (endings.responses_ending, RESPONSE),
    "unknown lines": (UnknownEnding, GENERATED),
    "unknown events": (UnknownEnding, CHAT),
}
CHECKED = {**WHOLE, "pull": (endings.progress_ending, PULLED)}
del CHECKED["unknown lines"], CHECKED["unknown events"]


def blank() -> RequestRecord:
    """The record of a request that has begun."""
    return RequestRecord(id="r", method="POST")


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


@pytest.mark.parametrize("kind", CHECKED)
def test_an_error_that_the_backend_told_is_only_recorded(kind: str) -> None:
    """It has reached the client already."""
    make, stream = CHECKED[kind]
    told = b'{"error":"the runner died"}\n'
    ending, record = make(), blank()
    watched(ending, b"event: error\ndata: " + told + b"\n" if b"data:" in stream else told)
    ending.finish(record)
    assert (record.outcome, record.error) == ("error", "backend_error_line")


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
    """As it came, where it ends the stream properly; else it is half a frame."""
    make, stream = CHECKED[kind]
    ending = make()
    assert watched(ending, stream.rstrip(b"\n")) == stream.rstrip(b"\n")
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


def test_frames_are_counted() -> None:
    """An event is two lines with OpenAI, three with Anthropic."""
    for (make, stream), frames in zip(CHECKED.values(), (2, 4, 3, 2, 2), strict=True):
        ending = make()
        watched(ending, stream)
        assert ending.count() == frames


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


DONE = b"data: [DONE]\n\n"


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
