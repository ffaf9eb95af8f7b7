"""Metering: what a generation may use is reserved before it is admitted, and settled with what it did use."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Final, Protocol

from mlops_backend.aside import aside, rest
from mlops_backend.errors import AppError, ClockRanOut
from mlops_backend.principal import Principal
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.dialects import LargeBody, value_of
from mlops_backend.services.llm.generation.bounded import bounded
from mlops_backend.services.llm.generation.token_estimate import estimated, prompt_tokens
from mlops_backend.services.llm.generation.token_maximum import Output, has_no_text, output_in, output_of
from mlops_backend.telemetry.record import RequestRecord

_FAILED: Final = 500


class Held(Protocol):
    """The room that one generation takes of its key's limits."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What the answer tells of the limits."""
        ...

    @property
    def output(self) -> int | None:
        """The most tokens that its answers may have together, where that is less than was asked for."""
        ...

    def settle(self, tokens: int) -> None:
        """It took so many tokens."""
        ...

    def release(self) -> None:
        """It never began: everything comes back."""
        ...


class Meter(Protocol):
    """Knows the limits of every principal."""

    async def reserve(
        self, caller: Principal, prompt_tokens: int, max_tokens: int | None, answers: int = 1, end_user: str = ""
    ) -> Held:
        """Take room for one generation.

        Args:
            caller: who asks; has limits.
            prompt_tokens: an estimate.
            max_tokens: the most that it may answer, `None` where the client named no maximum.
            answers: how many there will be, each of which has to have a token at the least.
            end_user: for whom the caller asks.

        Raises:
            LimitExceeded: there is no room.
            LimitsUnavailable: nobody can tell.
        """
        ...


class Metered:
    """The block in which a generation runs; its end settles, whatever kind of end it is.

    `asked` is what may be asked of a backend.
    """

    __slots__ = ("_held", "_record", "asked")

    def __init__(self, held: Held | None, record: RequestRecord, asked: Asked) -> None:
        self.asked = asked
        self._held = held
        self._record = record

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held is None:
            return
        if not self._record.upstream_url or (self._record.first_byte is None and _is_failure(error)):
            self._held.release()
        else:
            self._held.settle((self._record.prompt_tokens or 0) + (self._record.completion_tokens or 0))


def _is_failure(error: BaseException | None) -> bool:
    """Whether a backend could not serve it, which is not what a caller should pay for; one that was late has worked."""
    return isinstance(error, AppError) and error.status >= _FAILED and not isinstance(error, ClockRanOut)


def _needs(asked: Asked) -> tuple[int, Output]:
    """How many tokens its prompt may have, and its answers; its body is read once for both."""
    if asked.prompt is not None or has_no_text(asked) or not isinstance(asked.content, bytes | LargeBody):
        return prompt_tokens(asked), output_of(asked)
    value = value_of(asked.content)
    rest()
    return estimated(value), output_in(value)


async def metered(meter: Meter, asked: Asked, record: RequestRecord) -> Metered:
    """Reserve what `asked` may need; what it may have goes along in it, where that is less.

    Raises:
        LimitExceeded, LimitsUnavailable: see `Meter.reserve`.
    """
    caller = record.caller
    if caller is None or not caller.is_limited or not asked.task.generates:
        return Metered(None, record, asked)
    prompt, output = 0, Output(None, 1)
    if caller.counts_tokens and isinstance(asked.content, bytes | LargeBody):
        prompt, output = await aside(len(asked.content), _needs, asked)
    held = await meter.reserve(caller, prompt, output.most, output.answers, record.end_user)
    record.answer_headers = held.headers
    if held.output is None:
        return Metered(held, record, asked)
    record.shortened = True
    try:
        return Metered(held, record, await bounded(asked, held.output // output.answers))
    except BaseException:
        held.release()
        raise
