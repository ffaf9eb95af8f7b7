"""What a case is, and the scene that it plays on."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trial import wire
from trial.ledger import Ids
from trial.service import ADMIN, KEYS, Service, Stage
from trial.table import Check
from trial.wire import Answer

GENERATE = "/api/llm/generate"


class Scene:
    """A running service and its backend, for the hostile part of one case."""

    def __init__(self, name: str, service: Service, backend_port: int, rng: random.Random) -> None:
        self.name = name
        self.service = service
        self.backend_port = backend_port
        self.rng = rng
        self.ids = Ids(name)
        self.checks: list[Check] = []

    def check(self, promised: str, seen: str, ok: bool) -> None:
        """Write down one promise of the case's own."""
        self.checks.append(Check(self.name, promised, seen, ok))

    async def ask(self, request: bytes, seconds: float = 10.0, source: str = "") -> Answer:
        """Send a request that is no generation."""
        return await wire.ask(self.service.port, request, seconds, source)

    async def generate(
        self,
        model: str = "trial",
        path: str = GENERATE,
        key: str = KEYS["one"],
        seconds: float = 10.0,
        *,
        half_close: bool = False,
        **body: Any,
    ) -> Answer:
        """Ask for a generation and count it, if it is answered."""
        name = self.ids.new()
        content = {"model": model, **(body or {"prompt": "Why?"})}
        request = wire.post(path, content, {"X-API-Key": key, "X-Request-ID": name})
        return self.counted(name, await wire.ask(self.service.port, request, seconds, half_close=half_close))

    def counted(self, name: str, answer: Answer) -> Answer:
        """Count an answer, if it is one to the request of this id."""
        if answer.headers.get("x-request-id") == name:
            self.ids.answered.add(name)
        return answer

    async def metrics(self) -> Mapping[str, float]:
        """Return the service's numbers; none where it does not answer."""
        answer = await self.ask(wire.head("GET", "/metrics", {"X-API-Key": ADMIN, "Connection": "close"}))
        found = re.findall(r"^(mlops_\w+) (\S+)$", answer.body.decode(errors="replace"), re.MULTILINE)
        return {name: float(value) for name, value in found}

    async def backend_state(self) -> dict[str, dict[str, int]]:
        """Return what the backend counts: `came`, `open` and `sent`, each by model."""
        answer = await wire.ask(self.backend_port, wire.head("GET", "/trial/state", {}))
        return {"came": {}, "open": {}, "sent": {}, **answer.last}

    async def busy(self, seconds: float) -> float:
        """Return how many per cent of a core the service uses over so many seconds."""
        loop = asyncio.get_running_loop()
        begun, used = loop.time(), self.service.cpu_seconds()
        await asyncio.sleep(seconds)
        return max(0.0, self.service.cpu_seconds() - used) / (loop.time() - begun) * 100


Play = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """One thing that a careless or hostile party does.

    Args:
        name: what it is called on the command line and in the table.
        does: what is done, in a few words.
        play: does it, and writes down what it has seen of the case's own promises.
        seconds: how long that may take.
        in_ci: whether the short selection has it.
        stage: how the service is started.
        prepare: what comes before the witnesses look.
    """

    name: str
    does: str
    play: Play
    seconds: float = 20.0
    in_ci: bool = False
    stage: Stage = field(default_factory=Stage)
    prepare: Play | None = None


def several(answers: list[Answer]) -> str:
    """Return how many answers had which status, in words."""
    found: dict[int, int] = {}
    for answer in answers:
        found[answer.status] = found.get(answer.status, 0) + 1
    return ", ".join(f"{number} × {status or 'no answer'}" for status, number in sorted(found.items())) or "nothing"
