"""Many writers of stored conversations, who leave when they like and remember what they were told."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any, Final

from tests.e2e.raw_client import RawClient
from tests.fakes.ollama import Mode
from tests.service import ORDINARY_KEY, Service
from tests.stored_conversations import CONVERSATIONS, PICTURES, echo_of, heard

WRITERS: Final = 50
# Of the conversations that all write to, nobody cuts or deletes the first three; others have five writers each.
SAFE: Final = 3
SHARED: Final = 5
PLACES: Final = SHARED + WRITERS // 5
ANSWERS: Final = {200, 201, 204, 404, 409, 412}


@dataclass
class Answer:
    """What a writer that stayed was answered; of one that left in the middle only the head."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def told(self) -> dict[str, Any]:
        """The body's one object."""
        return dict(json.loads(self.body))


@dataclass(frozen=True)
class Change:
    """A change that was acknowledged: from the version that `If-Match` named, if it named one, to `version`.

    `asked_at` is the version at which a reply got its place.
    """

    conversation: str
    version: int
    named: int | None
    message_ids: tuple[str, ...] = ()
    asked_at: int | None = None

    @property
    def place(self) -> float:
        """What grows along a conversation: a message's version, or a little more than its question's."""
        return self.version if self.asked_at is None else self.asked_at + 0.5


@dataclass(frozen=True)
class Cut:
    """A truncation: behind the place of a message, 0 for all; `version` if it was acknowledged."""

    conversation: str
    behind: float
    version: int | None


@dataclass
class Crowd:
    """What all writers share, and what they were told."""

    services: list[Service]
    places: list[str] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    made: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    doomed: set[str] = field(default_factory=set)
    words: list[str] = field(default_factory=list)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def note(self, change: Change) -> None:
        """A change was acknowledged."""
        self.known[change.conversation] = max(change.version, self.known.get(change.conversation, 0))
        self.changes.append(change)


