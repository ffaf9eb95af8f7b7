"""The families of routes that are measured: how each is asked, answers, and shows its stamps and its end."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bench.frames import ANTHROPIC, CHAT, EMBEDDINGS, NATIVE, OPENAI, Frames

Body = dict[str, Any]
# What was said before, in every chat that is measured.
HISTORY = [
    {"role": role, "content": f"{number} " + "some words " * 20}
    for number in range(5)
    for role in ("user", "assistant")
]
CONVERSATIONS = "/api/database/conversations"


@dataclass(frozen=True)
class Family:
    """One family; `path` is the upstream's, the service has its own for streams and for whole answers.

    With `opens`, what is to be posted there first, each stream needs a conversation, whose id fills the `{}` of a path.
    With `behind`, the upstream is asked as another family is; with `below` it has the routes of chats alone.
    """

    name: str
    path: str
    service_stream: str
    service_whole: str
    frames: Frames
    body: Callable[[str, bool], Body]
    stamp: re.Pattern[bytes]
    stream_end: re.Pattern[bytes]
    whole_end: re.Pattern[bytes]
    streams_unasked: bool = False
    opens: tuple[str, Body] | None = None
    behind: str = ""
    openai_server: bool = False  # the upstream is to the service a server of OpenAI's API, not an Ollama
    streams: bool = True
    below: str = ""  # what stands before the upstream's routes, where it shows some of them alone

    @property
    def bare_stream(self) -> str:
        """Where the bare relay streams; it knows by the path, and reads no body."""
        return f"{self.path}/stream"

    @property
    def title(self) -> str:
        """The line above this family's table."""
        paths = dict.fromkeys((self.service_stream, self.service_whole))
        return f"{self.name}: POST {', '.join(paths)}"


def prompt_of(body: Body) -> str:
    """Return the prompt of a request of any family; in a chat it is the last message."""
    return str(body["prompt"] if "prompt" in body else body["messages"][-1]["content"])


def _embeddings(prompt: str, stream: bool) -> Body:
    return {"model": "bench", "input": prompt}


def _short_chat(prompt: str, stream: bool) -> Body:
    messages = [{"role": "user", "content": prompt}]
    return {"model": "bench", "messages": messages, "stream": stream, "options": {"temperature": 0}}


def _native(prompt: str, stream: bool) -> Body:
    return {"model": "bench", "prompt": prompt, "stream": stream, "options": {"temperature": 0}}


def _openai(prompt: str, stream: bool) -> Body:
    messages = [{"role": "user", "content": prompt}]
    return {"model": "bench", "messages": messages, "stream": stream, "temperature": 0}


def _chat(prompt: str, stream: bool) -> Body:
    messages = [*HISTORY, {"role": "user", "content": prompt}]
    return {"model": "bench", "messages": messages, "stream": stream, "options": {"temperature": 0}}


def _stored(prompt: str, stream: bool) -> Body:
    return {"model": "bench", "content": prompt, "stream": stream, "options": {"temperature": 0}}


def _anthropic(prompt: str, stream: bool) -> Body:
    return _openai(prompt, stream) | {"max_tokens": 4096}


def _same(name: str, path: str, **more: Any) -> Family:
    """Return a family whose routes the service has where the upstream has them."""
    return Family(name, path, path, path, **more)


OLLAMA = _same(
    "ollama",
    "/api/generate",
    frames=NATIVE,
    body=_native,
    stamp=re.compile(rb'"response": ?" (\d{19})"'),
    stream_end=re.compile(rb'"done": ?true'),
    whole_end=re.compile(rb'"done": ?true'),
    streams_unasked=True,
)
CHAT_ROUTE = Family(
    "chat",
    "/api/chat",
    "/api/llm/chat",
    "/api/llm/chat",
    frames=CHAT,
    body=_chat,
    stamp=re.compile(rb'"content": ?" (\d{19})"'),
    stream_end=re.compile(rb'"done": ?true'),
    whole_end=re.compile(rb'"done": ?true'),
    streams_unasked=True,
)
ALL = (
    CHAT_ROUTE,
    replace(OLLAMA, name="llm", service_stream="/api/llm/stream", service_whole="/api/llm/generate"),
    OLLAMA,
    _same(
        "openai",
        "/v1/chat/completions",
        frames=OPENAI,
        body=_openai,
        stamp=re.compile(rb'"content": ?" (\d{19})"'),
        stream_end=re.compile(rb"data: ?\[DONE\]"),
        whole_end=re.compile(rb'"finish_reason": ?"stop"'),
    ),
    _same(
        "anthropic",
        "/v1/messages",
        frames=ANTHROPIC,
        body=_anthropic,
        stamp=re.compile(rb'"text": ?" (\d{19})"'),
        stream_end=re.compile(rb'"type": ?"message_stop"'),
        whole_end=re.compile(rb'"stop_reason": ?"end_turn"'),
    ),
)
# The upstream sees the same chat; its end counts only once the reply is stored.
STORED = replace(
    CHAT_ROUTE,
    name="stored",
    service_stream=f"{CONVERSATIONS}/{{}}/messages",
    service_whole=f"{CONVERSATIONS}/{{}}/messages",
    body=_stored,
    stream_end=re.compile(rb'"stored": ?true'),
    whole_end=re.compile(rb'"stored": ?true'),
    opens=(CONVERSATIONS, {"model": "bench", "messages": HISTORY}),
)
OWN, OPENAI_ROUTE = ALL[1], ALL[3]
SERVER = replace(OPENAI_ROUTE, name="server", openai_server=True)
TRANSLATED = replace(
    CHAT_ROUTE,
    name="translated",
    path=OPENAI_ROUTE.path,
    service_stream="/api/chat",
    service_whole="/api/chat",
    body=_short_chat,
    behind=OPENAI_ROUTE.name,
    openai_server=True,
)
CHATS = "/chats"
CARRIED = replace(
    ALL[4],
    name="carried",
    path=OPENAI_ROUTE.path,
    behind=OPENAI_ROUTE.name,
    openai_server=True,
    below=CHATS,
)
EMBEDDINGS_ROUTE = _same(
    "embeddings",
    "/v1/embeddings",
    frames=EMBEDDINGS,
    body=_embeddings,
    stamp=OPENAI_ROUTE.stamp,
    stream_end=OPENAI_ROUTE.stream_end,
    whole_end=re.compile(rb'"object": ?"list"'),
    streams=False,
)
FAMILIES = {family.name: family for family in (*ALL, STORED, SERVER, TRANSLATED, CARRIED, EMBEDDINGS_ROUTE)}
ROUTES = {family.path: family for family in (*ALL, EMBEDDINGS_ROUTE)}  # what is there without the service
DEFAULT = "llm"
