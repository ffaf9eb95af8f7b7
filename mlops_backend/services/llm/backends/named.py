"""The backends that the operator named, of which those of a file come and go while the service runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog

from mlops_backend.services.llm.backends.builder import BackendBuilder
from mlops_backend.services.llm.backends.described import Described
from mlops_backend.services.llm.backends.news import BackendNews
from mlops_backend.services.llm.backends.pool import BackendPool
from mlops_backend.setting_backends import BackendSetting, UnusableFile, read_text

POLL: Final = 1.0

log: Final = structlog.get_logger(__name__)

_Stamp = tuple[int, ...] | None


class NamedBackends:
    """Reads the file of backends, and reads it again when it changes or when told to.

    A file that changes is read once it has stayed as it is from one look to the next, so that nobody reads half of it.
    One that cannot be used changes nothing.

    Args:
        path: the file; empty: there is none, and nothing is followed.
        parse: all that the operator named, for a text of the file; raises `UnusableFile`.
        builder: builds them.
        pool: is told of them.
        news: between the workers.
    """

    def __init__(
        self,
        path: str,
        parse: Callable[[str], Sequence[BackendSetting]],
        builder: BackendBuilder,
        pool: BackendPool,
        news: BackendNews,
    ) -> None:
        self._path = path
        self._parse = parse
        self._builder = builder
        self._pool = pool
        self._news = news
        self._others: Sequence[Described] = ()
        self._settings: Sequence[BackendSetting] = ()
        self._seen: _Stamp = None
        self._before: _Stamp = None
        self._told = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self.trouble = ""
        news.on_reread(self.reread)

    async def first(self) -> list[Described]:
        """All of them, at start-up.

        Raises:
            UnusableFile: the file cannot be used, and there is no worker that could use an earlier one.
        """
        last_good = await self._news.begin()
        self._seen = self._before = await asyncio.to_thread(_stamp_of, self._path)
        try:
            self._settings = await self._read()
        except UnusableFile as error:
            if not last_good:
                raise
            self._failed(error)
            self._settings = self._parse(last_good)
        return self._builder.build(self._settings)

    def follow(self, others: Sequence[Described]) -> None:
        """From now on tell the pool of changes; `others` stand behind the named ones, as they do now."""
        self._others = others
        if self._path:
            self._following = asyncio.create_task(self._follow())

    def reread(self) -> None:
        """Read the file now."""
        self._told.set()

    async def aclose(self) -> None:
        """Follow no more."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None

    async def _follow(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._told.wait()
            try:
                await self._look()
            except Exception as error:  # whatever it is, the file must be read as soon as it can be
                self._failed(error)
                self._seen = None

    async def _look(self) -> None:
        told = self._told.is_set()
        self._told.clear()
        stamp = await asyncio.to_thread(_stamp_of, self._path)
        if not told and stamp == self._seen:
            return
        if not told and stamp != self._before:
            self._before = stamp
            return
        self._seen = self._before = stamp
        try:
            settings = await self._read()
        except UnusableFile as error:
            self._failed(error)
            return
        self._take(settings)
        await self._pool.probe()

    async def _read(self) -> Sequence[BackendSetting]:
        text, settings = await asyncio.to_thread(self._read_and_parse)
        if text:
            self._news.good(text)
        return settings

    def _read_and_parse(self) -> tuple[str, Sequence[BackendSetting]]:
        text = read_text(self._path)
        return text, self._parse(text)

    def _take(self, settings: Sequence[BackendSetting]) -> None:
        before, self._settings = self._settings, settings
        if self.trouble or settings != before:
            backends = self._builder.build(settings)
            self._pool.use([*backends, *self._others])
            log.info("backends_read", file=self._path, backends=[each.name for each in backends])
        self.trouble = ""

    def _failed(self, error: Exception) -> None:
        words = str(error) or type(error).__name__
        if words != self.trouble:
            log.error("backends_file_unusable", reason=words, kept=len(self._settings))
        self.trouble = words


def _stamp_of(path: str) -> _Stamp:
    """What changes with a file, also when only its times are put back or its owner changes; none, where it is away."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
