"""Measure what proxies do, for the documentation's table: `python -m tests.e2e.proxy_table`.

Each proxy stands before the service as the page says, and without the lines that matter; 32 tokens, one each 50 ms.
"""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final

import pytest

from tests.e2e.proxies import PROXIES, VERSIONS, Front, Proxy, fronted, in_clear
from tests.e2e.server_process import KEY, ServerProcess, serving_process
from tests.fakes.ollama import FakeOllama, Mode

STREAM: Final = "/api/llm/stream"
TYPE: Final = ("-H", "Content-Type: application/json")
POST: Final = ("-H", f"X-API-Key: {KEY}", *TYPE, "-d", '{"prompt": "Hi"}')
LONGEST: Final = 2.0
HEAD: Final = "| | tokens come | first token | leaves: talking / silent | service killed | early 401 / 413, 16 MB |"
WITHOUT: Final = {"nginx": "proxy_http_version 1.1;", "haproxy": "option http-no-delay", "": "option abortonclose"}


async def tokens(fake: FakeOllama, front: Front, version: str) -> tuple[str, str]:
    """How many lumps 32 tokens come in, and when the first one does."""
    fake.mode, fake.words = Mode.SLOW_TOKENS, ("word ",) * 32
    async with front.curl(version, STREAM, *POST) as curl:
        began, arrivals = time.monotonic(), []
        while await curl.line():
            arrivals.append(time.monotonic())
    lumps = 1 + sum(later - earlier > 0.02 for earlier, later in pairwise(arrivals))
    return ("one by one" if lumps >= 28 else f"{lumps} lumps"), f"{arrivals[0] - began:.2f} s"


async def leaving(fake: FakeOllama, front: Front, version: str, mode: Mode) -> str:
    """How long the backend works on for a client that has left; the median of five."""
    fake.mode, fake.words, waited = mode, ("word ",) * 200, []
    for _ in range(5):
        async with front.curl(version, STREAM, *POST) as curl:
            await curl.line()
            left = await curl.leave()
            try:
                gone = (await fake.wait_for_disconnect(LONGEST)).disconnected_at
            except TimeoutError:
                return "not seen"
        waited.append((gone or 0) - left)
    return f"{median(waited):.2f} s"


async def refusal(front: Front, version: str, key: str, body: Path) -> str:
    """Whether a refusal comes whole, and before a slow upload has ended."""
    slow = ("--limit-rate", "16M", "-H", "Expect:", "--data-binary", f"@{body}")
    began = time.monotonic()
    answer, _, code = await front.asked(version, STREAM, "-H", f"X-API-Key: {key}", *TYPE, *slow)
    took = time.monotonic() - began
    whole = code == 0 and answer.startswith("{") and "code" in json.loads(answer)
    return f"{'whole' if whole else 'not ours'} after {took:.1f} s"


async def killed(process: ServerProcess, fake: FakeOllama, front: Front) -> list[str]:
    """What a client of each version of HTTP sees when the service is killed."""
    fake.mode = Mode.HANG_MID_STREAM
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(front.curl(version, STREAM, *POST)) for version in VERSIONS]
        for stream in streams:
            await stream.line()
        process.signal(signal.SIGKILL)
        return ["a proper end" if (await stream.rest())[1] == 0 else "cut" for stream in streams]


async def rows(proxy: Proxy, name: str, change: Callable[[str], str]) -> None:
    """Print one row for each version of HTTP in front."""
    with tempfile.TemporaryDirectory() as folder:
        home, body = Path(folder), Path(folder) / "body"
        body.write_bytes(b'{"prompt": "' + b"x" * 16 * 2**20 + b'"}')
        async with (
            FakeOllama() as fake,
            serving_process(home, fake.url, MAX_BODY_BYTES=str(2**20)) as process,
            fronted(home, proxy, process.url.removeprefix("http://"), change) as front,
        ):
            measured: list[tuple[str, list[str], str]] = []
            for version in VERSIONS:
                cells = [*await tokens(fake, front, version)]
                seen = [await leaving(fake, front, version, mode) for mode in (Mode.SLOW_TOKENS, Mode.HANG_MID_STREAM)]
                refused = [await refusal(front, version, key, body) for key in ("no", KEY)]
                measured.append((version, [*cells, " / ".join(seen)], " / ".join(refused)))
            ends = await killed(process, fake, front)
        for (version, told, answers), end in zip(measured, ends, strict=True):
            print("|", " | ".join([f"{name}, {version}", *told, end, answers]), "|", flush=True)  # noqa: T201


def variants(proxy: Proxy) -> Iterator[tuple[str, Callable[[str], str]]]:
    """The page's block, and the same without a line that matters."""
    yield "", lambda block: block
    if proxy.name == "haproxy":
        yield " in clear", in_clear
        yield " in clear without `option http-no-delay`", lambda block: in_clear(block).replace(WITHOUT["haproxy"], "")
    for of, line in WITHOUT.items():
        if of == proxy.name or (not of and proxy.name == "haproxy"):
            yield f" without `{line.rstrip(';')}`", lambda block, line=line: block.replace(line, "")  # type: ignore[misc]


async def main() -> None:
    """Print the table."""
    print(HEAD, flush=True)  # noqa: T201
    for proxy in PROXIES.values():
        try:
            release = proxy.release()
        except pytest.skip.Exception as missing:
            print(missing, flush=True)  # noqa: T201
            continue
        for named, change in variants(proxy):
            await rows(proxy, f"{proxy.name} {release}{named}", change)


if __name__ == "__main__":
    asyncio.run(main())
