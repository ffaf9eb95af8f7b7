"""One request of Quart's, without a task where nothing has to be waited for.

Quart makes three tasks for each request: one takes what the client sends, one answers, one sends the answer. Most
bodies are here with their request's head, most answers leave at once, and who leaves is seen by the connection itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from quart.asgi import ASGIHTTPConnection
from quart.utils import cancel_tasks, encode_headers, raise_task_exceptions
from quart.wrappers.response import DataBody
from werkzeug.datastructures import Headers

from mlops_backend.begun import Begun
from mlops_backend.middleware.asgi import CLIENT_LEFT, WHOLE, ClientLeft

_LOCAL: Final = ("<local>", 0)


class Arrived(Headers):
    """A request's headers as the server gives them: it has checked them, and no look at each is needed.

    One that is not there is not looked for by raising an error, as werkzeug does.
    """

    def __init__(self, known: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._list = list(known)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._first(key) is not None

    def get(self, key: str, default: Any = None, type: Callable[[str], Any] | None = None) -> Any:  # type: ignore[override]
        """The first of that name, in any case."""
        if type is not None:
            return super().get(key, default, type)
        found = self._first(key)
        return default if found is None else found

    def _first(self, key: str) -> str | None:
        wanted = key.lower()
        for name, value in self._list:
            if name.lower() == wanted:
                return value
        return None


class Exchange(ASGIHTTPConnection):
    """Quart's handling of a request and its answer."""

    _is_received = False
    _is_beside = False  # the answer is made while the rest of the request comes

    async def __call__(self, receive: Any, send: Any) -> None:
        """Answer; ends early when the client has left."""
        request = self._create_request_from_scope(send)
        receiving = Begun(self.handle_messages(request, receive))
        left = CLIENT_LEFT.get()
        try:
            if self._is_received and left is not None:
                await self._answer(request, left, send)
            elif not receiving.done:  # else the client has left already
                await self._answer_while_receiving(request, receiving.task(), send)
        finally:
            receiving.close()

    def _create_request_from_scope(self, send: Any) -> Any:
        """As Quart makes it, but for its headers, of which Quart checks each once more."""
        scope, config = self.scope, self.app.config
        if scope["http_version"] < "1.1" or scope["root_path"] or not scope["path"].startswith("/"):
            return super()._create_request_from_scope(send)
        headers = [(name.decode("latin-1").title(), value.decode("latin-1")) for name, value in scope["headers"]]
        return self.app.request_class(
            scope["method"],
            scope["scheme"],
            scope["path"],
            scope["query_string"],
            Arrived([("Remote-Addr", (scope.get("client") or _LOCAL)[0]), *headers]),
            "",
            scope["http_version"],
            max_content_length=config["MAX_CONTENT_LENGTH"],
            body_timeout=config["BODY_TIMEOUT"],
            send_push_promise=partial(self._send_push_promise, send),
            scope=scope,
        )

    async def _answer(self, request: Any, left: ClientLeft, send: Any) -> None:
        """All is here that the client sent: nothing is to be received but that it leaves."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in a task
        cancels = task.cancelling()
        left.ends(task)
        try:
            await self.handle_request(request, send)
        except asyncio.CancelledError:
            if not left.is_set() or task.uncancel() > cancels:
                raise
        finally:
            left.ends(None)

    async def handle_messages(self, request: Any, receive: Any) -> None:
        """Take what the client sends, until it leaves; that is told otherwise where the connection is ours."""
        while (message := await receive())["type"] != "http.disconnect":
            request.body.append(message.get("body", b""))
            if not message.get("more_body", False):
                request.body.set_complete()
                self._is_received = True
                if not self._is_beside and CLIENT_LEFT.get() is not None:
                    return

    async def _send_response(self, send: Any, response: Any) -> None:
        """Head and body; a whole one leaves as one message, unless its end has to wait for the rest of the request."""
        body = getattr(response, "response", None)
        if not (self._is_received and isinstance(body, DataBody)):
            await super()._send_response(send, response)
            return
        headers = encode_headers(response.headers)
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers, WHOLE: True})
        await send({"type": "http.response.body", "body": body.data[body.begin : body.end], "more_body": False})

    async def _answer_while_receiving(self, request: Any, receiving: asyncio.Task[None], send: Any) -> None:
        """Quart's own way."""
        self._is_beside = True
        handling = asyncio.create_task(self.handle_request(request, send))
        done, pending = await asyncio.wait([handling, receiving], return_when=asyncio.FIRST_COMPLETED)
        await cancel_tasks(pending)
        raise_task_exceptions(done)
