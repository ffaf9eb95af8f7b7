"""The one door to inference: what the blueprints call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from random import random
from typing import Any

from mlops_backend.aside import aside
from mlops_backend.errors import AppError, BackendNonsense, InvalidBody
from mlops_backend.principal import NO_LIMITS, Limits, Principal
from mlops_backend.services.llm.aliases import Aliases
from mlops_backend.services.llm.asked import OWN, PATIENT, Asked, Content
from mlops_backend.services.llm.backends import BackendPool, Catalogue, Operation, raise_for_status
from mlops_backend.services.llm.dialects import LargeBody, dumped, folded, parse_object, written
from mlops_backend.services.llm.generation import (
    Admission,
    Breakers,
    Clocks,
    Forwarded,
    Forwarder,
    Meter,
    estimate_prompt_tokens,
)
from mlops_backend.services.llm.leases import Lessor
from mlops_backend.services.llm.model_names import ModelRules
from mlops_backend.services.llm.pins import Pins
from mlops_backend.services.llm.routing import affinity
from mlops_backend.services.llm.upstream import Reply
from mlops_backend.telemetry.record import RequestRecord

# One more than the largest key of affinity, which has 64 bits.
_MOST_SHARE = 2.0**64
_READ_BY_BACKENDS = ("model", "stream")
_NO_MODEL = "none is listed yet; `ollama pull llama3.2` brings one into an Ollama"
_NO_SUCH_ROUTE = 404
_NO_SUCH_CALL = 501
_ESTIMATED = (("Content-Type", "application/json"), ("X-Token-Count", "estimated"))


class OllamaService:
    """Generations, models and health over all backends.

    Args:
        pool: the backends.
        leases: of their slots.
        admission: which generations run.
        meter: how much each caller may use.
        clocks: how long they may wait.
        default_model: for a request that names none; empty: the only one there is.
        rules: which models may be named.
        aliases: what the operator's own names stand for.
        pins: what is pinned of models.
        breakers: of the backends.
    """

    def __init__(
        self,
        pool: BackendPool,
        leases: Lessor,
        admission: Admission,
        meter: Meter,
        clocks: Clocks,
        default_model: str,
        rules: ModelRules,
        aliases: Aliases,
        pins: Pins,
        breakers: Breakers | None = None,
    ) -> None:
        self._pool = pool
        self._admission = admission
        self._meter = meter
        self._default_model = default_model
        self._rules = rules
        self._aliases = aliases
        self._pins = pins
        self._catalogue = Catalogue(pool, aliases)
        self._forwarder = Forwarder(pool, leases, admission, meter, clocks, pins, breakers)

    async def call(self, operation: Operation, body: Mapping[str, Any], record: RequestRecord) -> bytes:
        """One whole answer, as JSON bytes in Ollama's shape.

        Args:
            operation: which of Ollama's routes.
            body: the client's validated body; `model` may be missing.
            record: filled in on the way.

        Raises:
            AppError: whatever kept the answer away; see `errors.py`.
        """
        answered = await self._forwarder.forward(await self._asked(operation, body, record, stream=False), record)
        return await _whole(answered)

    async def stream(
        self, operation: Operation, body: Mapping[str, Any], record: RequestRecord
    ) -> AsyncGenerator[bytes, None]:
        """A stream of whole NDJSON lines whose first has already arrived.

        Raises:
            AppError: whatever kept the first line away. A later failure is the stream's own last line.
        """
        answered = await self._forwarder.forward(await self._asked(operation, body, record, stream=True), record)
        return _line(await _whole(answered)) if isinstance(answered.body, bytes) else answered.body

    async def forward(self, asked: Asked, record: RequestRecord) -> Forwarded:
        """What a backend answers to a drop-in request, byte for byte; its first bytes have already arrived.

        Raises:
            Forbidden: a model that may not be named.
            AppError: whatever kept the answer away. A stream's later failure is its own last frame.
        """
        self._rules.check(asked.models, record.caller, must_name=bool(asked.task.names))
        if (merged := await self._catalogue.answer(asked.path, record.caller)) is not None:
            return Forwarded(200, (("Content-Type", "application/json; charset=utf-8"),), dumped(merged))
        return await self._forwarder.forward(self._meant(asked), record)

    async def count_tokens(self, asked: Asked, record: RequestRecord) -> Forwarded:
        """How many tokens a prompt has: what a backend says, or an honest estimate where it has no such route.

        Raises:
            AppError: whatever kept the answer away.
        """
        try:
            answered = await self.forward(asked, record)
        except AppError as error:
            if error.status != _NO_SUCH_CALL:
                raise
            answered = Forwarded(404)
        if answered.status != _NO_SUCH_ROUTE or _is_anthropics(answered.body):
            return answered
        content = asked.content if isinstance(asked.content, bytes) else b""
        record.outcome = "done"
        tokens = await aside(len(content), estimate_prompt_tokens, content)
        return Forwarded(200, _ESTIMATED, dumped({"input_tokens": tokens}))

    async def count_request(self, caller: Principal, end_user: str = "") -> Mapping[str, str]:
        """Count one request of `caller`, for whom it asks, for what it prepares; its tokens are counted when it runs.

        Returns:
            What the answer tells of the limits.

        Raises:
            LimitExceeded, LimitsUnavailable: see `Meter.reserve`.
        """
        if not caller.counts_requests:
            return {}
        only = caller.limited(lambda limits: Limits(requests=limits.requests))
        held = await self._meter.reserve(only, 0, 0, end_user=end_user)
        held.settle(0)
        return held.headers

    async def check_limits(self, caller: Principal, end_user: str = "") -> None:
        """See whether the limits of `caller` refuse whatever it may ask; nothing is taken of them.

        Those of its end users are looked at where `end_user` is one: whom a body names is not known yet.

        Raises:
            LimitExceeded, LimitsUnavailable: see `Meter.reserve`.
        """
        # What is open now may have ended when the request is here.
        limited = caller.limited(lambda limits: replace(limits, concurrent=None))
        limited = limited if end_user else replace(limited, end_user_limits=NO_LIMITS)
        if limited.is_limited:
            (await self._meter.reserve(limited, 0, 0, end_user=end_user)).release()

    def meaning(self, model: str) -> str:
        """What a model's name stands for, and what is pinned of that, in words that change when it does.

        Args:
            model: empty for `DEFAULT_MODEL`; where there is none it means nothing.
        """
        if not (name := model or self._default_model):
            return ""
        models, shares = self._aliases.told(name)
        return repr((name, models, shares, [self._pins.of(each) for each in models or (name,)]))

    async def grant(self, models: Sequence[str], record: RequestRecord) -> None:
        """Let an answer that is kept be given to who asks, if these models may be named; it counts as a request alone.

        Args:
            models: those that the request names; none for `DEFAULT_MODEL`.
            record: of the request; gets what its answer tells of the limits.

        Raises:
            Forbidden: a model that may not be named.
            LimitExceeded, LimitsUnavailable: see `Meter.reserve`.
        """
        self._rules.check(models or [self._default_model], record.caller)
        if record.caller is not None:
            record.answer_headers = await self.count_request(record.caller, record.end_user)

    async def models(self, caller: Principal | None) -> dict[str, Any]:
        """Every model of every reachable backend that `caller` may use; see `Catalogue.models`."""
        return await self._catalogue.models(caller)

    async def health(self, caller: Principal | None) -> dict[str, Any]:
        """How each backend is; see `Catalogue.health`."""
        return await self._catalogue.health(caller)

    async def context_length(self, model: str, caller: Principal | None) -> int | None:
        """How many tokens the context of a model has, prompt and reply together; `None` when nobody tells.

        Args:
            model: empty for the one that a request gets which names none.
            caller: who asks.
        """
        name = model or self._default_model
        if not name:
            names = await self._names(caller)
            name = names[0] if len(names) == 1 else ""
        name = self._aliases.first(name)
        pin = self._pins.of(name)
        if pin is not None and pin.num_ctx is not None:
            return pin.num_ctx
        return await self._catalogue.context_length(name) if name else None

    async def aclose(self) -> None:
        """End what goes on in the background."""
        await self._catalogue.aclose()

    async def unreachable(self) -> str | None:
        """Why no backend would take a new generation, in a sentence; None when one would."""
        return await self._pool.unreachable()

    async def _asked(
        self, operation: Operation, body: Mapping[str, Any], record: RequestRecord, *, stream: bool
    ) -> Asked:
        model = body.get("model") or self._default_model or await self._only_model(record.caller)
        self._rules.check([model], record.caller)
        value = {**_without_variants(body), "model": model, "stream": stream}
        content = await written(value, record.bytes_in)
        ending = OWN.ending if stream else None
        patient = any(body.get(name) for name in PATIENT)
        return self._meant(Asked(OWN, "POST", f"/api/{operation}", (), content, model, (model,), ending, patient))

    def _meant(self, asked: Asked) -> Asked:
        """The same request with what its model stands for; of several with shares, a conversation keeps to one."""
        if not self._aliases or not asked.may_be_alias:
            return asked
        targets = self._aliases.models(asked.model, lambda: _share(asked.content))
        return replace(asked, targets=targets) if targets else asked

    async def _only_model(self, caller: Principal | None) -> str:
        names = await self._names(caller)
        if len(names) != 1:
            many = "several models are available" if names else _NO_MODEL
            detail = {"loc": ["model"], "msg": f"Name a model: {many}.", "type": "missing"}
            raise InvalidBody("The body names no model, and there is no single one to take instead.", [detail])
        return names[0]

    async def _names(self, caller: Principal | None) -> list[str]:
        """What the backends list; of who may use none of that by its own name the operator's names for it."""
        for aliased in (False, True):
            models = (await self._catalogue.models(caller, aliased=aliased))["models"]
            if models or not self._aliases:
                break
        return [str(model.get("name", "")) for model in models]


