"""Streams in step: a stream's next token is written when its last one has arrived. `python -m bench.lockstep --port N`.

A service that is full reads many tokens at once, which makes each of them cheap: how many tokens a second it can carry
is then a matter of how they came. Here no stream has more than one token under way, so that every token is read and
written by itself however full the service is. One process is the upstream and the clients, for it must know of both.

`POST /lockstep` with a job as JSON runs it: the targets take turns, their streams are open all the time.
"""

import argparse
import asyncio
import contextlib
import gc
import http.client
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, cast

import psutil

from bench.families import Family, prompt_of
from bench.figures import Figures, Round
from bench.frames import json_answer
from bench.machine import busy_seconds, cpu_seconds, raise_open_files
from bench.upstream import BACKLOG, Upstream
from bench.wire import HOST, Address

PATH = "/lockstep"
LANE = re.compile(r"lane=(\d+)")
MARK = b'"content":" '
PATIENCE = 60.0
RAMP = 0.005  # seconds between two streams' starts, so that they spread as strangers' do
SETTLE = 5.0  # the longest that a token may be under way


class Result(TypedDict):
    """What a job has shown."""

    rounds: list[Round]
    spread: dict[str, list[int]]


@dataclass
class Side:
    """One target: its processes, its lanes, and whether it is its turn."""

    address: Address
    pids: Sequence[int]
    lanes: list["Lane"] = field(default_factory=list)
    on: bool = False
    tokens: int = 0

    def used(self) -> float:
        """Return the CPU time of all its processes."""
        return sum(cpu_seconds(pid) for pid in self.pids)

    def spread(self) -> list[int]:
        """Return how many of its connections each of its processes holds."""
        return [held for pid in self.pids if (held := _held(pid, self.address.port))]

    async def turn(self, length: float) -> Figures:
        """Let its streams speak for some seconds, as fast as they can."""
        tokens, used, own, busy = self.tokens, self.used(), time.process_time(), busy_seconds()
        began, self.on = time.monotonic(), True
        for lane in self.lanes:
            lane.go()
        await asyncio.sleep(length)
        self.on = False
        taken, busy = time.monotonic() - began, busy_seconds() - busy
        await self._settled()
        spoken = max(self.tokens - tokens, 1)
        return {
            "tokens_per_second": spoken / taken,
            "cpu_per_token_us": (self.used() - used) / spoken * 1e6,
            "load_per_token_us": (time.process_time() - own) / spoken * 1e6,
            "busy": busy / taken,
            "silent": sum(not lane.idle.is_set() for lane in self.lanes),
        }

    async def _settled(self) -> None:
        """Wait until nothing is under way."""
        idle = asyncio.gather(*(lane.idle.wait() for lane in self.lanes))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(idle, SETTLE)


class Lane(asyncio.Protocol):
    """One stream, as its client sees it; `speak` writes its next token at the other end."""

    lanes: dict[int, "Lane"] = {}  # noqa: RUF012 -- of the process, for the upstream to find

    def __init__(self, side: Side, request: bytes) -> None:
        self._side = side
        self._request = request
        self._tail = b""
        self.speak: Callable[[], None] = lambda: None
        self.idle = asyncio.Event()  # no token is under way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count what has come, and have the next token written."""
        data = self._tail + data
        self._tail = data[1 - len(MARK) :]  # too short for the whole mark, which might be split
        if count := data.count(MARK):
            self._side.tokens += count
            if self._side.on:
                self.speak()
            else:
                self.idle.set()

    def go(self) -> None:
        """Have a token written, unless one is under way."""
        if self.idle.is_set():
            self.idle.clear()
            self.speak()


class Steps(Upstream):
    """The upstream's end of a stream."""

    def _stream(self, route: Family, asked: dict[str, Any]) -> None:
        found = LANE.search(prompt_of(asked))
        if found is None:
            super()._stream(route, asked)
            return
        token, send = route.frames.token % 0, self._send
        Lane.lanes[int(found[1])].speak = lambda: send(token)
        send(route.frames.head + token)

    def _answer(self, path: bytes, body: bytes) -> None:
        if path == PATH.encode():
            Steps.job = asyncio.create_task(self._run(json.loads(body)))
        else:
            super()._answer(path, body)

    async def _run(self, job: dict[str, Any]) -> None:
        try:
            answer = json_answer(json.dumps(await run(**job)).encode())
        except (OSError, TimeoutError) as exc:
            answer = json_answer(repr(exc).encode(), b"500 Internal Server Error")
        self._send(answer)

    job: asyncio.Task[None]


async def run(targets: list[dict[str, Any]], streams: int, length: float, rounds: int) -> Result:
    """Open all streams; let each target have its turn in each round, each round begins with another."""
    sides = [Side(Address(**target["address"]), target["pids"]) for target in targets]
    for side in sides:
        await _open(side, streams)
    for side in sides:
        await side.turn(length)
    found = []
    for number in range(rounds):
        order = sides[number % len(sides) :] + sides[: number % len(sides)]
        found.append({side.address.name: await side.turn(length) for side in order})
    spread = {side.address.name: side.spread() for side in sides}
    for side in sides:
        for lane in side.lanes:
            lane.transport.abort()
    return {"rounds": found, "spread": spread}


async def _open(side: Side, streams: int) -> None:
    """Start a target's streams one after the other, and wait until each has spoken."""
    loop, address = asyncio.get_running_loop(), side.address
    for _ in range(streams):
        number = len(Lane.lanes)
        lane = Lane(side, address.asking(f"lane={number}"))
        Lane.lanes[number] = lane
        side.lanes.append(lane)
        await loop.create_connection(lambda lane=lane: lane, HOST, address.port)  # type: ignore[misc]
        await asyncio.sleep(RAMP)
    await asyncio.wait_for(asyncio.gather(*(lane.idle.wait() for lane in side.lanes)), PATIENCE)


def _held(pid: int, port: int) -> int:
    connections = psutil.Process(pid).net_connections("tcp4")
    return sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port for one in connections)


def ask(port: int, job: dict[str, Any], timeout: float) -> Result:
    """Have the process at a port run a job; return the rounds, and how the streams were spread over processes."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    connection.request("POST", PATH, json.dumps(job))
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != http.client.OK:
        raise SystemExit(f"streams in step failed: {said.decode(errors='replace')}")
    result: Result = json.loads(said)
    return result


async def serve(port: int) -> None:
    """Serve until ended."""
    server = await asyncio.get_running_loop().create_server(Steps, HOST, port, backlog=BACKLOG)
    await server.serve_forever()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    raise_open_files()
    gc.freeze()
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
