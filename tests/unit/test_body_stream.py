"""The body of a streamed route, when its application has answered before the body's end."""

from __future__ import annotations

import asyncio

from mlops_backend.middleware.asgi import Message
from mlops_backend.middleware.body_stream import BodyStream


async def test_nothing_is_taken_any_more_behind_the_applications_end() -> None:
    """Who goes on taking would take the first bytes of the connection's next request."""
    ended = asyncio.Event()

    async def receive() -> Message:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError("nothing ever comes")

    body = BodyStream(receive)
    body.begin_to_discard()
    await asyncio.sleep(0)
    await body.close()
    async with asyncio.timeout(20):
        await ended.wait()


async def test_an_answer_waits_for_the_bodys_end() -> None:
    """A connection that is closed with bytes unread takes the answer along."""
    messages = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.request", "body": b"b", "more_body": False},
    ]

    async def receive() -> Message:
        await asyncio.sleep(0)
        return messages.pop(0)

    body = BodyStream(receive)
    body.begin_to_discard()
    await body.discarded()
    assert not messages
    await body.close()
