"""What is known of one request, filled in while it runs and written once at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter, time
from typing import Any, Final, Protocol

from mlops_backend.principal import Principal

_LONGEST_NAME: Final = 256


class Straight(Protocol):
    """Sends pieces of an answer's body to the client at once, past all that lies between."""

    def may_send(self) -> bool:
        """Whether a piece can go this way now: the answer has begun, and the client takes what it is sent."""

    def send(self, piece: bytes) -> bool:
        """Send a piece that is not empty; whether the next one may go this way too."""


@dataclass(slots=True)
class RequestRecord:
    """One request: who, what, how it ended. Holds no prompt and no key.

    `generates` says that it is a generation, and so has a row in the ledger. `bytes_in` and `bytes_out` count the two
    bodies as they travelled. `answer_headers` are for the answer, whoever makes it. `at` is the start in
    seconds since the epoch.
    `count_prompt` guesses at the prompt's tokens, for a generation whose backend tells no usage; `estimated` says that
    the counts are such guesses; `cached_tokens` are those of the prompt that Anthropic counts apart. Times are
    `time.perf_counter()` seconds. `outcome` is one of `done`, `refused` (a 4xx of ours or of the backend), `error` (a
    failure on the way), `timeout`, `client_gone` and `drained`. `straight` is set where the chunks of a generation are
    the answer's body as they are.
    """

    id: str
    method: str
    client: str = ""
    route: str = ""
    caller: Principal | None = None
    generates: bool = False
    status: int = 0
    outcome: str = ""
    error: str = ""
    model: str = ""
    backend: str = ""
    upstream_url: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    estimated: bool = False
    cached_tokens: int = 0
    count_prompt: Callable[[], int] | None = None
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0
    at: float = field(default_factory=time)
    started: float = field(default_factory=perf_counter)
    sent_upstream: float | None = None
    first_byte: float | None = None
    straight: Straight | None = None

    def name_model(self, model: str) -> None:
        """Note the model that a client named: as much of it as a name may have, and nothing that a terminal obeys."""
        shown = model[:_LONGEST_NAME].encode("ascii", "backslashreplace").decode()
        self.model = "".join(mark if mark.isprintable() else "?" for mark in shown)

    def estimate(self, frames: int) -> None:
        """Fill in what no backend told of a generation: a token for each frame, and a guess at the prompt."""
        if self.count_prompt is None:
            return
        prompt = self.count_prompt() if self.prompt_tokens is None else self.prompt_tokens
        if prompt or frames:
            self.prompt_tokens = prompt
            self.completion_tokens = frames if self.completion_tokens is None else self.completion_tokens
            self.estimated = True

    def fields(self, now: float) -> dict[str, Any]:
        """The log line's fields; times in milliseconds; what is unknown is left out."""
        line: dict[str, Any] = {
            "request_id": self.id,
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "outcome": self.outcome,
            "total_ms": _ms(now - self.started),
        }
        if self.caller is not None:
            line["principal"], line["key_id"] = self.caller.name, self.caller.id
        for name in ("client", "model", "backend", "upstream_url", "error", "bytes_in", "bytes_out"):
            if value := getattr(self, name):
                line[name] = value
        return {**line, **self._measured()}

    def _measured(self) -> dict[str, Any]:
        line: dict[str, Any] = {}
        if self.sent_upstream is not None:
            line["queue_ms"] = _ms(self.sent_upstream - self.started)
        if self.first_byte is not None:
            line["first_byte_ms"] = _ms(self.first_byte - self.started)
        if self.prompt_tokens is not None:
            line["prompt_tokens"] = self.prompt_tokens
        if self.completion_tokens is not None:
            line["completion_tokens"] = self.completion_tokens
        if self.estimated:
            line["tokens_estimated"] = True
        return line


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
