"""Backends that come and go: what is kept of those that stay, and which files are taken."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mlops_backend.errors import NotFound, NoUsableBackend
from mlops_backend.services.llm.backends import named as named_module
from mlops_backend.services.llm.backends.builder import BackendBuilder
from mlops_backend.services.llm.backends.described import Described
from mlops_backend.services.llm.backends.named import NamedBackends
from mlops_backend.services.llm.backends.news import OwnNews
from mlops_backend.services.llm.backends.pool import MOST_DRAINED, BackendPool
from mlops_backend.services.llm.upstream.client import Upstream
from mlops_backend.setting_backends import BackendSetting, UnusableFile
from tests.settings import settings_for
from tests.unit.backends.test_late_backends import Listing, pooled

A = BackendSetting("a", "http://a:1", "ollama", source="file")
B = BackendSetting("b", "http://b:1", "openai", "key", source="file")


def listing(name: str, *, at_once: bool = True) -> Any:
    """A backend that lists `llama3`, and is asked for nothing else here."""
    return Listing(name, at_once=at_once)


@pytest.fixture
async def builder() -> AsyncIterator[BackendBuilder]:
    """One that builds for a client which is never used."""
    upstream = Upstream(max_connections=1, connect_timeout=0.05, user_agent="test")
    await upstream.open()
    yield BackendBuilder(upstream, {"*": frozenset({"completion"})})
    await upstream.aclose()


async def test_what_stays_is_the_same_object(builder: BackendBuilder) -> None:
    """Also under another name, bound or weight; what is asked in another way is a new one."""
    first = builder.build([A, B])
    second = builder.build([replace(B, name="c", most=2, weight=3.0, tags=("x",)), replace(A, host_header="h")])
    assert second[0] == Described(first[1].backend, "c", 2, 3.0, ("x",), "file")
    assert second[1].backend is not first[0].backend
    assert builder.build([A])[0].backend is not first[0].backend, "it was gone meanwhile"


async def test_names_are_one_each(builder: BackendBuilder) -> None:
    """Addresses that differ in their credentials alone have one mask, and are told apart by a number."""
    settings = settings_for(openai_backends="http://:one@b:1,http://:two@b:1,http://c:1")
    assert [each.name for each in builder.build(settings.named_backends(""))] == [
        "http://***@b:1",
        "http://***@b:1 (2)",
        "http://c:1",
    ]


async def test_a_key_travels_in_a_header(builder: BackendBuilder) -> None:
    """As a bearer's token, for either kind, beside the host that it wants to be called by; the address has no trace."""
    for kind in ("ollama", "openai"):
        (made,) = builder.build([replace(B, kind=kind, host_header="local:1")])
        target = made.backend._target  # type: ignore[attr-defined]
        assert dict(target.headers) == {"Authorization": "Bearer key", "Host": "local:1"}
        assert made.backend.address == "http://b:1"


async def test_what_is_known_stays_with_what_stays() -> None:
    """No backend that stays is asked anew; one that comes is, and one that goes is not asked any more."""
    one, two, three = listing("one"), listing("two"), listing("three")
    async with pooled(one, two) as pool:
        before = {probe.backend: probe for probe in await pool.probe()}
        pool.use([Described(two, "renamed"), three])
        after = {probe.backend: probe for probe in await pool.probe()}
        assert after.keys() == {two, three}
        assert after[two] is before[two]
        assert [state.described.name for state in await pool.states()] == ["renamed", "three"]


async def test_backends_may_change_while_they_are_looked_at() -> None:
    """Who waits for a look at one that has gone gets it; the new ones are looked at by the next."""
    slow, new = listing("slow", at_once=False), listing("new")
    async with pooled(slow) as pool:
        looking = asyncio.create_task(pool.states())
        await asyncio.sleep(0)
        pool.use([new])
        slow.may.set()
        assert [state.described.name for state in await looking] == ["slow"]
        assert [state.described.name for state in await pool.states()] == ["new"]


async def test_a_drained_backend_gets_no_generation() -> None:
    """Others that have the model do; where there is no other, that is said; what is no generation reaches it."""
    one, two = listing("one"), listing("two")
    async with pooled(one, two) as pool:
        await pool.probe()
        pool.drain("one", drained=True)
        for _ in range(3):
            assert (await pool.candidates("llama3")).left == [two]
            assert (await pool.candidates("")).left == [two]
        assert (await pool.candidates("unlisted")).left == [two]
        assert (await pool.candidates("llama3", in_order=True)).left == [one, two]
        assert await pool.unreachable() is None
        pool.drain("two", drained=True)
        for model in ("llama3", "unlisted", ""):
            with pytest.raises(NoUsableBackend, match="drained"):
                await pool.candidates(model)
        assert "drained" in (await pool.unreachable() or "")
        pool.drain("one", drained=False)
        assert (await pool.candidates("llama3")).left == [one]


async def test_a_drained_backend_does_not_hide_one_that_is_late() -> None:
    """While nothing is known of the others, they are waited for."""
    one, late = listing("one"), listing("late", at_once=False)
    async with pooled(one, late) as pool:
        pool.drain("one", drained=True)
        asked = asyncio.create_task(pool.candidates("llama3"))
        await asyncio.sleep(0.01)
        late.may.set()
        assert (await asked).left == [late]


async def test_the_only_backend_may_be_drained() -> None:
    """Though nobody is asked what it has."""
    async with pooled(listing("one")) as pool:
        pool.drain("one", drained=True)
        with pytest.raises(NoUsableBackend, match="drained"):
            await pool.candidates("llama3")
        assert len((await pool.candidates("llama3", in_order=True)).left) == 1