async def exchange(
    url: str, method: str, path: str, body: Any, headers: Mapping[str, str], leaving: tuple[float, int, bool] | None
) -> Answer | None:
    """One request on a connection of its own.

    Args:
        leaving: seconds to wait before leaving, chunks to read before, and whether with a RST; `None`: stay.
    """
    async with await RawClient.connect(url) as client:
        await client.request(method, path, body, X_API_Key=ORDINARY_KEY, Connection="close", **headers)
        answer = None
        if leaving is None or leaving[1]:
            lines = (await client._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            named = (line.partition(": ") for line in lines[1:] if line)
            answer = Answer(int(lines[0].split(" ")[1]), {name.lower(): value for name, _, value in named})
        if leaving is None:
            assert answer is not None
            answer.body = unchunked(await client.at_end(), answer.headers)
            return answer
        seconds, chunks, with_reset = leaving
        if answer is not None and "transfer-encoding" in answer.headers:
            for _ in range(chunks):
                with suppress(asyncio.IncompleteReadError):
                    await client.chunk()
        await asyncio.sleep(seconds)
        await (client.reset() if with_reset else client.leave())
        return answer


def unchunked(data: bytes, headers: Mapping[str, str]) -> bytes:
    """A body as it was before it was sent in chunks."""
    if "transfer-encoding" not in headers:
        return data
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return body


def version_of(answer: Answer) -> int:
    """The version that `ETag` tells."""
    return int(answer.headers["etag"].strip('"'))


class Writer:
    """One of many: does whatever it is told by its dice until the time is over."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self._crowd = crowd
        self._number = number
        self._dice = Random(number)
        self._said = 0

    async def write(self, until: float) -> None:
        """Change one conversation after the other."""
        kinds: dict[Callable[[int], Awaitable[None]], int] = {
            self._ask: 34,
            self._append: 20,
            self._again: 14,
            self._rename: 9,
            self._truncate: 8,
            self._begin_anew: 4,
            self._read: 11,
        }
        while monotonic() < until:
            (kind,) = self._dice.choices(list(kinds), list(kinds.values()))
            own = SHARED + self._number // 5
            await kind(self._dice.randrange(SHARED) if self._dice.random() < 0.6 else own)

    async def _send(
        self, kind: str, method: str, path: str, body: Any = None, named: int | None = None
    ) -> Answer | None:
        """Send a request; nothing comes back when it was left, or when somebody else was faster."""
        service = self._dice.choice(self._crowd.services)
        leaving = None
        if self._dice.random() < 0.25 and kind not in {"begin", "read"}:
            leaving = (self._dice.random() * 0.02, self._dice.choice([0, 0, 1, 2]), self._dice.random() < 0.5)
        headers = {} if named is None else {"If_Match": f'"{named}"'}
        answer = await exchange(service.url, method, path, body, headers, leaving)
        self._crowd.left[kind] += leaving is not None
        if answer is None:
            return None
        self._crowd.statuses[kind, answer.status] += 1
        if answer.status not in ANSWERS:
            self._crowd.wrong.append(f"{kind} {path}: {answer.status} {answer.body[:300]!r}")
        return answer if answer.status < 300 else None

    def _path(self, place: int) -> tuple[str, str]:
        name = self._crowd.places[place]
        return name, f"{CONVERSATIONS}/{name}"

    def _named(self, conversation: str) -> int | None:
        return self._crowd.known.get(conversation) if self._dice.random() < 0.4 else None

    def _text(self) -> str:
        """A text with a word that no other one has; some name how the reply is to end."""
        self._said += 1
        word = f"w{self._number}n{self._said}"
        self._crowd.words.append(word)
        mode = self._dice.choice([*[Mode.NORMAL] * 5, Mode.SLOW_TOKENS, Mode.CUT_MID_STREAM])
        return f"{word} {'' if mode is Mode.NORMAL else mode.name} tell me more"

    async def _ask(self, place: int) -> None:
        name, path = self._path(place)
        named, text = self._named(name), self._text()
        streamed = Mode.CUT_MID_STREAM.name in text or self._dice.random() < 0.75
        body: dict[str, Any] = {"content": text, "stream": streamed}
        if self._dice.random() < 0.1:
            body["images"] = [base64.b64encode(PICTURES[0]).decode()]
        answer = await self._send("ask", "POST", f"{path}/messages", body, named)
        if answer is not None:
            self._crowd.note(Change(name, version_of(answer), named, (answer.headers["x-message-id"],)))
            self._note_reply(name, answer)

    async def _again(self, place: int) -> None:
        name, path = self._path(place)
        answer = await self._send("again", "POST", f"{path}/regenerate", {}, self._named(name))
        if answer is not None:
            self._note_reply(name, answer)

    def _note_reply(self, name: str, answer: Answer) -> None:
        if not answer.body:
            return
        told = heard(answer.body).place
        if told["stored"]:
            self._crowd.note(Change(name, told["version"], None, (told["reply_id"],), version_of(answer)))

    async def _append(self, place: int) -> None:
        name, path = self._path(place)
        pictures = [
            base64.b64encode(each).decode() for each in self._dice.sample(PICTURES, self._dice.choice([0, 0, 1, 2]))
        ]
        roles = self._dice.choice([["user"], ["user", "assistant"], ["system"], ["assistant"]])
        said = [{"role": role, "content": self._text(), "images": pictures} for role in roles]
        named = self._named(name)
        answer = await self._send("append", "POST", f"{path}/append", {"messages": said}, named)
        if answer is not None and answer.body:
            ids = tuple(message["id"] for message in answer.told["messages"])
            self._crowd.note(Change(name, answer.told["version"], named, ids))

    async def _rename(self, place: int) -> None:
        name, path = self._path(place)
        named = self._named(name)
        answer = await self._send("rename", "PATCH", path, {"title": self._text()}, named)
        if answer is not None and answer.body:
            self._crowd.note(Change(name, answer.told["version"], named))

    async def _truncate(self, place: int) -> None:
        if place < SAFE:
            return
        name, path = self._path(place)
        mine = [change for change in self._crowd.changes if change.conversation == name and change.message_ids][-4:]
        last = self._dice.choice(mine) if mine and self._dice.random() < 0.9 else Change("", 0, None, ())
        named, after = self._named(name), last.message_ids[-1] if last.message_ids else None
        number = len(self._crowd.cuts)
        self._crowd.cuts.append(Cut(name, last.place, None))
        answer = await self._send("truncate", "POST", f"{path}/truncate", {"after": after}, named)
        if answer is not None and answer.body:
            self._crowd.cuts[number] = Cut(name, last.place, answer.told["version"])
            self._crowd.note(Change(name, answer.told["version"], named))

    async def _begin_anew(self, place: int) -> None:
        if place < SAFE:
            return
        name, path = self._path(place)
        self._crowd.doomed.add(name)
        answer = await self._send("delete", "DELETE", path, None, self._named(name))
        if answer is not None:
            self._crowd.deleted.add(name)
        await self.begin(place)

    async def begin(self, place: int) -> None:
        """Begin a conversation in this place."""
        said = [{"role": "user", "content": self._text(), "images": [base64.b64encode(PICTURES[1]).decode()]}]
        answer = await self._send("begin", "POST", CONVERSATIONS, {"messages": self._dice.choice([[], said])})
        if answer is not None:
            name = answer.told["id"]
            self._crowd.places[place] = name
            self._crowd.made.add(name)
            ids = tuple(each["id"] for each in answer.told["messages"])
            self._crowd.note(Change(name, answer.told["version"], None, ids))

    async def _read(self, place: int) -> None:
        answer = await self._send("read", "GET", f"{self._path(place)[1]}?replaced=true")
        if answer is not None:
            self._crowd.wrong += faults_of(answer.told["messages"])
        await self._send("read", "GET", f"{CONVERSATIONS}?search={self._dice.choice(self._crowd.words)}")


def faults_of(messages: list[dict[str, Any]]) -> list[str]:
    """What is wrong with a history: a reply that does not reply to the question before it, or a second current one."""
    found, question, current = [], "", 0
    for message in messages:
        if message["role"] == "user":
            question, current = message["content"], 0
        elif "outcome" in message:
            whole = "".join(echo_of(question))
            fits = message["content"] == whole if message["outcome"] == "done" else whole.startswith(message["content"])
            current += "replaced_at" not in message
            if not question or not fits or current > 1:
                found.append(f"{message} behind {question!r}, current: {current}")
    if len({message["id"] for message in messages}) != len(messages):
        found.append("a message stands there twice")
    return found
