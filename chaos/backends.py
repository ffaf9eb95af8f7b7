"""The fake backends: Ollamas that know whose prompts they have answered whole."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field

from tests.fakes.http11 import Connection, Request
from tests.fakes.ollama import FakeOllama, Mode, Recorded
from tests.fakes.server import recorded

# Streams that take a while, so that what goes wrong meets some of them.
USUAL = Mode.SLOW_TOKENS
TOKEN = 0.005
NOTICING = 10


@dataclass(kw_only=True, eq=False)
class ChaosOllama(FakeOllama):
    """One of them; `answered` counts whole answers by the name in the prompt."""

    mode: Mode = USUAL
    token_delay: float = TOKEN
    answered: Counter[str] = field(default_factory=Counter)

    async def _attend(self, connection: Connection, request: Request) -> Recorded:
        """See first who has left: a slot of theirs may be this request's, and who asked may be one of them."""
        for _ in range(NOTICING):
            await asyncio.sleep(0)
        return recorded(request) if connection.client_left else await super()._attend(connection, request)

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer, and note it where the answer was whole."""
        mode = self.mode
        await super().answer(connection, request)
        if self.counts(request) and mode is USUAL:
            self.answered[name_in(request.body)] += 1
        self.requests.clear()


def name_in(body: bytes) -> str:
    """The request's name, which is the first word of its prompt."""
    told = json.loads(body)
    said = told.get("prompt") or (told.get("messages") or [{}])[-1].get("content", "")
    if isinstance(said, list):
        said = "".join(str(part.get("text", "")) for part in said)
    return str(said).partition(" ")[0]
