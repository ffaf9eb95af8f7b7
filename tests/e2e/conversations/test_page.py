"""The example of a front end, `docs/examples/conversation.html`, used in a browser as a reader of the docs uses it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from tests.e2e.pages import Watched, chromium
from tests.e2e.processes import REPOSITORY
from tests.fakes.http11 import Connection, Reply, Request
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.fakes.ollama_modes import ODD_WORDS
from tests.fakes.server import RecordingServer
from tests.service import ORDINARY_KEY, Service, serving, settings_for

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

EXAMPLE: Final = REPOSITORY / "docs" / "examples" / "conversation.html"
ROUTE: Final = "/api/database/conversations"
TEXT: Final = "".join(DEFAULT_WORDS).strip()
# What is said of an answer with an error's status, which the page tells its reader.
EXPECTED: Final = "Failed to load resource: the server responded with a status of "
MARKUP: Final = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
# A network that gives the page one byte at a time.
BYTE_BY_BYTE: Final = """
const whole = window.fetch;
window.fetch = async (...request) => {
  const response = await whole(...request);
  const bytes = new TransformStream({
    transform: (chunk, next) => chunk.forEach((byte) => next.enqueue(new Uint8Array([byte]))),
  });
  return new Response(response.body?.pipeThrough(bytes), response);
};
"""


class Example(RecordingServer):
    """An origin that serves the page, as `python -m http.server` does."""

    async def answer(self, connection: Connection, request: Request) -> None:
        """The page, whatever the path."""
        await connection.send(Reply(200, "text/html", EXAMPLE.read_bytes()))

    def counts(self, request: Request) -> bool:
        """No page is counted."""
        return False


@dataclass(frozen=True, eq=False)
class Visitor:
    """Somebody before the page, which is connected to the service."""

    page: Page
    fake: FakeOllama
    service: Service

    @property
    def status(self) -> Locator:
        """Where the page tells what happened."""
        return self.page.get_by_role("status")

    @property
    def field(self) -> Locator:
        """Where messages are written."""
        return self.page.get_by_label("Message", exact=True)

    @property
    def links(self) -> Locator:
        """The list of conversations."""
        return self.page.locator("#list a")

    async def write(self, text: str) -> None:
        """Send a message by the Enter key."""
        await self.field.fill(text)
        await self.page.keyboard.press("Enter")

    async def press(self, button: str, answer: str | None = None) -> None:
        """Press a button, and answer what is asked then."""
        if answer is not None:
            self.page.once("dialog", lambda dialog: dialog.accept(answer))
        await self.page.get_by_role("button", name=button).click()

    async def find(self, words: str) -> None:
        """Search."""
        await self.page.get_by_label("Search").fill(words)
        await self.page.keyboard.press("Enter")

    async def sees(self, *texts: str | re.Pattern[str]) -> None:
        """These messages are shown, and nothing is under way."""
        await expect(self.page.get_by_role("button", name="Send")).to_be_visible()
        await expect(self.page.locator("#messages p")).to_have_text(texts)

    async def sees_cut(self, text: str, why: str) -> None:
        """The last message is this text, marked as cut short."""
        last = self.page.locator("#messages li").last
        await expect(last).to_have_class("assistant cut")
        await expect(last.locator("p")).to_have_text(text)
        await expect(last.locator("small")).to_have_text(f"Cut short: {why}.")

    async def stored(self) -> list[dict[str, Any]]:
        """The key's conversations, with their messages."""
        found = (await self.service.client.get(ROUTE)).json()["conversations"]
        return [(await self.service.client.get(f"{ROUTE}/{one['id']}")).json() for one in found]

    def sent(self) -> list[list[str]]:
        """What each request to the model had as its messages."""
        chats = [request.json() for request in self.fake.requests if request.path == "/api/chat"]
        return [[message["content"].strip() for message in chat["messages"]] for chat in chats]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="browser")
