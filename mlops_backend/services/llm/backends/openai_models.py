"""The models of one server of the OpenAI API: where its list stands, what it said last, what the operator says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from mlops_backend.errors import AppError, BackendNonsense, BackendRejected
from mlops_backend.services.llm.backends.openai_address import API, Places
from mlops_backend.services.llm.backends.statuses import ListFails, NoList, raise_for_status, words_of
from mlops_backend.services.llm.dialects.openai import listing
from mlops_backend.services.llm.model_names import canonical
from mlops_backend.services.llm.upstream import Reply, Target, Upstream

_LIST: Final = "/models"
_LM_STUDIO: Final = "/api/v0/models"
_OK: Final = 200
_MISSING: Final = (404, 405)
_FAILED: Final = 500
_ADVICE: Final = " OPENAI_BACKENDS can name them, as model=NAME behind the address."


class ServedModels:
    """What one server has.

    Args:
        places: where its list may stand.
        upstream: the shared client.
        named: names of models that the operator says it has.
    """

    def __init__(self, places: Places, upstream: Upstream, named: Sequence[str] = ()) -> None:
        self._places = places
        self._upstream = upstream
        self._named = named
        self._listed: Sequence[listing.Entry] = ()
        self._served: Mapping[str, listing.Entry] | None = None
        self.note = ""
        self.fails = False

    async def entries(self) -> Sequence[listing.Entry]:
        """Its models, as it lists them, and those that the operator names.

        `note` is a sentence for the operator where the server does not tell its list, `fails` says that it has one and
        fails to.

        Raises:
            ListFails: the list fails, and the operator names none.
            AppError: the server does not answer.
        """
        self.fails = False
        try:
            self._listed, self.note = await self._told(), ""
        except ListFails as error:
            self.fails, self.note = True, error.message
            if not self._named:
                raise
        except NoList as error:
            self._listed, self.note = (), error.message
        known = _by_name(self._listed)
        added = [listing.bare(name) for name in self._named if canonical(name) not in known]
        self._served = {**_by_name(added), **known}
        return [*self._listed, *added]

    async def entry(self, name: str) -> listing.Entry:
        """A model as the server lists it now, under any of its names.

        Raises:
            BackendRejected: it has no such model.
        """
        await self.entries()
        if (found := self.last(name)) is None:
            raise BackendRejected(404, f"model '{name}' not found")
        return found

    async def known(self, name: str) -> listing.Entry:
        """The same as it was told last, empty for an unknown one; the server is asked when it never was before."""
        if self._served is None:
            self._served = {}
            with suppress(AppError):  # it will be told of the request itself
                await self.entries()
        return self.last(name) or {}

    async def moved(self) -> bool:
        """Whether the server's routes stand elsewhere than they did: it may have been started with other options."""
        before = self._places.current
        if self._places.several:
            with suppress(AppError):
                await self.entries()
        return self._places.current is not before

    def last(self, name: str) -> listing.Entry | None:
        """The same as it was told last, if ever."""
        return (self._served or {}).get(canonical(name))

    def aliases(self) -> frozenset[str]:
        """Further names of what was told last, in the one spelling that names are compared in."""
        served = (self._served or {}).items()
        return frozenset(name for name, entry in served if name != canonical(listing.name_of(entry)))

    async def _told(self) -> Sequence[listing.Entry]:
        """The server's own list, from where it stands; that place is asked first from then on.

        Raises:
            NoList: there is none in any place; while the server is away, or fails, nothing is decided.
        """
        tried: list[str] = []
        for place in self._places.in_turn():
            reply = await self._upstream.request("GET", place, _LIST)
            found = None if reply.status in _MISSING else self._read(reply, elsewhere=bool(tried))
            if found is not None:
                self._places.settle(place)
                return await self._with_more(place, found)
            tried.append(urlsplit(place.url).path + _LIST)
        self._places.forget()
        advice = "" if self._named else _ADVICE
        raise NoList(f"The server does not tell its models: there is no {' and no '.join(tried)}.{advice}")

    def _read(self, reply: Reply, *, elsewhere: bool) -> Sequence[listing.Entry] | None:
        """A list; none where a server that has none `elsewhere` shows something else, as it may for any path."""
        if reply.status >= _FAILED:
            raise ListFails(f"The backend's list of models fails: {words_of(reply.body)}")
        try:
            raise_for_status(reply)
            return listing.entries(reply.body)
        except BackendNonsense:
            if elsewhere:
                return None
            raise

    async def _with_more(self, place: Target, found: Sequence[listing.Entry]) -> Sequence[listing.Entry]:
        """The same with what LM Studio tells only in a list of its own: kind, capabilities, context."""
        if not any(listing.may_be_lm_studios(entry) for entry in found):
            return found
        root = replace(place, url=place.url.removesuffix(API))
        with suppress(AppError):
            reply = await self._upstream.request("GET", root, _LM_STUDIO)
            if reply.status == _OK:
                return listing.with_more(found, listing.entries(reply.body))
        return found


def _by_name(entries: Sequence[listing.Entry]) -> dict[str, listing.Entry]:
    """Models by all of their names; one that another model has for its own is no alias."""
    aliases = {canonical(alias): entry for entry in entries for alias in listing.names_of(entry)}
    return {**aliases, **{canonical(listing.name_of(entry)): entry for entry in entries}}
