"""What a server of the OpenAI API is asked, and what has to be known to read its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, Literal, TypedDict

from mlops_backend.errors import AppError, InvalidJSON
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.backends.backend import Answer, Body, once
from mlops_backend.services.llm.backends.openai_drop_in import body_of
from mlops_backend.services.llm.backends.refusals import refuses_instructions
from mlops_backend.services.llm.backends.statuses import is_missing_route, lacks_model, words_of
from mlops_backend.services.llm.dialects import shortened, tokens_in
from mlops_backend.services.llm.dialects.native import instructs_later
from mlops_backend.services.llm.dialects.openai import Estimate, Model, free_form_of, names_to_restore, watched
from mlops_backend.services.llm.dialects.openai import listing as openai_listing
from mlops_backend.services.llm.dialects.openai import requests as openai_requests
from mlops_backend.services.llm.upstream import gathered
from mlops_backend.telemetry.record import RequestRecord

_FORMS: Final = "/v1/audio/"
# What an unknown model can do is for its server to say, in its refusal.
_ALL: Final = frozenset({"completion", "insert", "thinking", "tools", "vision"})
_UNCLEAR: Final = (400, 404, 405, 422, 500)


def model_of(name: str, entry: openai_listing.Entry) -> Model:
    """The model that a client calls `name`, by what its server says of it."""
    context, owner = openai_listing.context_of(entry), str(entry.get("owned_by") or "")
    return Model(name, _ALL, openai_listing.name_of(entry), llama_cpp=False, context=context, owner=owner)


def translated_request(operation: Literal["generate", "chat"], body: Body, model: Model) -> tuple[str, dict[str, Any]]:
    """A path of `/v1`, and the body for it; raises what the translation raises."""
    if operation == "generate":
        return openai_requests.generate_request(body, model)
    return openai_requests.CHAT_PATH, openai_requests.chat_request(body, model)


class Counted(TypedDict):
    """The usage where none is told, and whether one that is told counts."""

    estimate: Estimate
    believed: bool


def counted(record: RequestRecord) -> Counted:
    """How an answer's tokens are counted: where its server tells none, or none to be believed, by a marked estimate.

    Of its text and of its frames the larger one. What the answer tells from then on is our own count.
    """

    def estimated(characters: int, frames: int) -> Mapping[str, int]:
        record.estimated, record.doubted = True, False
        prompt = record.count_prompt() if record.count_prompt is not None else 0
        return {"prompt_tokens": prompt, "completion_tokens": max(frames, tokens_in(characters))}

    return {"estimate": estimated, "believed": not record.doubted}


class ToldApart(Counted):
    """Stop texts to watch for, names to restore, calls of which the text is wanted, and how tokens are counted."""

    stops: Sequence[str]
    names: Mapping[str, str]
    free_form: Set[str]


def told_apart(body: Body, model: Model, record: RequestRecord) -> ToldApart:
    """What the translation of an answer has to know of its request."""
    free_form = free_form_of(body)
    if model.llama_cpp:
        return {"stops": (), "names": {}, "free_form": free_form, **counted(record)}
    stops, names = watched(body.get("options")), names_to_restore(body.get("tools"))
    return {"stops": stops, "names": names, "free_form": free_form, **counted(record)}


def check_readable(asked: Asked) -> None:
    """Let nothing pass that was not read here: unlike Go, a server in Python takes UTF-16 and a byte order mark.

    Raises:
        InvalidJSON: a body that is no JSON object, where one is due.
    """
    if not isinstance(asked.content, bytes) or asked.path.startswith(_FORMS):
        return
    readable = shortened(asked.content).members is not None if asked.readable is None else asked.readable
    if not readable:
        raise InvalidJSON("The body is not a JSON object.")


async def has_later_instructions(asked: Asked) -> bool:
    """Whether a request that may be carried has instructions behind its conversation's beginning."""
    with suppress(AppError):  # what cannot be read is for the server to refuse
        return instructs_later(asked.path, await body_of(asked))
    return False


async def with_meaning(answer: Answer, asked: Asked) -> Answer | None:
    """A native answer, marked by what its refusal says: that there is no such model, or of later instructions.

    `None` when there is no such route.
    """
    if answer.status not in _UNCLEAR:
        return answer
    words = await gathered(answer.chunks)
    if is_missing_route(answer.status, words):
        return None
    return replace(
        answer.changed(once(words)),
        lacks_model=lacks_model(answer.status, words),
        refuses_instructions=refuses_instructions(answer.status, words_of(words))
        and await has_later_instructions(asked),
    )
