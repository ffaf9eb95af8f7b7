"""Which model is asked: the one that was named, or those that its name stands for, one after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from mlops_backend.errors import BackendBusy, BackendRejected, NoUsableBackend, QueueFull
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.generation.retold import retold
from mlops_backend.services.llm.pins import Pins
from mlops_backend.telemetry.record import RequestRecord

T = TypeVar("T")
_NOT_FOUND = 404


async def first_of(asked: Asked, record: RequestRecord, pins: Pins, ask: Callable[[Asked, bool], Awaitable[T]]) -> T:
    """What `ask` makes of the first of a request's models that can be had.

    One cannot be had where no backend has it, or all that do are away, busy or have a full queue. What a client did
    wrong is wrong for every model, and a backend that failed in another way may have begun.

    Args:
        asked: what the client asked.
        record: gets the name of the model that is asked.
        pins: what is pinned of models.
        ask: asks for one model; it is told whether there is another one, for which a refusal has to be an error.

    Raises:
        AppError: whatever kept the answer of the last one away.
    """
    if asked.targets:
        record.requested_model = record.model
    *others, last = asked.targets or (asked.model,)
    for model in others:
        try:
            return await ask(await _meant(asked, model, record, pins), True)
        except (NoUsableBackend, BackendBusy, QueueFull):
            pass
        except BackendRejected as error:
            if error.status != _NOT_FOUND:
                raise
    return await ask(await _meant(asked, last, record, pins), False)


async def _meant(asked: Asked, model: str, record: RequestRecord, pins: Pins) -> Asked:
    if asked.targets:
        record.name_model(model)
    return await retold(asked, model, pins.of(model))
