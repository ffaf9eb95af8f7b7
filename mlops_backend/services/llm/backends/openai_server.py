"""A server of the OpenAI API: where its routes stand, what it refuses, which of them it lacks, and how it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Final

from mlops_backend.errors import NotImplementedHere
from mlops_backend.services.llm.backends.missing_routes import MissingRoutes
from mlops_backend.services.llm.backends.openai_address import API, Places, openai_places
from mlops_backend.services.llm.backends.openai_models import ServedModels
from mlops_backend.services.llm.backends.refusals import Refusals, without
from mlops_backend.services.llm.backends.statuses import ListFails, is_missing_route, raise_for_status, words_of
from mlops_backend.services.llm.dialects import written
from mlops_backend.services.llm.dialects.openai import listing as openai_listing
from mlops_backend.services.llm.upstream import Reply, Target, Upstream, UpstreamResponse
from mlops_backend.telemetry.logging import mask_url
from mlops_backend.telemetry.record import RequestRecord

_TRIES: Final = 4


class OpenAIServer:
    """Any server of the OpenAI API.

    Args:
        url: its address, with or without `/v1` or another version at its end; `http://:KEY@host` holds the key that it
            wants.
        upstream: the shared client.
        named: models that the operator says it has, listed there or not.
        places: where its routes may stand, where that does not follow from the address.
    """

    def __init__(self, url: str, upstream: Upstream, named: Sequence[str] = (), places: Places | None = None) -> None:
        self.address = mask_url(url)
        self._upstream = upstream
        self._places = places or openai_places(url)
        self._models = ServedModels(self._places, upstream, named)
        self._refusals = Refusals()
        self._missing = MissingRoutes()
        self._fails = False

    @property
    def note(self) -> str:
        """Why it does not tell its models, when it was last asked."""
        return self._models.note

    @property
    def _target(self) -> Target:
        """Where its routes stand, as far as is known."""
        return self._places.current

    async def version(self) -> str:
        """The API's name, once the server has answered: the API has no version to ask for.

        A server whose list fails may still generate: it is there, unless its last generation failed too.
        """
        with suppress(ListFails):
            await self._entries()
        if self._models.fails and self._fails:
            raise ListFails(self.note)
        return "openai"

    def aliases(self) -> frozenset[str]:
        """Further names of its models, when it was last asked."""
        return self._models.aliases()

    def described(self, name: str) -> Mapping[str, Any] | None:
        """A model as the server's own list describes it, when it was last asked."""
        return self._models.last(name)

    async def _post(self, path: str, content: Mapping[str, Any], record: RequestRecord) -> Reply:
        async with self._answer(path, content, record) as response:
            return await response.whole()

    @asynccontextmanager
    async def _answer(
        self, path: str, content: Mapping[str, Any], record: RequestRecord
    ) -> AsyncIterator[UpstreamResponse]:
        """The server's answer to a request made here; asked again without ornaments that it refuses.

        Raises:
            AppError: its own error.
        """
        content, left_out = self._refusals.taken(content), set[str]()
        for _ in range(_TRIES):
            body = await written(content, record.bytes_in)
            async with self._upstream.stream("POST", self._target, self._under(path), record, body) as response:
                self._fails = response.status >= 500
                if response.status == 200:
                    self._refusals.remember(left_out)
                    yield response
                    return
                reply = await response.whole()
            if is_missing_route(reply.status, reply.body) and await self._models.moved():
                continue
            words = words_of(reply.body)
            self._refusals.learn(str(content.get("model")), words)
            lighter = set(self._refusals.lighter(content, reply.status, words)) - left_out
            if not lighter:
                break
            left_out |= lighter
            content = without(content, lighter)
        self._check(reply, path)
        raise AssertionError("a status that is not 200 is an error")

    async def _post_at_root(self, record: RequestRecord, path: str, content: Mapping[str, Any]) -> bytes:
        """The answer of a route that servers have beside those of OpenAI, once; one that is missing stays so a while.

        Raises:
            NotImplementedHere: it has no such route.
            AppError: its own error.
        """
        place = self._target
        if self._missing.has(path, place):
            raise NotImplementedHere(f"This backend has no route {path}.")
        root, body = replace(place, url=place.url.removesuffix(API)), await written(content, record.bytes_in)
        async with self._upstream.stream("POST", root, path, record, body) as response:
            reply = await response.whole()
        if is_missing_route(reply.status, reply.body):
            self._missing.note(path, place)
        self._check(reply, path)
        return reply.body

    async def _entry(self, name: str) -> openai_listing.Entry:
        return await self._models.entry(name)

    async def _entries(self) -> Sequence[openai_listing.Entry]:
        return await self._models.entries()

    def _under(self, path: str) -> str:
        """A path of `/v1` beneath the address, which has the version already."""
        return path.removeprefix(API)

    def _check(self, reply: Reply, path: str = "") -> None:
        """Raise the server's own error."""
        raise_for_status(reply, path)
