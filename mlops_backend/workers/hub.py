"""The parent's ends of the channels to its workers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from mlops_backend.workers.channel import Channel
from mlops_backend.workers.frames import ChannelError
from mlops_backend.workers.handlers import Handlers

_WITHIN: Final = 5.0


class Hub:
    """Every worker that is connected, and what any of them may ask."""

    def __init__(self) -> None:
        self.handlers = Handlers()
        self._channels: list[Channel] = []
        self._on_left: list[Callable[[Channel], None]] = []

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The workers that are connected, the oldest first."""
        return tuple(self._channels)

    async def join(self, end: socket.socket, name: str) -> Channel:
        """Speak with a worker over one end of a `socketpair`, which is the channel's from now on.

        It may take its time until it listens, and is not left for that.
        """
        channel = await Channel.over(end, self.handlers, patience=None, name=name, on_lost=self._left)
        if not channel.lost.is_set():
            self._channels.append(channel)
        return channel

    def when_one_leaves(self, function: Callable[[Channel], None]) -> None:
        """Call `function` with each channel that is lost from now on."""
        self._on_left.append(function)

    def tell(self, name: str, payload: Any = None, *, but: Channel | None = None) -> None:
        """Tell all workers, or all but one."""
        for channel in self._others(but):
            channel.tell(name, payload)

    async def ask(
        self, name: str, payload: Any = None, *, but: Channel | None = None, within: float = _WITHIN
    ) -> list[Any]:
        """What all workers answer, or all but one; one that fails, leaves or takes too long is left out.

        One that starts is asked, and not waited for: it hears of it before it serves.
        """
        asked: list[asyncio.Future[Any]] = []
        for channel in self._others(but):
            with suppress(ChannelError):
                answer = channel.asked(name, payload)
                if channel.was_heard:
                    asked.append(answer)
                else:
                    answer.cancel()  # nobody looks at it
        if not asked:
            return []
        done, late = await asyncio.wait(asked, timeout=within)
        for answer in late:
            answer.cancel()
        return [answer.result() for answer in asked if answer in done and answer.exception() is None]

    async def aclose(self) -> None:
        """Close all channels."""
        for channel in self.channels:
            await channel.aclose()

    def _others(self, but: Channel | None) -> list[Channel]:
        return [channel for channel in self._channels if channel is not but]

    def _left(self, channel: Channel) -> None:
        if channel in self._channels:
            self._channels.remove(channel)
        for function in self._on_left:
            function(channel)