def _without_variants(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without other spellings of what was read here: Ollama would take a `Model` for the model."""
    return {name: value for name, value in body.items() if name in _READ_BY_BACKENDS or not _is_variant(name)}


def _is_variant(name: str) -> bool:
    return folded(name) in _READ_BY_BACKENDS


def _share(content: Content) -> float:
    """From 0 to 1, as like as not; the same for what is of one conversation."""
    key = affinity(content) if isinstance(content, bytes | LargeBody) else ""
    return int(key, 16) / _MOST_SHARE if key else random()  # noqa: S311 - it decides nothing but a share


def _is_anthropics(body: object) -> bool:
    """Whether it is an error in Anthropic's words, and so of a server that has the route."""
    try:
        return isinstance(body, bytes) and parse_object(body).get("type") == "error"
    except BackendNonsense:
        return False


async def _whole(answered: Forwarded) -> bytes:
    """A whole answer of our own API.

    Raises:
        AppError: the backend's own error, or an answer that is no JSON object.
    """
    assert isinstance(answered.body, bytes)  # noqa: S101 - only a stream has chunks
    wait = next((value for name, value in answered.headers if name.lower() == "retry-after"), "")
    raise_for_status(Reply(answered.status, answered.content_type, answered.body, wait if wait.isdigit() else ""))
    await aside(len(answered.body), parse_object, answered.body)
    return answered.body


async def _line(answer: bytes) -> AsyncGenerator[bytes, None]:
    """A whole answer where a stream was asked for, as a stream of one line: what only loads a model is one object."""
    yield answer.rstrip() + b"\n"
