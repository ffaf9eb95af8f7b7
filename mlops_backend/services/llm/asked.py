"""What a drop-in route is asked: read from the client's bytes, and sent on as those bytes."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any, Final

from mlops_backend.services.llm.dialects import (
    Dialect,
    Ending,
    LargeBody,
    Member,
    OpenAIEnding,
    dialect_of,
    endings,
    folded,
    openai_ending,
    shortened,
    values_in,
)
from mlops_backend.services.llm.dialects.openai import UnaskedUsage, wants_usage, with_usage_wanted
from mlops_backend.services.llm.pins import Pin
from mlops_backend.services.llm.upstream import Pairs

# Fields of Ollama, OpenAI and Anthropic that make an answer come in large pieces.
PATIENT: Final = ("tools", "functions", "format", "response_format", "text")
Content = bytes | LargeBody | AsyncIterable[bytes] | None


class Place(Enum):
    """Which of several backends is asked."""

    MODEL = auto()  # those that have the model, in turns; another one while no byte has come
    HOLDER = auto()  # the same in the operator's order, for what is done to a model and not with it
    HOME = auto()  # always the first: what is uploaded there must be found there again
    ANY = auto()  # the first that answers


@dataclass(frozen=True, slots=True)
class Task:
    """What one drop-in route does, whoever calls it.

    `names` are the body's fields that name models, the one to route by first. `ending` makes what watches a stream's
    end; without it an answer is always whole. `timed` is off where a backend may be silent for hours, as in a pull.
    `usage_on_request` marks OpenAI's streams, which tell their usage only when asked. `checks_first_line` marks our
    own, where a failure that Ollama tells in its first line still gets a status. `repeatable` is off where nobody here
    knows what it does: done twice it may be two.
    """

    dialect: Dialect
    place: Place
    names: tuple[str, ...] = ("model",)
    ending: Callable[[], Ending] | None = None
    timed: bool = True
    generates: bool = False
    usage_on_request: bool = False
    checks_first_line: bool = False
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, ready to be sent: `path` was made from the matched route, never from the client's URL.

    `models` holds every name that any backend might read from the body, `model` the one that Ollama reads. `patient`
    says that a sound backend may be silent for long amid its answer: an Ollama is, while it writes a tool call or JSON.
    `readable` says whether the body is a JSON object, where it was read as one. `instead` is other contents for a
    server that refuses this one, each behind a word of such a refusal. `prompt` is an estimate of the prompt's tokens,
    where it was made already. `targets` are the models that `model` stands for, best first, where it is an alias;
    `model_at` is where it stands in a body that is a form. `pin` is what is pinned of the model, where the route has no
    words for it: an Ollama is asked by its own route then. `end_user` is for whom the body says that it asks.
    """

    task: Task
    method: str
    path: str
    headers: Pairs = ()
    content: Content = None
    model: str = ""
    models: tuple[str, ...] = ()
    ending: Callable[[], Ending] | None = None
    patient: bool = False
    instead: Sequence[tuple[str, bytes | LargeBody]] = ()
    readable: bool | None = None
    prompt: int | None = None
    targets: tuple[str, ...] = ()
    model_at: tuple[int, int] | None = None
    pin: Pin | None = None
    end_user: str = ""

    @property
    def may_be_alias(self) -> bool:
        """Whether its model is to be used or looked at, and not to be changed; where it stands has to be known."""
        used = self.task.place is Place.MODEL and self.task.repeatable
        return bool(self.model) and (used or self.task is SHOW)

    @property
    def can_be_repeated(self) -> bool:
        """Whether it may be sent once more, and its body can be: one that arrives while it is sent is gone."""
        return self.task.repeatable and (self.content is None or isinstance(self.content, bytes | LargeBody))


