"""Memory: bodies that never end, and streams that nobody reads."""

import asyncio
import json
import socket
from contextlib import ExitStack

from trial import wire
from trial.case import GENERATE, Case, Scene, several
from trial.service import ADMIN, KEYS
from trial.wire import Answer

STREAMS = "/api/llm/streams"
DECLARED = 32 << 20
SENT = 31 << 20
BODIES = 40
REFUSALS = {408, 413, 429, 503}
BEGINNING = b'{"model": "trial", "prompt": "'


async def endless_bodies(scene: Scene) -> None:
    """Forty bodies almost come, by one key and by five."""
    for title, keys in (("one key", ["one"]), ("five keys", ["one", "two", "three", "four", "five"])):
        with ExitStack() as stack:
            held = [_socket(stack) for _ in range(BODIES)]
            sending = (_almost(scene, one, keys[number % len(keys)]) for number, one in enumerate(held))
            statuses = await asyncio.gather(*sending)
        answers = [Answer(status=status) for status in statuses]
        good = {status for status in statuses if status} <= REFUSALS
        scene.check(f"40 bodies without an end, {title}: held back or refused", several(answers), good)


def _socket(stack: ExitStack) -> socket.socket:
    found = stack.enter_context(socket.socket())
    found.setblocking(False)
    return found


async def _almost(scene: Scene, one: socket.socket, key: str) -> int:
    """Send all but the end of a body, for some seconds; return the status, if one was sent."""
    loop = asyncio.get_running_loop()
    name = scene.ids.new()
    headers = {"Content-Type": "application/json", "X-API-Key": KEYS[key], "X-Request-ID": name}
    head = wire.head("POST", GENERATE, {**headers, "Content-Length": str(DECLARED)})
    try:
        async with asyncio.timeout(6.0):
            await loop.sock_connect(one, (wire.HOST, scene.service.port))
            await loop.sock_sendall(one, head + BEGINNING)
            left = SENT
            while left > 0:
                await loop.sock_sendall(one, b"a" * min(left, 1 << 18))
                left -= 1 << 18
    except (OSError, TimeoutError):
        pass
    return await _status(scene, one, name)


async def _status(scene: Scene, one: socket.socket, name: str) -> int:
    try:
        async with asyncio.timeout(2.0):
            said = await asyncio.get_running_loop().sock_recv(one, 1 << 16)
    except (OSError, TimeoutError):
        return 0
    if name.encode() in said:
        scene.ids.answered.add(name)
    return int(said.split(b" ")[1]) if said.startswith(b"HTTP/1.1 ") else 0


async def streams_large(scene: Scene) -> None:
    """Forty-five streams with prompts of 30 MB are begun."""
    body = BEGINNING + b"a" * (30 << 20) + b'"}'
    answers = [await _begin(scene, KEYS["one"], body, 20.0) for _ in range(45)]
    good = {answer.status for answer in answers} <= {201, *REFUSALS}
    scene.check("45 of 30 MB are begun or refused", several(answers), good)


async def streams_many(scene: Scene) -> None:
    """One key, which may ask once an hour, begins all the streams that there is room for."""
    new = {"name": "greedy", "limits": {"requests": "1/hour"}}
    made = await scene.ask(wire.post("/api/admin/keys", new, {"X-API-Key": ADMIN}))
    greedy = str(made.last.get("key"))
    body = json.dumps({"model": "trial", "prompt": "Why?"}).encode()
    room = asyncio.Semaphore(8)

    async def one() -> Answer:
        async with room:
            return await _begin(scene, greedy, body)

    answers = list(await asyncio.gather(*(one() for _ in range(1200))))
    other = await _begin(scene, KEYS["two"], body)
    seen = f"{other.status} after {several(answers)}"
    scene.check("after 1,200 of one key another's is begun", seen, other.status == 201)


async def _begin(scene: Scene, key: str, body: bytes, seconds: float = 10.0) -> Answer:
    return await scene.ask(wire.post(STREAMS, body, {"X-API-Key": key}), seconds)


CASES = (
    Case("endless-bodies", "40 bodies of 31 MB that never end", endless_bodies, 40),
    Case("streams-large", "45 streams with prompts of 30 MB", streams_large, 60),
    Case("streams-many", "1,200 streams of one key", streams_many, 40),
)
