"""The response cache as those see it who answer from it and fill it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from time import time
from typing import Final

from mlops_backend.principal import Principal
from mlops_backend.services.other.response_cache.entry import Entry, Keeper

# Of what is kept, as much may be written down at a time.
_PART: Final = 4
# Other entries are of another kind, and would not be understood.
_FORMAT: Final = "1"


class ResponseCache:
    """Knows for whom answers are kept, by which names, and how many were found.

    Args:
        keeper: has them.
        always: whether whoever asks wants them, without a word.
        shared: whether a key gets what another one has asked.
        entry_bytes: the most that one may have.
        memory: the most that all may have; a quarter of it is for those that are being written down.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        keeper: Keeper,
        *,
        always: bool,
        shared: bool,
        entry_bytes: int,
        memory: int,
        clock: Callable[[], float] = time,
    ) -> None:
        self.keeper = keeper
        self._always, self._shared = always, shared
        self._entry_bytes, self._room = entry_bytes, memory // _PART
        self._clock = clock
        self.hits = self.misses = 0

    def wants(self, caller: Principal) -> bool:
        """Whether answers are kept for `caller`, whatever its request says."""
        return self._always or caller.cache

    def name(self, caller: Principal, *parts: str | bytes) -> str:
        """The name of one call's answer.

        Args:
            caller: who asks; nobody else finds it, unless `shared`.
            parts: all that the answer depends on.
        """
        digest = sha256()
        for part in (_FORMAT, "" if self._shared else caller.id, *parts):
            data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
            digest.update(b"%d:" % len(data))
            digest.update(data)
        return digest.hexdigest()

    async def find(self, name: str, max_age: float | None = None) -> Entry | None:
        """What is kept by that name, unless it is older than so many seconds; counts what was found, and what not."""
        found = await self.keeper.get(name)
        if found is not None and max_age is not None and self.age(found) > max_age:
            found = None
        self.hits += found is not None
        self.misses += found is None
        return found

    def age(self, entry: Entry) -> float:
        """For how many seconds it has been kept."""
        return max(0.0, self._clock() - entry.at)

    async def keep(
        self,
        name: str,
        body: bytes,
        headers: Sequence[tuple[str, str]],
        *,
        streamed: bool,
        model: str,
        requested_model: str,
    ) -> None:
        """Keep a whole answer, unless it is too large."""
        if len(body) <= self._entry_bytes:
            await self.keeper.put(name, Entry(tuple(headers), body, self._clock(), streamed, model, requested_model))

    def take(self, size: int, of: int) -> bool:
        """Take room for so many bytes more of an answer that would have `of`; whether there is any."""
        if of > self._entry_bytes or size > self._room:
            return False
        self._room -= size
        return True

    def give(self, size: int) -> None:
        """Give it back."""
        self._room += size

    async def open(self) -> None:
        """Begin to keep answers."""
        await self.keeper.open()

    async def aclose(self) -> None:
        """Let go of what is held elsewhere."""
        await self.keeper.aclose()


class Recording:
    """An answer that is written down while it is sent; one that grows too large is let go of.

    Args:
        cache: has the room for it.
    """

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache
        self._pieces: list[bytes] | None = []
        self._size = 0

    def take(self, piece: bytes) -> None:
        """Write one piece down."""
        if self._pieces is None:
            return
        if not self._cache.take(len(piece), self._size + len(piece)):
            self.let_go()
            return
        self._size += len(piece)
        self._pieces.append(piece)

    @property
    def text(self) -> bytes | None:
        """All that was written down; `None`: it was too much."""
        return None if self._pieces is None else b"".join(self._pieces)

    def let_go(self) -> None:
        """Give its room back."""
        self._cache.give(self._size)
        self._pieces, self._size = None, 0