GENERATE: Final = Task(Dialect.OLLAMA, Place.MODEL, ending=endings.generation_ending, generates=True)
OWN: Final = Task(Dialect.OLLAMA, Place.MODEL, ending=endings.own_ending, generates=True, checks_first_line=True)
EMBED: Final = Task(Dialect.OLLAMA, Place.MODEL, generates=True)
SHOW: Final = Task(Dialect.OLLAMA, Place.HOLDER, names=("model", "name"))
READ: Final = Task(Dialect.OLLAMA, Place.ANY, names=())
PULL: Final = Task(Dialect.OLLAMA, Place.HOME, names=("model", "name"), ending=endings.progress_ending, timed=False)
PUSH: Final = Task(Dialect.OLLAMA, Place.HOLDER, names=("model", "name"), ending=endings.progress_ending, timed=False)
CREATE: Final = Task(
    Dialect.OLLAMA, Place.HOME, names=("model", "name", "from"), ending=endings.progress_ending, timed=False
)
COPY: Final = Task(Dialect.OLLAMA, Place.HOLDER, names=("source", "destination"))
DELETE: Final = Task(Dialect.OLLAMA, Place.HOLDER, names=("model", "name"))
BLOB: Final = Task(Dialect.OLLAMA, Place.HOME, names=(), timed=False)
ACCOUNT: Final = Task(Dialect.OLLAMA, Place.HOME, names=())
OPENAI_GENERATE: Final = Task(Dialect.OPENAI, Place.MODEL, ending=openai_ending, generates=True, usage_on_request=True)
TRANSCRIBE: Final = Task(Dialect.OPENAI, Place.MODEL, ending=endings.transcript_ending, generates=True)
OPENAI_CALL: Final = Task(Dialect.OPENAI, Place.MODEL, generates=True)
OPENAI_READ: Final = Task(Dialect.OPENAI, Place.HOLDER)
RESPONSES: Final = Task(Dialect.OPENAI, Place.MODEL, ending=endings.ResponsesEnding, generates=True)
MESSAGES: Final = Task(Dialect.ANTHROPIC, Place.MODEL, ending=endings.messages_ending, generates=True)
COUNT_TOKENS: Final = Task(Dialect.ANTHROPIC, Place.MODEL)


def read_asked(task: Task, method: str, path: str, headers: Pairs, body: bytes) -> Asked:
    """Read from a JSON body what authorisation, routing and metering need; its bytes stay as they are.

    But for two things: white space at the end is cut off, since Go would not notice a client that leaves before it has
    read it; and a stream whose usage the client did not ask for is asked for it.

    Raises:
        InvalidJSON: it nests more deeply than this service reads.
    """
    content = body.rstrip(b" \t\r\n")
    short = shortened(content)
    found = short.members or ()
    names = models_in(found, task.names)
    given = values_in(found)
    model = next((value for name in task.names if isinstance(value := given.get(name), str) and value), "")
    ending = task.ending
    if task.usage_on_request and given.get("stream") is True:
        ending = partial(OpenAIEnding, _choices(given))
        if wants_usage(short.text, found) is False:
            content = short.restored(with_usage_wanted(short.text, found))
            ending = partial(UnaskedUsage, _choices(given))
    patient = any([given.get(name) for name in PATIENT])
    readable = short.members is not None
    whom = _end_user(task.dialect, given) if task.generates else ""
    return Asked(
        *(task, method, path, headers, content or None, model, names, ending, patient), readable=readable, end_user=whom
    )


def _end_user(dialect: Dialect, given: Mapping[str, Any]) -> str:
    """For whom a body says that it asks: OpenAI's `safety_identifier` or `user`, Anthropic's `metadata.user_id`."""
    match dialect:
        case Dialect.OPENAI:
            named: Any = given.get("safety_identifier") or given.get("user")
        case Dialect.ANTHROPIC:
            metadata = given.get("metadata")
            named = metadata.get("user_id") if isinstance(metadata, dict) else None
        case _:  # Ollama's API has no such field
            named = None
    return named if isinstance(named, str) else ""


def _choices(given: Mapping[str, Any]) -> int:
    """How many answers a body of OpenAI's asks for."""
    prompts, each = given.get("prompt"), given.get("n")
    several = len(prompts) if isinstance(prompts, list) else 1
    return max(1, several) * (each if isinstance(each, int) and each > 1 else 1)


def models_in(found: Sequence[Member], names: Sequence[str]) -> tuple[str, ...]:
    """Every model that the fields called `names` mention, in whatever case and however often they stand there.

    Ollama takes the last of several; a server in another language takes the one that is spelt exactly so. All of
    them have to be allowed, so that whichever is taken was.
    """
    mentioned = (member.value for member in found if folded(member.name) in names)
    return tuple(dict.fromkeys(value for value in mentioned if isinstance(value, str) and value))


def passed_through(path: str) -> Task:
    """The task of a route that nobody here knows: `model` or `name` may name a model, streams may end in any way."""
    ending = endings.UnknownEnding
    return Task(dialect_of(path), Place.MODEL, names=("model", "name"), ending=ending, generates=True, repeatable=False)
