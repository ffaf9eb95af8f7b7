"""Ways: over which of a server's routes a client's request is answered, the best first.

Where a server has the client's own route, bytes pass as they are. Else the request is translated into Ollama's own
form, and from that into what the server has: one form between all, and not each to each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from mlops_backend.services.llm.dialects.native import COUNT_PATH
from mlops_backend.services.llm.dialects.openai import CHAT_PATH, COMPLETION_PATH, EMBED_PATH, RESPONSES_PATH

TOKENIZE_PATH: Final = "/tokenize"
Kind = Literal["ollama", "openai"]
# Kind of the server -> the client's route -> the server's, in the order in which they are taken.
WAYS: Final[Mapping[Kind, Mapping[str, tuple[str, ...]]]] = {
    "ollama": {
        CHAT_PATH: (CHAT_PATH, "/api/chat"),
        COMPLETION_PATH: (COMPLETION_PATH, "/api/generate"),
        EMBED_PATH: (EMBED_PATH, "/api/embed"),
        "/v1/messages": ("/v1/messages", "/api/chat"),
        RESPONSES_PATH: (RESPONSES_PATH, "/api/chat"),
        COUNT_PATH: (COUNT_PATH,),
        "/api/chat": ("/api/chat",),
        "/api/generate": ("/api/generate",),
        "/api/embed": ("/api/embed",),
        "/api/embeddings": ("/api/embeddings",),
        "/api/show": ("/api/show",),
    },
    "openai": {
        CHAT_PATH: (CHAT_PATH,),
        COMPLETION_PATH: (COMPLETION_PATH, CHAT_PATH),
        EMBED_PATH: (EMBED_PATH,),
        "/v1/messages": ("/v1/messages", CHAT_PATH),
        RESPONSES_PATH: (RESPONSES_PATH, CHAT_PATH),
        COUNT_PATH: (COUNT_PATH, TOKENIZE_PATH),
        "/api/chat": (CHAT_PATH,),
        "/api/generate": (CHAT_PATH,),
        "/api/embed": (EMBED_PATH,),
        "/api/embeddings": (EMBED_PATH,),
        "/api/show": ("/v1/models",),
    },
}


def over(kind: Kind, path: str) -> str:
    """The route that a request is translated for, where the server lacks its own; a chat can be said in any API."""
    return WAYS[kind].get(path, ("/api/chat" if kind == "ollama" else CHAT_PATH,))[-1]


def can_be_carried(path: str) -> bool:
    """Whether a server of OpenAI's API can answer a client's route over another one."""
    return over("openai", path) != path
