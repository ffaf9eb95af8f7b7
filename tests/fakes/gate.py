"""A turnstile: lets a test decide when each line of a stream may leave."""

import asyncio


class Gate:
    """Open at first; once held, every step waits for a permit."""

    def __init__(self) -> None:
        self._held = False
        self._permits = 0
        self._changed = asyncio.Event()

    def hold(self) -> None:
        """Let nothing pass until it is released; permits not used are lost."""
        self._held, self._permits = True, 0

    def release(self, count: int | None = None) -> None:
        """Let `count` more steps pass, or, without a count, everything from now on."""
        if count is None:
            self._held = False
        else:
            self._permits += count
        self._changed.set()

    async def step(self) -> None:
        """Pass, when it is allowed."""
        while self._held and not self._permits:
            self._changed.clear()
            await self._changed.wait()
        if self._held:
            self._permits -= 1
