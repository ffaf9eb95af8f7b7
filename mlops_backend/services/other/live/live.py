"""Who listens, and the one look a second that is made for all of them."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from time import monotonic
from typing import Final

import structlog

from mlops_backend.errors import Draining, KeyListenersFull, ListenersFull
from mlops_backend.principal import Principal
from mlops_backend.services.other.live.events import KINDS, Event, Scene
from mlops_backend.services.other.live.sources import Looks

_RETRY: Final = b"retry: 2000\n\n"
_SIGN_OF_LIFE: Final = b":\n\n"
_KNOWN: Final = re.compile(r"([a-z]+)-([0-9a-f]{16})")
_LONGEST: Final = 256

log: Final = structlog.get_logger(__name__)


class Live:
    """Looks once a second while somebody listens.

    Of each listener is kept what was sent last of each kind, and nothing else: one that is slow gets the present state
    when it takes something again, and what was between never.

    Args:
        looks: looks at everything.

    Attributes:
        every: seconds from one look to the next.
        heartbeat: seconds of silence, after which a sign of life is sent.
        check: seconds after which it is asked again whether who listens still may.
        most: so many may listen, and `most_of_key` of one key.
    """

    def __init__(self, looks: Looks) -> None:
        self.looks = looks
        self.every, self.heartbeat, self.check = 1.0, 15.0, 5.0
        self.most, self.most_of_key = 256, 32
        self._listeners: dict[Listener, None] = {}
        self._of_key: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Event()
        self._ended = False
        self.scene: Scene | None = None

    def __len__(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @property
    def ended(self) -> bool:
        """Whether nothing more is told."""
        return self._ended

    def listen(self, principal: Principal, known: str, still: Callable[[], Awaitable[Principal | None]]) -> Listener:
        """One more who listens, until it is closed.

        Args:
            principal: who.
            known: the id of the last event that it has had.
            still: who it is now; `None` once it may not listen any more.

        Raises:
            Draining: the service is stopping.
            KeyListenersFull: too many of this key listen.
            ListenersFull: too many do.
        """
        if self._ended:
            raise Draining("The service is stopping; try again soon, or at another instance.")
        if self._of_key[principal.id] >= self.most_of_key:
            raise KeyListenersFull(f"{self.most_of_key} pages of this key listen already.")
        if len(self._listeners) >= self.most:
            raise ListenersFull("Too many pages listen already.")
        listener = Listener(self, principal, known, still)
        self._listeners[listener] = None
        self._of_key[principal.id] += 1
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return listener

    def leave(self, listener: Listener) -> None:
        """It listens no more; it may say so more than once."""
        if listener in self._listeners:
            del self._listeners[listener]
            self._of_key[listener.counted_as] -= 1
            if not self._of_key[listener.counted_as]:
                del self._of_key[listener.counted_as]

    def end(self) -> None:
        """Tell nothing more: who listens is let go."""
        self._ended = True
        self._turn.set()

    async def turn(self) -> None:
        """Come back at the next look."""
        await self._turn.wait()

    async def open(self) -> None:
        """Nobody listens yet."""

    async def aclose(self) -> None:
        """Look no more."""
        self.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.looks.aclose()

    async def _run(self) -> None:
        try:
            while self._listeners and not self._ended:
                await self._look()
                turn, self._turn = self._turn, asyncio.Event()
                turn.set()
                await asyncio.sleep(self.every)
        finally:
            self._task = self.scene = None

    async def _look(self) -> None:
        try:
            self.scene = Scene(await self.looks.look(sorted(self._of_key)))
        except Exception:  # they hear of it when it is well again
            log.exception("the console is told nothing")


class Listener:
    """One who listens.

    Args:
        live: to whom.
        principal: who it is.
        known: the id of the last event that it has had.
        still: who it is now; `None` once it may not listen any more.
    """

    def __init__(
        self, live: Live, principal: Principal, known: str, still: Callable[[], Awaitable[Principal | None]]
    ) -> None:
        self._live = live
        self._principal = principal
        self._still = still
        self.counted_as: Final = principal.id
        self._sent = known_by(known)
        self._scene: Scene | None = None

    def close(self) -> None:
        """Listen no more."""
        self._live.leave(self)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events: the present state of each kind, unless it is known, and then what has changed."""
        last, checked = monotonic(), monotonic()
        try:
            yield _RETRY
            while not self._live.ended:
                now = monotonic()
                if now - checked >= self._live.check:
                    checked = now
                    if not await self._still_may():
                        return
                if piece := self._piece():
                    last = now
                    yield piece
                elif now - last >= self._live.heartbeat:
                    last = now
                    yield _SIGN_OF_LIFE
                if self._live.scene is self._scene:
                    await self._live.turn()
        finally:
            self.close()

    async def _still_may(self) -> bool:
        principal = await self._still()
        if principal is None or principal.id != self._principal.id:
            return False
        self._principal = principal
        return True

    def _piece(self) -> bytes:
        scene = self._scene = self._live.scene
        seen: Mapping[str, Event] = {} if scene is None else scene.events(self._principal)
        written = []
        for kind, event in seen.items():
            if self._sent.get(kind) != event.digest:
                self._sent[kind] = event.digest
                last_id = ".".join(f"{name}-{digest}" for name, digest in self._sent.items())
                written.append(b"id: %b\nevent: %b\ndata: %b\n\n" % (last_id.encode(), kind.encode(), event.data))
        return b"".join(written)


def known_by(last_id: str) -> dict[str, str]:
    """The digest of each kind's last event, as the last event's id tells them; nothing of what is none of ours."""
    if len(last_id) > _LONGEST:
        return {}
    found = [match for part in last_id.split(".") if (match := _KNOWN.fullmatch(part))]
    return {match[1]: match[2] for match in found if match[1] in KINDS}
