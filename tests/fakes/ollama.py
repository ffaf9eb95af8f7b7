"""A fake Ollama on a real socket, which misbehaves on command and remembers what it was asked.

    async with FakeOllama(mode=Mode.SLOW_TOKENS) as fake:
        ...  # point the service at fake.url

Every request with an `Origin` header gets Ollama's 403 with an empty body, in every mode.
"""

from dataclasses import dataclass

from tests.fakes.http11 import Connection, Request
from tests.fakes.ollama_blobs import blob
from tests.fakes.ollama_errors import Refused
from tests.fakes.ollama_infer import infer
from tests.fakes.ollama_lookup import look_up
from tests.fakes.ollama_manage import progress
from tests.fakes.ollama_modes import DEFAULT_WORDS, Mode, Script
from tests.fakes.ollama_play import Stage
from tests.fakes.ollama_routes import BLOB, INFERENCE, PROBES, PROGRESS, check_route, route_of
from tests.fakes.server import Recorded, RecordingServer

__all__ = ["DEFAULT_WORDS", "FakeOllama", "Mode", "Recorded"]


@dataclass(kw_only=True, eq=False)
class FakeOllama(Script, RecordingServer):
    """The server; `active` and `max_active` count inference requests, not probes."""

    def hold(self) -> None:
        """Let no event of a stream, and no whole answer, leave until it is released."""
        self.gate.hold()

    def release(self, count: int | None = None) -> None:
        """Let `count` more events leave (headers go with the first), or everything from now on."""
        self.gate.release(count)

    def counts(self, request: Request) -> bool:
        """Count inference only."""
        return route_of(request.path)[0] in INFERENCE

    def streams_body(self, request: Request) -> bool:
        """Read uploads of blobs piece by piece."""
        return request.method == "POST" and route_of(request.path)[0] == BLOB

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer as Ollama does, or as the mode says."""
        try:
            route, value = check_route(request, self.lacks)
            await self._answer(connection, request, route, value)
        except Refused as refused:
            await connection.send(refused.reply, with_body=request.method != "HEAD")

    async def _answer(self, connection: Connection, request: Request, route: str, value: str) -> None:
        if route in INFERENCE:
            await infer(self, connection, request, route)
        elif route in PROGRESS:
            await progress(self, connection, request, route)
        elif route == BLOB:
            await blob(self, connection, request, value, self._changed.set)
        elif route not in PROBES or not await Stage(self.probe_mode, self, connection, route).opening():
            reply = look_up(self, request, route, value)
            await connection.send(reply, with_body=request.method != "HEAD")
