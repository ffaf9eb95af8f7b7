"""Routes of OpenAI and Anthropic, carried over Ollama's own: by an Ollama, or by what is asked in Ollama's shapes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from mlops_backend.aside import aside, rest
from mlops_backend.errors import BadRequest
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.backends.backend import Answer, once
from mlops_backend.services.llm.backends.openai_drop_in import JSON, body_of
from mlops_backend.services.llm.backends.reworded import accepted
from mlops_backend.services.llm.backends.ways import Kind, over
from mlops_backend.services.llm.dialects import LargeBody, dumped, parse_object, written
from mlops_backend.services.llm.dialects.native import (
    ROUTES,
    Carried,
    LineTranslator,
    refusal,
    reworded,
)
from mlops_backend.services.llm.pins import Pin
from mlops_backend.telemetry.record import RequestRecord

_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_OK: Final = 200
_REFUSED: Final = 400
_OF_ITS_BODY: Final = ("content-type", "content-length")


Ask = Callable[[Asked, LineTranslator | None], AbstractAsyncContextManager[Answer]]


@asynccontextmanager
async def carried(ask: Ask, kind: Kind, asked: Asked, record: RequestRecord) -> AsyncIterator[Answer]:
    """What Ollama's `/v1` would answer, made of what its own route does, which is told what is pinned.

    Args:
        ask: asks a route of Ollama's; the tap of its answer gives the events that are made of its lines.
        kind: of the server that is asked; one that is no Ollama is also told what Ollama has no words for.
        asked: the client's request.
        record: filled in on the way.

    Raises, when entered:
        BackendNonsense: the answer is not what its protocol promises.
        AppError: whatever kept the answer away.
    """
    record.translate(asked.path, over(kind, asked.path))
    try:
        question = await _question(asked, record)
    except BadRequest as error:
        yield _refused(asked, error.message, record)
        return
    made = await _native_request(asked, question, kind, record)
    question = replace(question, body={}, beyond={})  # as large as what was made of it, and an answer may take long
    translator = question.translator() if question.translator else None
    async with accepted(lambda wording: ask(wording, translator), made) as answer:
        if answer.status != _OK:
            yield await _reworded(asked, answer, record)
        elif translator is None:
            yield await _whole(answer, question)
        else:
            events = _events(answer.chunks, translator)
            yield replace(_typed(answer, _EVENTS), chunks=events, read=None, is_looked_at=True)


async def _question(asked: Asked, record: RequestRecord) -> Carried:
    return await aside(record.bytes_in, ROUTES[asked.path], await body_of(asked))


async def _native_request(asked: Asked, question: Carried, kind: Kind, record: RequestRecord) -> Asked:
    """The same as Ollama's own route takes it; `instead` is for one that does not think, or not as it is told to."""
    if kind == "ollama":
        body = {**question.body, **_pinned(question.body, asked.pin or Pin())}
    else:
        body = {**question.body, **question.beyond}
    content = await written(body, record.bytes_in)
    instead: list[tuple[str, bytes | LargeBody]] = []
    if body.get("think"):
        silent = await written({name: value for name, value in body.items() if name != "think"}, record.bytes_in)
        instead += [(refusal, silent) for refusal in question.unthinking]
    return replace(asked, path=question.path, content=content, instead=instead)


def _pinned(body: Mapping[str, Any], pin: Pin) -> dict[str, Any]:
    context = {} if pin.num_ctx is None else {"options": {**body.get("options", {}), "num_ctx": pin.num_ctx}}
    return context if pin.keep_alive is None else {**context, "keep_alive": pin.keep_alive}


async def _whole(answer: Answer, question: Carried) -> Answer:
    body = await answer.whole()
    told = await aside(len(body), _translated, body, question)
    return _typed(answer, _JSON).changed(once(told))


def _translated(body: bytes, question: Carried) -> bytes:
    """The object in one line; each vector of thousands by itself, for others need turns between them."""
    members = (
        dumped({name: []})[1:-3] + _listed(value) if isinstance(value, list) else dumped({name: value})[1:-1]
        for name, value in question.whole(parse_object(body)).items()
    )
    return b"{" + b",".join(members) + b"}\n"


def _listed(values: list[dict[str, Any]]) -> bytes:
    return b"[" + b",".join(map(_rested, values)) + b"]"


def _rested(value: dict[str, Any]) -> bytes:
    rest()
    return dumped(value)


async def _reworded(asked: Asked, answer: Answer, record: RequestRecord) -> Answer:
    """A refusal; one that is not Ollama's own, as of a route that it lacks, stays as it is."""
    body = await answer.whole()
    told = reworded(asked.task.dialect, answer.status, body, record.id)
    return answer.changed(once(body)) if told is None else _typed(answer, _JSON).changed(once(told))


async def _events(chunks: AsyncGenerator[bytes, None], translator: LineTranslator) -> AsyncGenerator[bytes, None]:
    """The lines as events; nothing, often, where a line is still to come whole."""
    async with aclosing(chunks):
        async for chunk in chunks:
            yield translator.feed(chunk)
        if events := translator.end():
            yield events


def _refused(asked: Asked, message: str, record: RequestRecord) -> Answer:
    """As Ollama says it before it looks for the model, in another type than what it says later."""
    body = refusal(asked.task.dialect, _REFUSED, message, record.id)
    return Answer(_REFUSED, (("Content-Type", JSON),), JSON, once(body))


def _typed(answer: Answer, content_type: str) -> Answer:
    """The same answer with what it is called now."""
    kept = [each for each in answer.headers if each[0].lower() not in _OF_ITS_BODY]
    return replace(answer, headers=(*kept, ("Content-Type", content_type)), content_type=content_type)
