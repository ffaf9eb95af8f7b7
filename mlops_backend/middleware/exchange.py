"""One request of Quart's, without a task where nothing has to be waited for.

Quart makes three tasks for each request: one takes what the client sends, one answers, one sends the answer. Most
bodies are here with their request's head, most answers leave at once, and who leaves is seen by the connection itself.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from quart.asgi import ASGIHTTPConnection
from quart.sessions import NullSession, SessionInterface
from quart.utils import cancel_tasks, encode_headers, raise_task_exceptions
from quart.wrappers.response import DataBody

from mlops_backend.begun import Begun
from mlops_backend.middleware.asgi import CLIENT_LEFT, ClientLeft


class NoSessions(SessionInterface):
    """Nobody has a session: there are no cookies here, and nothing is looked for."""

    async def open_session(self, *_: object) -> NullSession:
        """The same for everybody; it cannot be written to."""
        return _NONE


_NONE: Final = NullSession()


class Exchange(ASGIHTTPConnection):
    """Quart's handling of a request and its answer."""

    _is_received = False

    async def __call__(self, receive: Any, send: Any) -> None:
        """Answer; ends early when the client has left."""
        request = self._create_request_from_scope(send)
        receiving = Begun(self.handle_messages(request, receive))
        left = CLIENT_LEFT.get()
        try:
            if receiving.done:  # the client has left already
                return
            if left is None or not self._is_received:
                await self._answer_while_receiving(request, receiving.task(), send)
            else:
                await self._answer(request, left, send)
        finally:
            receiving.close()

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
        """Take what the client sends, until it leaves."""
        while (message := await receive())["type"] != "http.disconnect":
            request.body.append(message.get("body", b""))
            if not message.get("more_body", False):
                request.body.set_complete()
                self._is_received = True

    async def _send_response(self, send: Any, response: Any) -> None:
        """Head and body; a whole one leaves as one message, unless its end has to wait for the rest of the request."""
        body = getattr(response, "response", None)
        if not (self._is_received and isinstance(body, DataBody)):
            await super()._send_response(send, response)
            return
        headers = encode_headers(response.headers)
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": body.data[body.begin : body.end], "more_body": False})

    async def _answer_while_receiving(self, request: Any, receiving: asyncio.Task[None], send: Any) -> None:
        """Quart's own way."""
        handling = asyncio.create_task(self.handle_request(request, send))
        done, pending = await asyncio.wait([handling, receiving], return_when=asyncio.FIRST_COMPLETED)
        await cancel_tasks(pending)
        raise_task_exceptions(done)