async def _browser() -> AsyncIterator[Browser]:
    """One browser for all tests."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(browser: Browser) -> AsyncIterator[Visitor]:
    """The page, from an origin of its own; at the end it has complained of nothing and told nobody the key."""
    async with (
        FakeOllama() as fake,
        Example() as example,
        serving(settings_for(fake.url, allowed_origins=example.url)) as service,
        await browser.new_context() as context,
    ):
        context.set_default_timeout(5_000)
        page = await context.new_page()
        watched = Watched(page)
        await page.goto(example.url)
        await page.get_by_label("Address").fill(service.url)
        await page.get_by_label("Key").fill(ORDINARY_KEY)
        await page.get_by_role("button", name="Connect").click()
        yield Visitor(page, fake, service)
        assert [complaint for complaint in watched.complaints if not complaint.startswith(EXPECTED)] == []
        origins = (f"{example.url}/", f"{service.url}/", "data:")
        assert [url for url in watched.requests if not url.startswith(origins)] == []
        assert not [url for url in [page.url, *watched.requests] if ORDINARY_KEY in url]


async def test_a_conversation_goes_on_after_a_reload(visitor: Visitor) -> None:
    """The model is sent every turn before; a reload shows the same conversation, and it goes on."""
    await visitor.write("I am Ada.")
    await visitor.sees("I am Ada.", TEXT)
    await visitor.write("Who am I?")
    await visitor.sees("I am Ada.", TEXT, "Who am I?", TEXT)
    await expect(visitor.field).to_have_value("")
    await visitor.page.reload()
    await visitor.sees("I am Ada.", TEXT, "Who am I?", TEXT)
    await visitor.write("And now?")
    await visitor.sees("I am Ada.", TEXT, "Who am I?", TEXT, "And now?", TEXT)
    turns = ["I am Ada.", TEXT, "Who am I?", TEXT, "And now?"]
    assert visitor.sent() == [turns[:1], turns[:3], turns]
    assert len((await visitor.stored())[0]["messages"]) == 6


async def test_a_stopped_reply_keeps_what_came(visitor: Visitor) -> None:
    """A reply is shown as it comes; Stop ends it in the backend too, and what came is there after a reload, marked."""
    visitor.fake.hold()
    await visitor.write("Hi")
    visitor.fake.release(2)
    await expect(visitor.page.locator("#messages p").last).to_have_text("Hello from")
    await visitor.press("Stop")
    await visitor.fake.wait_for_disconnect()
    await expect(visitor.status).to_have_text("Stopped.")
    await visitor.sees_cut("Hello from", "client_gone")
    await visitor.page.reload()
    await visitor.sees_cut("Hello from", "client_gone")
    visitor.fake.release()
    await visitor.press("Regenerate")
    await visitor.sees("Hi", TEXT)
    assert visitor.sent() == [["Hi"], ["Hi"]]


async def test_a_reload_in_the_middle_keeps_what_came(visitor: Visitor) -> None:
    """A page that is loaded again while a reply comes shows what had come of it."""
    visitor.fake.hold()
    await visitor.write("Hi")
    visitor.fake.release(1)
    await expect(visitor.page.locator("#messages p").last).to_have_text("Hello")
    await visitor.page.reload()
    await visitor.sees_cut("Hello", "client_gone")


async def test_stop_before_the_first_word(visitor: Visitor) -> None:
    """Of a reply that had not begun nothing is kept; the message is, and is not offered again."""
    visitor.fake.hold()
    await visitor.write("Hi")
    await visitor.fake.wait_for_request("/api/chat")
    await visitor.press("Stop")
    await visitor.sees("Hi")
    await expect(visitor.field).to_have_value("")
    visitor.fake.release()
    await visitor.press("Regenerate")
    await visitor.sees("Hi", TEXT)


async def test_who_leaves_a_conversation_ends_its_reply(visitor: Visitor) -> None:
    """Another conversation begins empty, with nothing of the reply that was coming; what came is where it belongs."""
    visitor.fake.hold()
    await visitor.write("Hi")
    visitor.fake.release(2)
    await expect(visitor.page.locator("#messages p").last).to_have_text("Hello from")
    await visitor.page.get_by_role("link", name="New conversation").click()
    await visitor.fake.wait_for_disconnect()
    await visitor.sees()
    await visitor.page.go_back()
    await visitor.sees_cut("Hello from", "client_gone")


async def test_a_failing_reply_tells_why_and_keeps_what_came(visitor: Visitor) -> None:
    """A stream that breaks off in the backend leaves its words and the reason; another try replaces them."""
    visitor.fake.mode = Mode.CUT_MID_STREAM
    await visitor.write("Hi")
    await expect(visitor.status).to_have_text(re.compile("backend"))
    await visitor.sees_cut("Hello from", "backend_vanished")
    visitor.fake.mode = Mode.NORMAL
    await visitor.press("Regenerate")
    await visitor.sees("Hi", TEXT)
    await expect(visitor.status).to_have_text("")


async def test_a_failure_before_the_reply_keeps_the_message(visitor: Visitor) -> None:
    """A backend that is busy leaves the message in the conversation, once."""
    visitor.fake.mode = Mode.BUSY_503
    await visitor.write("Hi")
    await expect(visitor.status).to_have_text(re.compile("busy"))
    await visitor.sees("Hi")
    await expect(visitor.field).to_have_value("")


async def test_conversations_are_renamed_found_and_deleted(visitor: Visitor) -> None:
    """A title can be changed, a word leads to the message that has it, and what is deleted is gone from the service."""
    await visitor.write("Tell me of giraffes.")
    await visitor.sees("Tell me of giraffes.", TEXT)
    await visitor.press("Rename", "Long necks")
    await expect(visitor.page.get_by_role("heading")).to_have_text("Long necks")
    await visitor.page.get_by_role("link", name="New conversation").click()
    await visitor.write("Tell me of whales.")
    await visitor.sees("Tell me of whales.", TEXT)
    await expect(visitor.links).to_have_count(2)
    await visitor.find("!")
    await expect(visitor.status).to_have_text(re.compile("search: must have a word"))
    await visitor.find("giraffes")
    await expect(visitor.links).to_have_count(1)
    await expect(visitor.links).to_contain_text("Tell me of giraffes.")
    await visitor.links.click()
    await visitor.sees("Tell me of giraffes.", TEXT)
    (_, kept) = await visitor.stored()
    assert visitor.page.url.endswith(f"#{kept['id']}/{kept['messages'][0]['id']}")
    await visitor.press("Delete", "")
    await visitor.sees()
    await visitor.find("")
    await expect(visitor.links).to_have_count(1)
    assert [one["title"] for one in await visitor.stored()] == ["Tell me of whales."]


async def test_a_change_elsewhere_is_not_written_over(visitor: Visitor) -> None:
    """What another tab did is shown first, and the message is in the field again, to be sent or not."""
    await visitor.write("Hi")
    await visitor.sees("Hi", TEXT)
    (one,) = await visitor.stored()
    await visitor.service.client.post(f"{ROUTE}/{one['id']}/truncate", json={"after": one["messages"][0]["id"]})
    await visitor.write("Go on")
    await expect(visitor.status).to_have_text(re.compile("changed elsewhere"))
    await visitor.sees("Hi")
    await expect(visitor.field).to_have_value("Go on")
    await visitor.page.keyboard.press("Enter")
    await visitor.sees("Hi", "Go on", TEXT)


async def test_what_was_left_out_is_told(visitor: Visitor) -> None:
    """A history that is longer than the model's context goes on, and the reply says that the model did not see all."""
    long = [{"role": "user", "content": "word " * 20_000}, {"role": "assistant", "content": "Yes."}]
    made = (await visitor.service.client.post(ROUTE, json={"title": "Long", "messages": long})).json()
    await visitor.page.goto(f"{visitor.page.url}#{made['id']}")
    await expect(visitor.page.locator("#messages li")).to_have_count(2)
    await visitor.write("Hi")
    await expect(visitor.page.locator("#messages li")).to_have_count(4)
    await expect(visitor.page.locator("#messages small").last).to_have_text(re.compile(r"the oldest messages \([12]\)"))


