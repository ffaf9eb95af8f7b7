"""How the fake Ollama misbehaves: one mode a fault, played on a streamed or a whole answer."""

import asyncio
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from tests.fakes.gate import Gate
from tests.fakes.http11 import Connection, Reply, head_bytes
from tests.fakes.ollama_shapes import (
    BUSY,
    JSON_TYPE,
    NDJSON_TYPE,
    RUNNER_DIED,
    Generation,
    JsonObject,
    encode,
    error_reply,
)

DEFAULT_WORDS = (" Hello", " from", " a", " model", " that", " is", " not", " there.")
ODD_WORDS = (
    " next\u0085line",
    " line\u2028separator",
    " paragraph\u2029end",
    " \U0001f999\U0001f469\u200d\U0001f680",
)
HUGE_WORDS = ("x" * 2**20, "y" * 2**20, "z" * 2**20)
GARBAGE_PAGE = Reply(200, "text/html", b"<html><body><h1>It works!</h1></body></html>\n")
GARBAGE_LINES = (b"this is not json\n", b'{"model": oops\n', b"\xff\xfe\n")
STREAM_HEAD = head_bytes(200, {"Content-Type": NDJSON_TYPE, "Transfer-Encoding": "chunked"})
PIECES = 3


class Mode(Enum):
    """What the server does with a request to generate, chat or embed."""

    NORMAL = auto()
    SLOW_FIRST_BYTE = auto()
    SLOW_TOKENS = auto()
    ERROR_500 = auto()
    BUSY_503 = auto()
    HANG_BEFORE_HEADERS = auto()
    CLOSE_BEFORE_HEADERS = auto()
    CUT_MID_STREAM = auto()
    ERROR_MID_STREAM = auto()
    ERROR_FIRST_LINE = auto()
    NO_DONE = auto()
    GARBAGE = auto()
    GARBAGE_JSON = auto()
    HUGE_LINES = auto()
    ODD_UNICODE = auto()
    SPLIT_LINES = auto()
    HANG_MID_STREAM = auto()
    NOT_FOUND_MODEL = auto()


MODE_WORDS = {Mode.HUGE_LINES: HUGE_WORDS, Mode.ODD_UNICODE: ODD_WORDS}
MODE_REPLIES = {
    Mode.ERROR_500: error_reply(500, "model runner has unexpectedly stopped"),
    Mode.BUSY_503: error_reply(503, BUSY),
    Mode.GARBAGE: GARBAGE_PAGE,
}
# On an answer that is not streamed these faults still have a status to travel in.
WHOLE_REPLIES = {
    Mode.ERROR_MID_STREAM: error_reply(500, RUNNER_DIED),
    Mode.ERROR_FIRST_LINE: error_reply(500, RUNNER_DIED),
    Mode.GARBAGE_JSON: Reply(200, JSON_TYPE, b'{"model": oops'),
}
BROKEN_OFF = (Mode.CUT_MID_STREAM, Mode.HANG_MID_STREAM)


@dataclass(kw_only=True, eq=False)
class Script:
    """What the server has and does; every field may be changed while it runs."""

    models: list[str] = field(default_factory=lambda: ["llama3:latest"])
    words: tuple[str, ...] = DEFAULT_WORDS
    tool_calls: tuple[JsonObject, ...] = ()
    mode: Mode = Mode.NORMAL
    probe_mode: Mode = Mode.NORMAL
    version: str = "0.9.3"
    first_byte_delay: float = 0.3
    token_delay: float = 0.05
    piece_delay: float = 0.002
    trouble_after: int = 2
    gate: Gate = field(default_factory=Gate)


async def for_ever() -> None:
    """Wait until cancelled."""
    await asyncio.Event().wait()


async def play_opening(mode: Mode, script: Script, connection: Connection) -> bool:
    """Play what a mode does before any answer; True when nothing is to follow."""
    if mode in MODE_REPLIES:
        await connection.send(MODE_REPLIES[mode])
        return True
    if mode is Mode.CLOSE_BEFORE_HEADERS:
        connection.drop()
        return True
    if mode is Mode.HANG_BEFORE_HEADERS:
        await for_ever()
    if mode is Mode.SLOW_FIRST_BYTE:
        await asyncio.sleep(script.first_byte_delay)
    return False


def scripted_lines(generation: Generation, mode: Mode, trouble_after: int) -> list[bytes]:
    """Return the lines that a streamed answer shall have in this mode."""
    died = encode({"error": RUNNER_DIED}) + b"\n"
    if mode is Mode.GARBAGE_JSON:
        return list(GARBAGE_LINES)
    if mode is Mode.ERROR_FIRST_LINE:
        return [died]
    lines = [encode(line) + b"\n" for line in generation.lines()]
    if mode is Mode.ERROR_MID_STREAM:
        return [*lines[:trouble_after], died]
    if mode is Mode.NO_DONE:
        return lines
    lines.append(encode(generation.last()) + b"\n")
    # What breaks off needs one more line: the one that is cut, or is never sent.
    return lines[: trouble_after + 1] if mode in BROKEN_OFF else lines


async def play_stream(mode: Mode, script: Script, connection: Connection, lines: list[bytes]) -> None:
    """Send a streamed answer: headers with the first line, then a chunk a line."""
    head = STREAM_HEAD
    for line in lines[:-1] if mode in BROKEN_OFF else lines:
        await script.gate.step()
        if mode is Mode.SLOW_TOKENS and not head:
            await asyncio.sleep(script.token_delay)
        await _send_line(mode, script, connection, line, head)
        head = b""
    if mode in BROKEN_OFF:
        await _break_off(mode, script, connection, lines[-1], head)
    else:
        await connection.end_chunks()


async def _send_line(mode: Mode, script: Script, connection: Connection, line: bytes, head: bytes) -> None:
    if mode is not Mode.SPLIT_LINES:
        await connection.send_chunk(line, head=head)
        return
    for piece in in_pieces(line):
        await connection.send_chunk(piece, head=head)
        head = b""
        await asyncio.sleep(script.piece_delay)


async def _break_off(mode: Mode, script: Script, connection: Connection, line: bytes, head: bytes) -> None:
    if mode is Mode.HANG_MID_STREAM:
        if head:
            await connection.send_part(head)
        await for_ever()
    await script.gate.step()
    await connection.send_chunk(line[: len(line) // 2], declared=len(line), head=head)
    connection.drop()


async def play_whole(mode: Mode, script: Script, connection: Connection, reply: Reply) -> None:
    """Send an answer that is not streamed."""
    await script.gate.step()
    if mode is Mode.SLOW_TOKENS:
        await asyncio.sleep(script.token_delay * len(script.words))
    reply = WHOLE_REPLIES.get(mode, reply)
    if mode in BROKEN_OFF:
        half = reply.body[: len(reply.body) // 2]
        await connection.send(replace(reply, body=half, declared=len(reply.body)))
        if mode is Mode.HANG_MID_STREAM:
            await for_ever()
        connection.drop()
    elif mode is Mode.SPLIT_LINES:
        first, *rest = in_pieces(reply.body)
        await connection.send(replace(reply, body=first, declared=len(reply.body)))
        for piece in rest:
            await asyncio.sleep(script.piece_delay)
            await connection.send_part(piece)
    else:
        await connection.send(reply)


def in_pieces(data: bytes) -> list[bytes]:
    """Return the data in three pieces, so that two reads end in the middle of a line."""
    size = len(data) // PIECES or 1
    pieces = [data[:size], data[size : 2 * size], data[2 * size :]]
    return [piece for piece in pieces if piece]
