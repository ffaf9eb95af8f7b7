"""Kills the worker behind a router in the middle of a stream."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx

from tests.servers.real.kinds import Server
from tests.servers.real.routers import ENDLESS
from tests.servers.real.starting import Missing, Running, interpreter, started
from tests.servers.replies import BROKEN
from tests.service import ORDINARY_KEY

ASKED: Final[dict[str, Any]] = {"messages": [{"role": "user", "content": BROKEN}], "stream": True}


@dataclass(frozen=True)
class Ended:
    """A stream to its end.

    Attributes:
        kind: its content type.
        request_id: of the service.
        body: what came.
        cut: whether it broke off.
    """

    kind: str
    request_id: str
    body: bytes
    cut: bool


@contextmanager
def endless(kind: Server, home: Path) -> Iterator[Running | Missing]:
    """A router before a server that never ends an answer."""
    before = replace(kind, worker=ENDLESS)
    python = interpreter(before)
    if isinstance(python, Missing):
        yield python
        return
    with started(before, python, home) as running:
        yield running


async def killed(router: Running, url: str, path: str, asked: dict[str, Any] = ASKED) -> Ended:
    """Ask for a stream, kill the worker once a piece of it is here, and read on.

    Args:
        router: whose worker is killed.
        url: of the router, or of the service before it.
        path: that is asked.
        asked: beside the model.
    """
    worker = router.worker
    assert worker
    read, cut = b"", False
    async with (
        httpx.AsyncClient(headers={"X-API-Key": ORDINARY_KEY}, timeout=30, trust_env=False) as client,
        client.stream("POST", url + path, json={"model": router.model, **asked}) as answer,
    ):
        assert answer.status_code == 200
        try:
            async for piece in answer.aiter_raw():
                if not read:
                    os.killpg(worker.process.pid, signal.SIGKILL)
                read += piece
        except httpx.TransportError:
            cut = True
    return Ended(answer.headers["content-type"], answer.headers.get("x-request-id", ""), read, cut)
