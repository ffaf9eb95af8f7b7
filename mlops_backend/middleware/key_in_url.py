"""Keys in the path, for programs that have no other place for one: `/k/<key>/api/chat` is `/api/chat` with that key.

The scope is changed in place, so that whoever holds it, Hypercorn's access log included, never sees the key. Where
such addresses are switched off the key is taken out of the path all the same.

`/k/<key>/` itself is the base address of a program made for Ollama: what it accepts does not count, as with Ollama.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

from mlops_backend.middleware.asgi import App, Receive, Scope, Send, path_in_url
from mlops_backend.services.llm.upstream import for_backend

_PREFIX: Final = b"/k/"
_HIDDEN: Final = b"/k/***"


class KeyInUrl:
    """Takes the key out of a request's path.

    Args:
        app: what is asked then.
        enabled: whether the key counts; `KEY_IN_URL`.
    """

    def __init__(self, app: App, *, enabled: bool) -> None:
        self._app = app
        self._enabled = enabled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] in {"http", "websocket"}:
            _hide_referers(scope)
            if "/k/" in f"/{scope['path']}".lower():
                self._take_key(scope)
        await self._app(scope, receive, send)

    def _take_key(self, scope: Scope) -> None:
        raw: bytes = scope["raw_path"]
        raw = raw if raw.startswith(b"/") else path_in_url(raw)
        encoded, slash, rest = raw.removeprefix(_PREFIX).partition(b"/")
        key = unquote_to_bytes(encoded)
        path = slash + rest or b"/"
        may_be_key = raw.startswith(_PREFIX) and key and key.decode("latin-1").isprintable()
        if not self._enabled or not may_be_key or _PREFIX in unquote_to_bytes(path).lower():
            _set_path(scope, _HIDDEN)
            return
        _set_path(scope, path)
        headers = [(name, value) for name, value in scope["headers"] if not _tells(name, value, key)]
        if path == b"/":
            headers = [(name, value) for name, value in headers if name != b"accept"]
        scope["headers"] = [*headers, (b"x-api-key", key)]


def _set_path(scope: Scope, raw: bytes) -> None:
    scope["raw_path"] = raw
    scope["path"] = unquote_to_bytes(raw).decode("utf-8", "replace")


def _tells(name: bytes, value: bytes, key: bytes) -> bool:
    """Whether a header would tell a backend the key, as one would in which a proxy repeats the address it was asked."""
    return (key in value or key in unquote_to_bytes(value)) and bool(for_backend([(name.decode("latin-1"), "")]))


def _hide_referers(scope: Scope) -> None:
    """A page that was opened with the key in its address would tell it as the referer of all that it loads."""
    referers = [value for name, value in scope["headers"] if name == b"referer"]
    if any(_PREFIX in unquote_to_bytes(value).lower() for value in referers):
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"referer"]
