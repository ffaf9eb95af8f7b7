"""Hostile HTTP: other protocols, broken connections, and bodies that are dear to read."""

import asyncio
import json
from contextlib import suppress

from bench.processes import ROOT
from trial import wire
from trial.case import GENERATE, Case, Scene, several
from trial.cases.broken import ANSWERED, BROKEN, MARKS, NAME
from trial.service import KEYS, Stage
from trial.wire import Answer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
UPGRADE = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
CHAT = "/api/chat"
KEEP_ALIVE = 3
LONGEST_IDLE = 90.0
WITHIN = 10.0
DIGITS = b"1" * 299 + b" "


async def spoken(port: int, data: bytes, seconds: float) -> tuple[bytes, bool]:
    """Send bytes; return what came back within so many seconds, and whether the connection was closed."""
    reader, writer = await wire.connect(port)
    found = b""
    try:
        writer.write(data)
        async with asyncio.timeout(seconds):
            while piece := await reader.read(1 << 16):
                found += piece
        return found, True
    except TimeoutError:
        return found, False
    except OSError:
        return found, True
    finally:
        writer.transport.abort()


async def other_protocols(scene: Scene) -> None:
    """HTTP/2 and WebSocket are asked for, of a service that speaks HTTP/1.1."""
    port = scene.service.port
    said, closed = await spoken(port, PREFACE, 2.0)
    refused = said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")) or (closed and not said)
    scene.check("HTTP/2 at once: refused or closed in 2 s", f"{said[:24]!r}, {_closed(closed)}", refused)
    said, closed = await spoken(port, wire.head("GET", "/health", UPGRADE), 2.0)
    good = said.startswith(b"HTTP/1.1 200") and b"PRI" not in said
    scene.check("Upgrade: h2c is ignored", repr(said[:36]), good)
    answer = await scene.ask(wire.head("GET", "/api/llm/stream", WEBSOCKET), 3.0)
    seen = f"{answer.status}, {answer.body[:40]!r}"
    scene.check("a WebSocket is refused with JSON", seen, answer.status >= 400 and answer.is_json)


def _closed(closed: bool) -> str:
    return "closed" if closed else "still open"


async def idle(scene: Scene) -> None:
    """Connections that begin something and say no more."""
    patience = WITHIN if _has_clock() else LONGEST_IDLE
    head = wire.post(
        GENERATE, {"model": "trial", "prompt": "Why?"}, {"X-API-Key": KEYS["one"], "X-Request-ID": scene.ids.new()}
    )
    states = {"nothing": b"", "half a head": head[:40], "half a body": head[:-5], "garbage": b"\x16\x03\x01\x02\0\1"}
    ends = await asyncio.gather(*(spoken(scene.service.port, data, patience) for data in states.values()))
    for state, (_, closed) in zip(states, ends, strict=True):
        scene.check(f"{state}: closed within {patience:.0f} s", _closed(closed), closed)


def _has_clock() -> bool:
    """Whether the service has a setting for connections on which nothing happens."""
    return "| `KEEP_ALIVE_TIMEOUT` |" in (ROOT / "docs" / "settings.md").read_text("utf-8")


async def marked(scene: Scene) -> None:
    """Connections that break in every state, with a key and a prompt that no log may show."""
    for data in BROKEN.values():
        await _broken_off(scene, data)
    unanswered, answers = [], []
    for state, data in ANSWERED.items():
        answer = await scene.ask(named(scene, data), 3.0)
        answers.append(answer)
        if not (answer.status >= 400 and answer.is_json):
            unanswered.append(f"{state}: {answer.status} {answer.body[:20]!r}")
    scene.check("the server's own errors are JSON", "; ".join(unanswered) or several(answers), not unanswered)
    await asyncio.sleep(1.0)
    log = scene.service.log_text()
    shown = [mark for mark in MARKS if mark in log]
    scene.check("no key and no prompt in the log", ", ".join(shown) or f"none in {len(log) >> 10} KiB", not shown)


def named(scene: Scene, data: bytes) -> bytes:
    """Return the bytes of a request with an id of its own."""
    return data.replace(NAME, scene.ids.new().encode())


async def _broken_off(scene: Scene, data: bytes) -> None:
    """Send, read a little, break the connection; once politely and once not."""
    for abrupt in (False, True):
        with suppress(OSError, TimeoutError):
            reader, writer = await wire.connect(scene.service.port)
            writer.write(named(scene, data))
            async with asyncio.timeout(0.3):
                await reader.read(100)
            if abrupt:
                writer.transport.abort()
            else:
                writer.close()


async def digits(scene: Scene) -> None:
    """Bodies with a string of very many digits."""
    answers = [await _digits(scene, path, 30 << 20) for path in (GENERATE, CHAT)]
    answers += await asyncio.gather(*(_digits(scene, GENERATE, 1 << 20) for _ in range(20)))
    good = all(answer.status in (200, 400, 408, 413, 429, 503) for answer in answers)
    scene.check("2 of 30 MB and 20 of 1 MB are answered", several(answers), good)
    slowest = max(answer.seconds for answer in answers)
    scene.check("each within 10 s", f"{slowest:.1f} s", slowest <= WITHIN)


async def _digits(scene: Scene, path: str, size: int) -> Answer:
    text = DIGITS * (size // len(DIGITS))
    prompt = b'"prompt": "%s"' if path == GENERATE else b'"messages": [{"role": "user", "content": "%s"}]'
    body = b'{"model": %s, "stream": false, %s}' % (json.dumps("trial").encode(), prompt % text)
    name = scene.ids.new()
    request = wire.post(path, body, {"X-API-Key": KEYS["two"], "X-Request-ID": name})
    return scene.counted(name, await wire.ask(scene.service.port, request, 30.0))


CASES = (
    Case("other-protocols", "HTTP/2 and WebSocket are asked for", other_protocols),
    Case("idle", "connections that say no more", idle, 100, stage=Stage({"KEEP_ALIVE_TIMEOUT": str(KEEP_ALIVE)})),
    Case("marks", "connections broken in every state, at DEBUG", marked, 40, stage=Stage({"LOG_LEVEL": "DEBUG"})),
    Case("digits", "bodies of very many digits", digits, 60),
)
