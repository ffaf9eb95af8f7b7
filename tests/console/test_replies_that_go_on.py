"""A reply to a stored conversation is nobody's connection: reloads, lost connections and other tabs leave it alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from tests.console.browsing import CONSOLE, Console, assert_accessible, assert_fits
from tests.console.chatting import REFUSED, TEXT, asked, in_order, replies, say
from tests.console.keeping import Owner, owner_of, shows, user
from tests.fakes.forwarder import Forwarder
from tests.fakes.ollama import FakeOllama
from tests.service import Service

pytestmark = CONSOLE

# What Chromium says of a connection that was cut, or cannot be made.
CUT: Final = r"Failed to load resource: net::ERR_"
NOWHERE: Final = 1
LOST: Final = "Connection lost, trying again…"


@pytest.fixture(autouse=True)
def _orderly(fake: FakeOllama) -> None:
    in_order(fake)


@pytest_asyncio.fixture(loop_scope="module", name="way")
async def _way(service: Service) -> AsyncIterator[Forwarder]:
    """A network between browser and service that can be cut."""
    async with Forwarder(urlsplit(service.url).port or 0) as way:
        yield way


@pytest_asyncio.fixture(loop_scope="module", name="far")
async def _far(service: Service, fake: FakeOllama, browser: Browser, way: Forwarder) -> AsyncIterator[Console]:
    """Visits over that network."""
    console = Console(replace(service, url=f"http://127.0.0.1:{way.port}"), fake, browser)
    yield console
    await console.end()


async def said(owner: Owner, fake: FakeOllama) -> Page:
    """A page on which the first two words of a reply have come."""
    page = await owner.visit(f"/conversations?id={await owner.begin()}")
    fake.hold()
    await say(page, "Hi")
    fake.release(2)
    await has_come(page, "Hello from")
    return page


async def has_come(page: Page, text: str) -> None:
    """So much of the only reply is shown, and it can be stopped."""
    await expect(page.locator(".is-live x-markdown")).to_have_text([text])
    await expect(replies(page)).to_have_count(1)
    await expect(page.locator(".is-live").get_by_role("button", name="Stop")).to_be_visible()


async def is_stored(owner: Owner) -> None:
    """The reply is, in the only conversation."""
    async with asyncio.timeout(20):
        while len((await owner.stored())[0]["messages"]) == 1:
            await asyncio.sleep(0.02)


async def streams(owner: Owner) -> list[dict[str, Any]]:
    """Those of the owner."""
    answer = await owner.console.service.stranger.get("/api/llm/streams", headers={"X-API-Key": owner.key})
    found: list[dict[str, Any]] = answer.json()["streams"]
    return found


async def test_a_reload_amid_a_reply_loses_nothing(console: Console, fake: FakeOllama) -> None:
    """The page that was loaded again shows what had come, goes on with it, and asks for no second one."""
    owner = await owner_of(console)
    page = await said(owner, fake)
    await page.reload()
    await has_come(page, "Hello from")
    await expect(page.locator(".question-text")).to_have_text(["Hi"])
    await expect(page.get_by_role("article", name="Reply of llama3:latest")).to_be_visible()
    fake.release()
    await shows(page, ["Hi"], [TEXT])
    [one] = await owner.stored()
    assert [message.get("outcome") for message in one["messages"]] == [None, "done"]
    assert [body["messages"] for body in asked(fake)] == [[user("Hi")]]


@pytest.mark.long
async def test_a_reply_is_seen_and_stopped_in_two_tabs(console: Console, fake: FakeOllama) -> None:
    """Both show it as it comes, and one that was loaded again ends it for both; what had come is stored."""
    owner = await owner_of(console)
    page = await said(owner, fake)
    await page.reload()
    other = await page.context.new_page()
    await other.goto(page.url)
    fake.release(1)
    for tab in (page, other):
        await has_come(tab, "Hello from a")
    await page.get_by_role("button", name="Stop").first.click()
    for tab in (page, other):
        await shows(tab, ["Hi"], ["Hello from a"])
        await expect(tab.get_by_text("Cut short: it was ended")).to_be_visible()
    await expect(other.get_by_text("The reply was ended", exact=True)).to_be_visible()
    await expect(page.locator(".trouble")).to_have_count(0)
    assert len(asked(fake)) == 1


@pytest.mark.long
async def test_a_reply_that_takes_the_place_of_another_is_seen_in_two_tabs(console: Console, fake: FakeOllama) -> None:
    """A tab that opens the conversation meanwhile shows the one that comes, and the one before as an earlier one."""
    owner = await owner_of(console)
    before = {"role": "assistant", "content": "Before"}
    page = await owner.visit(f"/conversations?id={await owner.begin(user('Hi'), before)}")
    fake.hold()
    await page.get_by_role("button", name="Regenerate").click()
    fake.release(1)
    await has_come(page, "Hello")
    other = await page.context.new_page()
    await other.goto(page.url)
    await has_come(other, "Hello")
    fake.release()
    for tab in (page, other):
        await shows(tab, ["Hi"], [TEXT])
        await tab.get_by_text("Earlier replies (1)").click()
        await expect(tab.locator(".earlier-replies x-markdown")).to_have_text(["Before"])
    assert len(asked(fake)) == 1


@pytest.mark.long
async def test_a_reply_is_stopped_before_its_stream_has_an_address(console: Console, fake: FakeOllama) -> None:
    """Whoever stops it while it is being asked for has stopped it; the message stays, and can be asked again."""
    owner = await owner_of(console)
    page = await owner.visit(f"/conversations?id={await owner.begin()}")
    console.watch_of(page).allow(REFUSED)
    fake.hold()
    asking: asyncio.Future[Route] = asyncio.get_running_loop().create_future()
    await page.route("**/messages", lambda route: asking.set_result(route))
    await say(page, "Hi")
    await page.get_by_role("button", name="Stop").first.click()
    await (await asking).continue_()
    await expect(page.get_by_text("No reply came to this.")).to_be_visible()
    [stream] = await streams(owner)
    assert stream["outcome"] == "cancelled"
    fake.release()
    await page.get_by_role("button", name="Ask for one").click()
    await shows(page, ["Hi"], [TEXT])


async def cut_off(far: Console, way: Forwarder, fake: FakeOllama, *more: str) -> tuple[Owner, Page, int]:
    """Who asked, their page, which has lost its connection amid the reply and says so, and where that led to."""
    owner = await owner_of(far)
    page = await said(owner, fake)
    far.watch_of(page).allow(CUT, *more)
    target, way.target = way.target, NOWHERE
    way.cut()
    await expect(page.locator(".is-live .reply-state")).to_have_text(LOST)
    return owner, page, target


async def test_a_lost_connection_is_told_and_survived(far: Console, way: Forwarder, fake: FakeOllama) -> None:
    """The page says that it tries again, and goes on where it was: each word is there once."""
    _, page, target = await cut_off(far, way, fake)
    await expect(page.get_by_role("status").get_by_text(LOST)).to_be_attached()
    await assert_accessible(page)
    await assert_fits(page)
    fake.release(1)
    way.target = target
    await has_come(page, "Hello from a")
    await expect(page.locator(".is-live .reply-state")).to_have_text("Writing…")
    way.cut()
    fake.release()
    await shows(page, ["Hi"], [TEXT])
    assert len(asked(fake)) == 1


@pytest.mark.long
async def test_a_stream_that_is_forgotten_is_told_and_what_is_stored_is_shown(
    far: Console, way: Forwarder, fake: FakeOllama
) -> None:
    """The service kept the reply, but not its stream: the page says so, and shows the reply."""
    owner, page, target = await cut_off(far, way, fake, REFUSED)
    fake.release()
    async with asyncio.timeout(20):
        while (stream := (await streams(owner))[0])["outcome"] is None:
            await asyncio.sleep(0.02)
    await far.service.stranger.delete(stream["url"], headers={"X-API-Key": owner.key})
    way.target = target
    await shows(page, ["Hi"], [TEXT])
    await expect(page.locator(".trouble").get_by_text("It is not there any more")).to_be_visible()
    await assert_accessible(page)


@pytest.mark.long
async def test_a_reply_is_let_go_of_where_it_cannot_be_stopped(far: Console, way: Forwarder, fake: FakeOllama) -> None:
    """Without a connection "Stop" ends the trying; once it is there again, what became of the reply is shown."""
    owner, page, target = await cut_off(far, way, fake)
    await page.get_by_role("button", name="Stop").first.click()
    await expect(page.locator(".trouble").get_by_text("The service cannot be reached").first).to_be_visible()
    await expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    fake.release()
    await is_stored(owner)
    way.target = target
    await page.reload()
    await shows(page, ["Hi"], [TEXT])


@pytest.mark.long
async def test_a_connection_that_was_lost_without_a_word_is_noticed(
    far: Console, way: Forwarder, fake: FakeOllama
) -> None:
    """After a minute of silence the page asks again: the model's silence costs nothing, the network's is told."""
    owner = await owner_of(far)
    page = await owner.visit(f"/conversations?id={await owner.begin()}")
    far.watch_of(page).allow(CUT)
    await page.clock.install()
    fake.hold()
    await say(page, "Hi")
    fake.release(2)
    await has_come(page, "Hello from")
    async with page.expect_response("**/streams/*?after=2"):
        await page.clock.fast_forward(61_000)
    await expect(page.locator(".is-live .reply-state")).to_have_text("Writing…")
    way.silent = True
    fake.release(1)
    async with page.expect_request("**/streams/*?after=2"):
        await page.clock.fast_forward(61_000)
    await page.clock.fast_forward(61_000)
    await expect(page.locator(".is-live .reply-state")).to_have_text(LOST)
    way.silent = False
    await has_come(page, "Hello from a")
    await expect(page.locator(".is-live .reply-state")).to_have_text("Writing…")
    fake.release()
    await shows(page, ["Hi"], [TEXT])


@pytest.mark.long
async def test_nobody_tries_for_ever(far: Console, way: Forwarder, fake: FakeOllama) -> None:
    """Two minutes without the service, at a few tries, and the page gives up and says so; what had come stays."""
    owner = await owner_of(far)
    page = await owner.visit(f"/conversations?id={await owner.begin()}")
    far.watch_of(page).allow(CUT)
    await page.clock.install()
    fake.hold()
    await say(page, "Hi")
    fake.release(2)
    await has_come(page, "Hello from")
    way.target = NOWHERE
    way.cut()
    await expect(page.locator(".is-live .reply-state")).to_have_text(LOST)
    tries: list[str] = []
    page.on("requestfailed", lambda request: tries.append(request.url))
    seconds = 0
    while not await page.locator(".trouble").count():
        await page.clock.fast_forward(1000)
        seconds += 1
    await expect(page.locator(".trouble").get_by_text("The service cannot be reached").first).to_be_visible()
    await expect(replies(page).locator("x-markdown")).to_have_text(["Hello from"])
    await expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    assert 100 <= seconds <= 200
    assert len([url for url in tries if "/streams/" in url]) <= 30


@pytest.mark.long
async def test_a_reply_that_ends_between_two_requests_is_shown_once(console: Console, fake: FakeOllama) -> None:
    """Its stream ran when the page asked for streams, and it is stored when the page reads the conversation."""
    owner = await owner_of(console)
    page = await said(owner, fake)

    async def late(route: Route) -> None:
        answer = await route.fetch()
        fake.release()
        await is_stored(owner)
        await route.fulfill(response=answer)

    await page.route("**/api/llm/streams", late)
    await page.reload()
    await shows(page, ["Hi"], [TEXT])
    await expect(page.locator(".is-live")).to_have_count(0)
    assert len(asked(fake)) == 1