async def test_long_lists_come_in_pages(visitor: Visitor) -> None:
    """More continues the list where it ended, in the service's order."""
    for number in range(35):
        await visitor.service.client.post(ROUTE, json={"title": f"Number {number}"})
    listed = (await visitor.service.client.get(ROUTE)).json()["conversations"]
    await visitor.page.reload()
    await expect(visitor.links).to_have_count(30)
    await visitor.press("More")
    await expect(visitor.links).to_have_count(35)
    await expect(visitor.links).to_contain_text([one["title"] for one in listed])
    await expect(visitor.page.get_by_role("button", name="More")).to_be_hidden()


async def test_every_text_is_shown_as_it_is(visitor: Visitor) -> None:
    """Line ends, and what only looks like one, arrive as they are, though the network cut every line and character."""
    visitor.fake.mode = Mode.ODD_UNICODE
    await visitor.page.add_init_script(BYTE_BY_BYTE)
    await visitor.page.reload()
    await visitor.field.fill("one")
    await visitor.page.keyboard.press("Shift+Enter")
    await visitor.page.keyboard.type("two")
    await visitor.page.keyboard.press("Enter")
    for _ in range(2):
        await visitor.sees("one two", re.compile(ODD_WORDS[-1]))
        await expect(visitor.status).to_have_text("")
        assert await visitor.page.locator("#messages p").all_text_contents() == ["one\ntwo", "".join(ODD_WORDS)]
        await visitor.page.reload()


async def test_markup_is_text(visitor: Visitor) -> None:
    """What users and models write is shown as they wrote it, and never run."""
    visitor.fake.words = (MARKUP,)
    await visitor.write(MARKUP)
    await visitor.sees(MARKUP, MARKUP)
    await visitor.press("Rename", MARKUP)
    await expect(visitor.page.get_by_role("heading")).to_have_text(MARKUP)
    await visitor.find("title")
    await expect(visitor.links).to_contain_text([MARKUP])
    await visitor.page.reload()
    await visitor.sees(MARKUP, MARKUP)
    await expect(visitor.page.locator("img")).to_have_count(0)
    assert await visitor.page.title() == "Conversations"


async def test_a_wrong_key_is_told(visitor: Visitor) -> None:
    """Without a good key the page says so, and asks for one."""
    await visitor.page.get_by_text("Connection").click()
    await visitor.page.get_by_label("Key").fill("wrong")
    await visitor.press("Connect")
    await expect(visitor.status).to_have_text(re.compile("key"))
    await expect(visitor.page.get_by_label("Key")).to_be_visible()
