"""A backend's answers, whole or still arriving."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import aiohttp
import httpx

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.upstream.errors import classify, without_frames
from mlops_backend.services.llm.upstream.tap import Tap
from mlops_backend.services.llm.upstream.transport import Arriving

MAX_REPLY_BYTES: Final = 48 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; `retry_after` is the header of that name, if it is a number of seconds."""

    status: int
    content_type: str
    body: bytes
    retry_after: str = ""


class UpstreamResponse:
    """An answer whose body is still arriving."""

    __slots__ = ("_response", "content_type", "status")

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.content_type = self._field(b"content-type")

    def _field(self, name: bytes) -> str:
        # httpx would look for the encoding of all fields first.
        return next((value.decode("latin-1") for key, value in self._response.headers.raw if key.lower() == name), "")

    async def whole(self) -> Reply:
        """The whole answer; raises what `gathered` and `chunks` raise."""
        wait = self._field(b"retry-after")
        return Reply(self.status, self.content_type, await self.read(), wait if wait.isdigit() else "")

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Its headers in order, as they came."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._response.headers.raw]

    def open(
        self,
        tap: Tap,
        shape: Callable[[bytes], bytes] | None = None,
        is_over: Callable[[], bool] | None = None,
    ) -> None:
        """Open a tap of the body that is still to come; see `Tap`."""
        tap.open(self._response, shape, is_over)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body's bytes as they arrive.

        Raises:
            BackendVanished: the connection ended before the body did.
        """
        try:
            # The transport's stream itself: `aiter_raw` would add a buffer and a counter to every token.
            async for chunk in self._response.stream:  # type: ignore[union-attr]
                yield chunk
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            raise without_frames(classify(error), error) from None

    async def read(self) -> bytes:
        """The whole body; raises what `gathered` and `chunks` raise."""
        stream = self._response.stream
        if not isinstance(stream, Arriving):
            return await gathered(self.chunks())
        parts: list[bytes] = []
        size = 0
        try:
            while part := await stream.content.readany():  # three generators less than by `chunks`
                size = _counted(size, part)
                parts.append(part)
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            raise without_frames(classify(error), error) from None
        return parts[0] if len(parts) == 1 else b"".join(parts)


async def gathered(chunks: AsyncGenerator[bytes, None]) -> bytes:
    """All chunks as one; closes their generator.

    Raises:
        BackendNonsense: more than `MAX_REPLY_BYTES`.
    """
    parts: list[bytes] = []
    size = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            size = _counted(size, chunk)
            parts.append(chunk)
    return b"".join(parts)


def _counted(size: int, chunk: bytes) -> int:
    if (size := size + len(chunk)) > MAX_REPLY_BYTES:
        raise BackendNonsense("The backend's answer is larger than this service accepts.")
    return size
