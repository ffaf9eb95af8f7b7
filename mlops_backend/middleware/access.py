"""The table of routes: what each is for, and so who may use it. What does not stand here is for nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from mlops_backend.config import ConfigError
from mlops_backend.services.other.api_keys import Principal


class Access(Enum):
    """What a route is for."""

    OPEN = "open"  # nobody is asked for a key; docs/decisions/0001 says why
    DOCS = "docs"  # the same while DOCS_ENABLED, else any key
    SERVICE = "service"  # any key
    INFERENCE = "inference"  # any key
    MODELS_READ = "models:read"  # any key
    MODELS_WRITE = "models:write"  # the administrator's
    ACCOUNT = "account"  # the administrator's, while ALLOW_ACCOUNT_ROUTES


Methods = Mapping[str, Access]

_FOR_ANY_KEY: Final = frozenset({Access.DOCS, Access.SERVICE, Access.INFERENCE, Access.MODELS_READ})


def _read(access: Access) -> Methods:
    return {"GET": access, "HEAD": access}


_LIST: Final = _read(Access.MODELS_READ)
_SHOW: Final[Methods] = {"POST": Access.MODELS_READ}
_LOOK: Final[Methods] = {"GET": Access.MODELS_READ}
_INFER: Final[Methods] = {"POST": Access.INFERENCE}
_MANAGE: Final[Methods] = {"POST": Access.MODELS_WRITE}
_ACCOUNT: Final[Methods] = {"POST": Access.ACCOUNT}

TABLE: Final[Mapping[str, Methods]] = {
    # the service itself
    "/": {"GET": Access.SERVICE, "HEAD": Access.OPEN},
    "/health": _read(Access.OPEN),
    "/health/live": _read(Access.OPEN),
    "/health/ready": _read(Access.OPEN),
    "/docs": _read(Access.DOCS),
    "/docs/assets/<path:filename>": _read(Access.DOCS),
    "/openapi.json": _read(Access.DOCS),
    "/api/other/info": _read(Access.SERVICE),
    # our own API to inference
    "/api/llm/health": _LIST,
    "/api/llm/models": _LIST,
    "/api/llm/generate": _INFER,
    "/api/llm/stream": _INFER,
    "/api/llm/chat": _INFER,
    "/api/llm/embed": _INFER,
    "/api/llm/streams": _INFER,
    "/api/llm/streams/<ticket_id>": {"GET": Access.OPEN},
    # Ollama
    "/api/version": _LIST,
    "/api/tags": _LIST,
    "/api/status": _LOOK,
    "/api/ps": _LOOK,
    "/api/show": _SHOW,
    "/api/experimental/model-recommendations": _LOOK,
    "/api/generate": _INFER,
    "/api/chat": _INFER,
    "/api/embed": _INFER,
    "/api/embeddings": _INFER,
    "/api/pull": _MANAGE,
    "/api/push": _MANAGE,
    "/api/create": _MANAGE,
    "/api/copy": _MANAGE,
    "/api/delete": {"DELETE": Access.MODELS_WRITE},
    "/api/blobs/<digest>": {"HEAD": Access.MODELS_WRITE, "POST": Access.MODELS_WRITE},
    "/api/me": _ACCOUNT,
    "/api/signout": _ACCOUNT,
    "/api/user/keys/<key>": {"DELETE": Access.ACCOUNT},
    "/api/experimental/web_search": _ACCOUNT,
    "/api/experimental/web_fetch": _ACCOUNT,
    # OpenAI and Anthropic
    "/v1/models": _LOOK,
    "/v1/models/<model>": _LOOK,
    "/v1/chat/completions": _INFER,
    "/v1/completions": _INFER,
    "/v1/embeddings": _INFER,
    "/v1/responses": _INFER,
    "/v1/audio/transcriptions": _INFER,
    "/v1/messages": _INFER,
    "/v1/messages/count_tokens": _INFER,
}


def may(principal: Principal, access: Access, *, account_routes: bool) -> bool:
    """Whether somebody may use routes of this kind."""
    if access in _FOR_ANY_KEY:
        return True
    if access is Access.ACCOUNT:
        return principal.admin and account_routes
    return access is Access.MODELS_WRITE and principal.admin


def with_passthrough(routes: Sequence[tuple[str, str]]) -> Mapping[str, Methods]:
    """The table, and what the operator lists beside it as (method, path): such a route is for any key.

    Raises:
        ConfigError: a path that stands in the table already.
    """
    table: dict[str, Methods] = dict(TABLE)
    for method, path in routes:
        if path in TABLE:
            raise ConfigError(f"PASSTHROUGH_ROUTES: {path} is a route of this service already")
        table[path] = {**table.get(path, {}), method: Access.INFERENCE}
    return table