async def test_drains_are_kept_within_bounds() -> None:
    """Also for a backend that is taken out and put back; of too many the oldest is forgotten."""
    one = listing("one")
    async with pooled(one) as pool:
        pool.drain("one", drained=True)
        pool.use([])
        pool.use([one])
        assert pool.state("one").drained
        for number in range(MOST_DRAINED):
            pool.drain(f"n{number}", drained=True)
        assert not pool.state("one").drained
        with pytest.raises(NotFound):
            pool.state("two")


class Followed:
    """A file that is followed, and what came of it."""

    def __init__(self, file: Path, builder: BackendBuilder) -> None:
        self.file = file
        self.pool = BackendPool(timeout=0.05)
        self.parsed = 0
        self.fails: Exception | None = None
        self.settings = settings_for(backends_file=str(file))
        self.named = NamedBackends(str(file), self._parse, builder, self.pool, OwnNews(self.pool))

    def _parse(self, text: str) -> tuple[BackendSetting, ...]:
        self.parsed += 1
        if self.fails is not None:
            raise self.fails
        return self.settings.named_backends(text)

    @property
    def names(self) -> list[str]:
        """Those that the pool has."""
        return [look.described.name for look in self.pool._looks]


def table(name: str, more: str = "") -> str:
    """A backend in a file; nothing listens there."""
    return f'[[backend]]\nname = "{name}"\nurl = "http://127.0.0.1:9/{name}"\nkind = "ollama"\n{more}\n'


@pytest.fixture
async def followed(tmp_path: Path, builder: BackendBuilder, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Followed]:
    """A file with one backend, looked at very often."""
    monkeypatch.setattr(named_module, "POLL", 0.01)
    file = tmp_path / "backends.toml"
    file.write_text(table("a"))
    made = Followed(file, builder)
    made.pool.use(await made.named.first())
    made.named.follow([Described(listing("engine"), "engine")])
    yield made
    await made.named.aclose()
    await made.pool.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_file_that_changes_is_read(followed: Followed) -> None:
    """Written in place, replaced by another one, or the file behind a link changed for another one."""
    file = followed.file
    file.write_text(table("a") + table("b"))
    await until(lambda: followed.names == ["a", "b", "engine"])
    other = file.with_suffix(".new")
    other.write_text(table("c"))
    other.replace(file)
    await until(lambda: followed.names == ["c", "engine"])
    other.write_text(table("d"))
    file.unlink()
    file.symlink_to(other)
    await until(lambda: followed.names == ["d", "engine"])


async def test_a_file_that_stays_is_not_read(followed: Followed) -> None:
    """However often it is looked at."""
    await asyncio.sleep(0.1)
    assert followed.parsed == 1


async def test_a_file_that_cannot_be_used_changes_nothing(followed: Followed) -> None:
    """It is said once, with its line, and known to administrators until the file is right again."""
    with capture_logs() as logs:
        followed.file.write_text(table("b", "max_concurrency = 0"))
        await until(lambda: bool(followed.named.trouble))
        followed.named.reread()
        await until(lambda: followed.parsed >= 3)
        assert followed.names == ["a"]
        followed.file.write_text(table("a"))
        await until(lambda: not followed.named.trouble)
    told = [entry for entry in logs if entry["event"] == "backends_file_unusable"]
    assert [entry["reason"].partition(" must")[0] for entry in told] == ["backends.toml, line 5: max_concurrency"]
    assert [entry["log_level"] for entry in told] == ["error"]


async def test_a_file_that_is_gone_changes_nothing(followed: Followed) -> None:
    """Nor one that is empty, or a folder."""
    followed.file.unlink()
    await until(lambda: "cannot be read" in followed.named.trouble)
    followed.file.mkdir()
    await until(lambda: "is no file" in followed.named.trouble)
    followed.file.rmdir()
    followed.file.write_text("")
    await until(lambda: "there is no [[backend]]" in followed.named.trouble)
    assert followed.names == ["a"]


async def test_half_a_file_is_not_read(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it grows: nobody takes a backend for gone that is only not written yet."""
    monkeypatch.setattr(named_module, "POLL", 0.1)
    await asyncio.sleep(0.05)
    with followed.file.open("w") as file, capture_logs() as logs:
        for number in range(30):
            file.write(table(f"n{number}"))
            file.flush()
            await asyncio.sleep(0.01)
            assert followed.names == ["a"]
    await until(lambda: len(followed.names) == 31)
    assert not [entry for entry in logs if entry["event"] == "backends_file_unusable"]


async def test_who_is_told_reads_at_once(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when nothing has changed of the file: its keys may have."""
    monkeypatch.setattr(named_module, "POLL", 30)
    await asyncio.sleep(0.05)
    followed.named.reread()
    await until(lambda: followed.parsed == 2)
    assert followed.names == ["a"]
    followed.file.write_text(table("b"))
    followed.named.reread()
    await until(lambda: followed.names == ["b", "engine"])


async def test_nothing_ends_the_looking(followed: Followed) -> None:
    """Whatever goes wrong, it is told, and the next file is read."""
    followed.fails = RuntimeError("a fault of ours")
    os.utime(followed.file, (1, 1))
    await until(lambda: followed.named.trouble == "a fault of ours")
    followed.file.write_text(table("b"))
    await asyncio.sleep(0.05)
    assert followed.names == ["a"]
    followed.fails = None
    await until(lambda: followed.names == ["b", "engine"])


async def test_a_file_that_cannot_be_used_at_start(followed: Followed) -> None:
    """Is refused."""
    followed.file.write_text("nonsense")
    with pytest.raises(UnusableFile, match="line 1"):
        await followed.named.first()
