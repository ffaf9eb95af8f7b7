"""The table of routes: what each is for, and so who may use it. What does not stand here is for nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from mlops_backend.config import ConfigError
from mlops_backend.principal import Principal, Scope


class Access(Enum):
    """What a route is for."""

    OPEN = "open"  # nobody is asked for a key; docs/decisions/0001 says why
    DOCS = "docs"  # the same while DOCS_ENABLED, else any key
    SERVICE = "service"  # any key
    INFERENCE = "inference"  # a key with that scope; each request is a generation, and so a row in the ledger
    BESIDE_INFERENCE = "beside inference"  # the same scope; nothing is generated
    MODELS_READ = "models:read"  # a key with that scope
    MODELS_WRITE = "models:write"  # likewise
    USAGE_READ = "usage:read"  # likewise
    METRICS_READ = "metrics:read"  # likewise
    ADMIN = "admin"  # likewise
    ACCOUNT = "account"  # the scope `admin`, while ALLOW_ACCOUNT_ROUTES


Methods = Mapping[str, Access]

_FOR_ANY_KEY: Final = frozenset({Access.DOCS, Access.SERVICE})
SCOPES: Final[Mapping[Access, Scope]] = {
    Access.INFERENCE: Scope.INFERENCE,
    Access.BESIDE_INFERENCE: Scope.INFERENCE,
    Access.MODELS_READ: Scope.MODELS_READ,
    Access.MODELS_WRITE: Scope.MODELS_WRITE,
    Access.USAGE_READ: Scope.USAGE_READ,
    Access.METRICS_READ: Scope.METRICS_READ,
    Access.ADMIN: Scope.ADMIN,
    Access.ACCOUNT: Scope.ADMIN,
}


def _read(access: Access) -> Methods:
    return {"GET": access, "HEAD": access}


_LIST: Final = _read(Access.MODELS_READ)
_SHOW: Final[Methods] = {"POST": Access.MODELS_READ}
_LOOK: Final[Methods] = {"GET": Access.MODELS_READ}
_INFER: Final[Methods] = {"POST": Access.INFERENCE}
_MANAGE: Final[Methods] = {"POST": Access.MODELS_WRITE}
_ACCOUNT: Final[Methods] = {"POST": Access.ACCOUNT}
_OWN_USAGE: Final[Methods] = {"GET": Access.USAGE_READ}
_ALL_USAGE: Final[Methods] = {"GET": Access.ADMIN}
_ADMIN: Final[Methods] = {"POST": Access.ADMIN}
_READ_OWN: Final[Methods] = {"GET": Access.BESIDE_INFERENCE}
_CHANGE_OWN: Final[Methods] = {"POST": Access.BESIDE_INFERENCE}

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
    "/metrics": _read(Access.METRICS_READ),
    "/api/admin/log-level": {**_read(Access.ADMIN), "PUT": Access.ADMIN},
    # the console
    "/console": _read(Access.OPEN),
    "/console/": _read(Access.OPEN),
    "/console/assets/<build>/<path:filename>": _read(Access.OPEN),
    "/api/console/session": {**_read(Access.SERVICE), "POST": Access.SERVICE, "DELETE": Access.SERVICE},
    "/api/console/sessions": {"DELETE": Access.SERVICE},
    "/api/console/events": {"GET": Access.SERVICE},
    # keys
    "/api/key": _read(Access.SERVICE),
    "/api/key/limits": _read(Access.SERVICE),
    "/api/admin/keys": {**_read(Access.ADMIN), **_ADMIN},
    "/api/admin/keys/<key_id>": {**_read(Access.ADMIN), "PATCH": Access.ADMIN, "DELETE": Access.ADMIN},
    "/api/admin/keys/<key_id>/limits": _read(Access.ADMIN),
    "/api/admin/keys/<key_id>/rotate": _ADMIN,
    "/api/admin/keys/<key_id>/conversations": {"DELETE": Access.ADMIN},
    "/api/admin/keys/<key_id>/responses": {"DELETE": Access.ADMIN},
    "/api/admin/keys/<key_id>/sessions": {"DELETE": Access.ADMIN},
    # backends
    "/api/admin/backends": _read(Access.ADMIN),
    "/api/admin/backends/<path:name>/drain": _ADMIN,
    "/api/admin/backends/<path:name>/resume": _ADMIN,
    "/api/admin/backends/<path:name>/probe": _ADMIN,
    # our own API to inference
    "/api/llm/health": _LIST,
    "/api/llm/models": _LIST,
    "/api/llm/queue": _READ_OWN,
    "/api/llm/generations": _READ_OWN,
    "/api/llm/generations/<request_id>": {"DELETE": Access.BESIDE_INFERENCE},
    "/api/llm/generate": _INFER,
    "/api/llm/stream": _INFER,
    "/api/llm/chat": _INFER,
    "/api/llm/embed": _INFER,
    "/api/llm/streams": {**_READ_OWN, **_CHANGE_OWN},
    "/api/llm/streams/<stream_id>": {"GET": Access.OPEN, "DELETE": Access.BESIDE_INFERENCE},
    # usage
    "/api/usage": _OWN_USAGE,
    "/api/usage/generations/<generation_id>": _OWN_USAGE,
    "/api/usage/generations": _OWN_USAGE,
    "/api/usage/latency": _OWN_USAGE,
    "/api/usage/export": _OWN_USAGE,
    "/api/admin/usage": _ALL_USAGE,
    "/api/admin/usage/generations/<generation_id>": _ALL_USAGE,
    "/api/admin/usage/generations": _ALL_USAGE,
    "/api/admin/usage/latency": _ALL_USAGE,
    "/api/admin/usage/export": _ALL_USAGE,
    # conversations
    "/api/database/conversations": {**_READ_OWN, **_CHANGE_OWN},
    "/api/database/conversations/export": _READ_OWN,
    "/api/database/conversations/import": _CHANGE_OWN,
    "/api/database/conversations/<conversation_id>": {
        **_READ_OWN,
        "PATCH": Access.BESIDE_INFERENCE,
        "DELETE": Access.BESIDE_INFERENCE,
    },
    "/api/database/conversations/<conversation_id>/append": _CHANGE_OWN,
    "/api/database/conversations/<conversation_id>/truncate": _CHANGE_OWN,
    "/api/database/conversations/<conversation_id>/messages": _INFER,
    "/api/database/conversations/<conversation_id>/regenerate": _INFER,
    "/api/database/conversations/<conversation_id>/export": _READ_OWN,
    "/api/database/conversations/<conversation_id>/images/<image_hash>": _READ_OWN,
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
    "/v1/models/<path:model>": _LOOK,
    "/v1/chat/completions": _INFER,
    "/v1/completions": _INFER,
    "/v1/embeddings": _INFER,
    "/v1/responses": _INFER,
    "/v1/responses/<response_id>": {**_READ_OWN, "DELETE": Access.BESIDE_INFERENCE},
    "/v1/responses/<response_id>/input_items": _READ_OWN,
    "/v1/audio/transcriptions": _INFER,
    "/v1/messages": _INFER,
    "/v1/messages/count_tokens": {"POST": Access.BESIDE_INFERENCE},
}


def may(principal: Principal, access: Access, *, account_routes: bool) -> bool:
    """Whether somebody may use routes of this kind."""
    if access in _FOR_ANY_KEY:
        return True
    if access is Access.ACCOUNT and not account_routes:
        return False
    scope = SCOPES.get(access)
    return scope is not None and principal.has(scope)


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
