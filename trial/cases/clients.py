"""Clients that read nothing, close half, or leave."""

import asyncio
import socket
from contextlib import suppress

from trial import wire
from trial.case import Case, Scene, several
from trial.ledger import outcomes_of
from trial.service import KEYS, Stage

STREAM = "/api/llm/stream"
SEND_TIMEOUT = 3
WITHIN = 10.0
READERS = 10
LEAVERS = 300
AT_ONCE = 30
RESET = b"\1\0\0\0\0\0\0\0"  # struct linger: on, 0 seconds
RAISED = "socket.send() raised exception"


def flood(scene: Scene, key: str) -> bytes:
    """Return a request for a fast stream without an end, counted as sent."""
    headers = {"X-API-Key": KEYS[key], "X-Request-ID": scene.ids.new()}
    return wire.post(STREAM, {"model": "flood", "prompt": "Why?"}, headers)


async def read_nothing(scene: Scene) -> None:
    """Clients ask for a fast stream and do not read it."""
    held = [await _asked(scene) for _ in range(READERS)]
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.5)
    begun = loop.time()
    while (left := await _open(scene)) and loop.time() < begun + WITHIN:
        await asyncio.sleep(0.2)
    seen = f"{left} of {READERS} open after {loop.time() - begun:.1f} s"
    scene.check(f"all are ended within {WITHIN:.0f} s, the backend's side too", seen, not left)
    for one in held:
        one.close()
    await asyncio.sleep(1.5)
    outcomes = sorted(outcomes_of(scene.service.database, scene.ids.sent).values())
    seen = ", ".join(f"{outcomes.count(outcome)} × {outcome}" for outcome in dict.fromkeys(outcomes)) or "no rows"
    scene.check("the ledger says timeout", seen, outcomes == ["timeout"] * READERS)


async def _asked(scene: Scene) -> socket.socket:
    loop = asyncio.get_running_loop()
    one = socket.socket()
    one.setblocking(False)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await loop.sock_connect(one, (wire.HOST, scene.service.port))
    await loop.sock_sendall(one, flood(scene, "one"))
    return one


async def _open(scene: Scene) -> int:
    return (await scene.backend_state())["open"].get("flood", 0)


async def half_close(scene: Scene) -> None:
    """Clients say that they will send no more, and wait for the answer."""
    answers = [await scene.generate(half_close=True) for _ in range(3)]
    scene.check("a whole answer comes", several(answers), all(a.status == 200 and a.whole for a in answers))
    answers = [await scene.generate("trial", STREAM, half_close=True) for _ in range(3)]
    good = all(answer.whole and answer.last.get("done") for answer in answers)
    scene.check("a short stream comes whole", several(answers), good)


async def leave(scene: Scene) -> None:
    """Clients leave a fast stream at random points."""
    room = asyncio.Semaphore(AT_ONCE)
    points = [scene.rng.randrange(200_000) for _ in range(LEAVERS)]

    async def one(point: int) -> None:
        async with room:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(10.0):
                    await _left(scene, point)

    await asyncio.gather(*(one(point) for point in points))
    await asyncio.sleep(1.0)
    lines = scene.service.log_text().count(RAISED)
    scene.check("the log has no line about a failed send", f"{lines} lines", not lines)
    left = await _open(scene)
    scene.check("the backend's side is closed within 1 s", f"{left} of {LEAVERS} open", not left)


async def _left(scene: Scene, point: int) -> None:
    """Read so many bytes of a stream and leave, every second time without the manners of TCP."""
    reader, writer = await wire.connect(scene.service.port)
    writer.write(flood(scene, "two"))
    while point > 0:
        piece = await reader.read(min(point, 1 << 14))
        if not piece:
            break
        point -= len(piece)
    if point % 2:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


CASES = (
    Case(
        "read-nothing",
        "clients that read nothing of a fast stream",
        read_nothing,
        30,
        in_ci=True,
        stage=Stage({"SEND_TIMEOUT": str(SEND_TIMEOUT)}),
    ),
    Case("half-close", "clients that close half", half_close),
    Case("leavers", "300 clients leave a fast stream", leave, 40),
)
