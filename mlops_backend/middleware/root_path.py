"""The path under which a proxy shows the service: it is asked with it or without, and puts it into its addresses."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

from quart import current_app

from mlops_backend.middleware.asgi import App, Receive, Scope, Send, path_in_url

CONFIGURED: Final = "ROOT_PATH"


class RootPath:
    """Takes the path of a proxy out of a request's own, where the proxy left it in.

    The scope is changed in place, as `KeyInUrl` does, so that whoever holds it sees the same.

    Args:
        app: what is asked then.
        prefix: such as `/llm`; `ROOT_PATH`.
    """

    def __init__(self, app: App, prefix: str) -> None:
        self._app = app
        self._prefix = prefix.encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "http":
            raw: bytes = scope["raw_path"]
            raw = raw if raw.startswith(b"/") else path_in_url(raw)
            if raw == self._prefix or raw.startswith(self._prefix + b"/"):
                own = raw.removeprefix(self._prefix) or b"/"
                scope["raw_path"], scope["path"] = own, unquote_to_bytes(own).decode("utf-8", "replace")
        await self._app(scope, receive, send)


def public_path(path: str) -> str:
    """A path of this service as its clients have to ask for it."""
    return f"{current_app.config[CONFIGURED]}{path}"
