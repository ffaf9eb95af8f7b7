"""What is known of one request, filled in while it runs and written once at its end."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter, time
from typing import Any, Final, Protocol

from mlops_backend.end_users import PLAIN, EndUsers
from mlops_backend.principal import Principal, Priority
from mlops_backend.telemetry.redaction import MASK, redact
from mlops_backend.telemetry.traces import UNTRACED, Trace

_LONGEST_NAME: Final = 256
_LONGEST_SAID: Final = 200
# What stands in the log line where there is something to say.
_TOLD: Final = (
    *("client", "end_user", "model", "requested_model", "backend", "route_reason", "upstream_url", "error", "said"),
    *("cached", "bytes_in", "bytes_out"),
)
# What has digits and is longer than a word, or is named for one.
_MAY_BE_KEY: Final = re.compile(
    r"(?i)(?<=bearer )\S+|(?<=basic )\S+|(?<=://)[^/@\s]*(?=@)|\b(?:sk|pk|hf|gsk)[-_]\S+"
    r"|\b(?=[\w+/=-]*\d)[\w+/=-]{24,}"
)


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
    seconds since the epoch. `requested_model` is what the client called the model, where that is the operator's own
    name for it.
    `count_prompt` guesses at the prompt's tokens, for a generation whose backend tells no usage, or whose counts are
    not to be believed, as `doubted` says; `estimated` says that the counts are such guesses; `cached_tokens` are those
    of the prompt that Anthropic counts apart. `said` is what the backend said of a failure amid its answer. Times are
    `time.perf_counter()` seconds. `outcome` is one of `done`, `refused` (a 4xx of ours or of the backend), `error` (a
    failure on the way), `timeout`, `client_gone`, `drained` and `cancelled`. `straight` is set where the chunks of a
    generation are the answer's body as they are. `batch` says that its client is in no hurry, and `waits` that it
    is in the queue; `streams` says that its answer came in pieces.
    `passed_over` are the backends that were asked before the one that answered, and `route_reason` says in a word why
    it was that one, where there were several. `action` is what is audited of it, `target` what it is done to, and
    `changed` which properties of that. `end_user` is for whom the client says that it asks, as `end_users` writes it.
    `asked_path` is the route in its client's dialect, `provider` the kind of the backend. `queued` is when it first had
    to wait for a backend, `leased` when it last got one. `trace` is the trace that it is in. `admitted` is told
    when it is admitted. `translated` names the client's route and the backend's, where the answer is not in its
    backend's own words. `cached` says that its answer was kept, and no backend was asked; `shortened` that its key's
    limits left room for less than was wanted.
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
    said: str = ""
    model: str = ""
    requested_model: str = ""
    backend: str = ""
    upstream_url: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    estimated: bool = False
    doubted: bool = False
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
    batch: bool = False
    waits: bool = False
    streams: bool = False
    passed_over: tuple[str, ...] = ()
    route_reason: str = ""
    action: str = ""
    target: str = ""
    changed: tuple[str, ...] = ()
    end_user: str = ""
    end_users: EndUsers = PLAIN
    trace: Trace = UNTRACED
    asked_path: str = ""
    provider: str = ""
    queued: float | None = None
    leased: float | None = None
    admitted: Callable[[], object] | None = None
    translated: str = ""
    cached: bool = False
    shortened: bool = False

    def name_model(self, model: str) -> None:
        """Note the model that a client named: as much of it as a name may have, and nothing that a terminal obeys."""
        shown = model[:_LONGEST_NAME]
        plain = shown.isprintable()
        self.model = shown if plain else "".join(mark if mark.isprintable() else "?" for mark in shown)

    def translate(self, path: str, over: str) -> None:
        """Note that a request to `path`, unless it came by another route, is answered over a backend's route."""
        self.translated = f"{self.asked_path or path} -> {over}"

    def name_end_user(self, said: str) -> None:
        """Note for whom the client says that it asks; who was named before stays."""
        self.end_user = self.end_user or self.end_users.named(said)

    def fail(self, code: str, said: str) -> None:
        """Note that the backend failed amid its answer, and what it said: a line of it, without what may be a key."""
        self.outcome, self.error, self.said = "error", code, without_keys(said)

    @property
    def gives_way(self) -> bool:
        """Whether others come before it where there is a queue: its client says so, or its key is of that class."""
        return self.batch or (self.caller is not None and self.caller.priority is Priority.BATCH)

    @property
    def lacks_usage(self) -> bool:
        """Whether a generation's backend told no usage, or none of an answer, or one that is not to be believed."""
        told = self.prompt_tokens is not None and self.completion_tokens and not self.doubted
        return self.count_prompt is not None and not told

    def estimate(self, completion_tokens: int) -> None:
        """Fill in what no backend told of a generation: a guess at the answer's tokens, and one at the prompt's."""
        if self.count_prompt is None:
            return
        if self.doubted:
            self.prompt_tokens = self.completion_tokens = None
        prompt = self.count_prompt() if self.prompt_tokens is None else self.prompt_tokens
        completion = self.completion_tokens or completion_tokens
        if (prompt, completion) != (self.prompt_tokens or 0, self.completion_tokens or 0):
            self.prompt_tokens, self.completion_tokens, self.estimated = prompt, completion, True

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
        for name in _TOLD:
            if value := getattr(self, name):
                line[name] = value
        if self.passed_over:
            line["passed_over"] = list(self.passed_over)
        if trace_id := self.trace.id:
            line["trace_id"] = trace_id
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


def without_keys(said: str) -> str:
    """A line of what somebody said, without what may be a key."""
    line = "".join(mark if mark.isprintable() else " " for mark in redact(said)[:_LONGEST_SAID])
    return _MAY_BE_KEY.sub(MASK, line)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
