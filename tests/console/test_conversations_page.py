"""Stored conversations, as somebody uses them who keeps what was said."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Locator, Page, expect

from tests.console.browsing import CONSOLE, PHONE, Console, assert_accessible, assert_fits
from tests.console.chatting import (
    HOSTILE,
    MODEL,
    PIXEL,
    REFUSED,
    RUN,
    TEXT,
    asked,
    in_order,
    nothing_ran,
    prompt,
    say,
    sees_reply,
)
from tests.console.keeping import owner_of, shows, user
from tests.fakes.ollama import FakeOllama, Mode

pytestmark = CONSOLE

ID: Final = re.compile(r"[?&]id=[0-9a-f]{32}")


@pytest.fixture(autouse=True)
def _orderly(fake: FakeOllama) -> None:
    in_order(fake)


def items(page: Page) -> Locator:
    """The list's conversations."""
    return page.get_by_role("navigation", name="Conversations").get_by_role("link")


async def test_one_is_begun_and_gone_on_in_after_a_reload(console: Console, fake: FakeOllama) -> None:
    """A first message makes one, with a title; a reload shows it as it is stored; the model is sent every turn."""
    owner = await owner_of(console)
    page = await owner.visit()
    await expect(page.get_by_text("Nothing is kept yet.")).to_be_visible()
    await page.get_by_role("link", name="New", exact=True).click()
    await say(page, "I am Ada.")
    await sees_reply(page, TEXT)
    await expect(page).to_have_url(ID)
    await expect(page.get_by_role("heading", level=2, name="I am Ada.")).to_be_visible()
    await expect(items(page)).to_have_count(1)
    await page.reload()
    await shows(page, ["I am Ada."], [TEXT])
    await say(page, "Who am I?")
    await shows(page, ["I am Ada.", "Who am I?"], [TEXT, TEXT])
    assert [[one["role"] for one in body["messages"]] for body in asked(fake)] == [
        ["user"],
        ["user", "assistant", "user"],
    ]
    assert [len(one["messages"]) for one in await owner.stored()] == [4]
    await assert_accessible(page)
    await assert_fits(page)


@pytest.mark.long
async def test_the_list_goes_on_and_is_searched(console: Console) -> None:
    """The list comes in pages, in the service's order; words lead to the message that has them."""
    owner = await owner_of(console)
    titles = [f"Number {number}" for number in range(33)]
    for title in titles:
        await owner.begin(title=title)
    found = await owner.begin(user("Tell me of giraffes."), {"role": "assistant", "content": "They are tall."})
    page = await owner.visit()
    console.watch_of(page).allow(REFUSED)
    await expect(items(page)).to_have_count(30)
    await page.get_by_role("button", name="More").click()
    await expect(items(page).locator(".item-title")).to_have_text(["Tell me of giraffes.", *reversed(titles)])
    await expect(page.get_by_role("button", name="More")).to_have_count(0)
    search = page.get_by_label("Search in conversations")
    await search.fill("!")
    await search.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("must have a word: letters or digits")
    await search.fill("tall")
    await search.press("Enter")
    await expect(items(page)).to_have_text(re.compile("Tell me of giraffes..*They are tall."))
    await items(page).click()
    await expect(page).to_have_url(re.compile(f"id={found}&search=tall&message="))
    await expect(page.locator(".message:focus")).to_contain_text("They are tall.")
    await search.fill("zebra")
    await search.press("Enter")
    await expect(page.get_by_text("Nothing has these words.")).to_be_visible()


@pytest.mark.long
async def test_a_long_one_is_shown_from_its_end(console: Console) -> None:
    """Of hundreds of messages the last are shown, earlier ones when they are asked for; a match among those at once."""
    owner = await owner_of(console)
    messages = [user(f"Number {number} zebra") for number in range(150)]
    key = await owner.begin(*messages)
    first = (await owner.call("GET", f"/{key}"))["messages"][0]["id"]
    page = await owner.visit(f"/conversations?id={key}")
    shown = page.locator(".question-text")
    await expect(shown).to_have_count(60)
    await page.get_by_role("button", name="Show earlier messages (90)").click()
    await page.get_by_role("button", name="Show earlier messages (30)").click()
    await expect(shown).to_have_text([message["content"] for message in messages])
    page = await owner.visit(f"/conversations?id={key}&message={first}")
    await expect(page.locator(".message:focus")).to_contain_text("Number 0 zebra")
    await expect(page.locator(".message:focus")).to_be_in_viewport()


async def downloaded(page: Page, name: str) -> str:
    """What a link saves."""
    async with page.expect_download() as download:
        await page.get_by_role("link", name=name).click()
    return await asyncio.to_thread(Path(await (await download.value).path()).read_text, encoding="utf-8")


@pytest.mark.long
async def test_renamed_taken_out_brought_in_and_deleted(console: Console) -> None:
    """A new title is stored; the file of one can be read or imported; nothing is left of one that was deleted."""
    owner = await owner_of(console)
    key = await owner.begin(user("A"), {"role": "assistant", "content": "B"}, title="Old")
    page = await owner.visit(f"/conversations?id={key}")
    console.watch_of(page).allow(REFUSED)
    await page.get_by_role("button", name="Rename").click()
    await page.get_by_label("Title").fill("Long necks")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=2, name="Long necks")).to_be_visible()
    await expect(items(page)).to_contain_text("Long necks")
    assert "# Long necks" in await downloaded(page, "Download as Markdown")
    file = await downloaded(page, "Download as JSON")
    assert json.loads(file)["conversations"][0]["title"] == "Long necks"
    await page.get_by_role("button", name="Delete", exact=True).click()
    await assert_accessible(page)
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Delete", exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("heading", name="No conversation is open")).to_be_visible()
    assert await owner.stored() == []
    for text, told in ((file, "One conversation was imported."), ("{}", "Nothing was imported.")):
        await page.locator("input[type=file]").set_input_files(
            {"name": "export.json", "mimeType": "application/json", "buffer": text.encode()}
        )
        await expect(page.get_by_text(told)).to_be_visible()
    await expect(items(page)).to_have_text(re.compile("Long necks"))
    [made] = await owner.stored()
    assert made["id"] != key
    assert [one["content"] for one in made["messages"]] == ["A", "B"]


@pytest.mark.long
async def test_a_change_in_another_tab_is_not_written_over(console: Console) -> None:
    """What was done elsewhere is shown first, and the message is in the prompt again, to be sent or not."""
    owner = await owner_of(console)
    key = await owner.begin(user("One"), {"role": "assistant", "content": "Two"})
    page = await owner.visit(f"/conversations?id={key}")
    console.watch_of(page).allow(REFUSED)
    await shows(page, ["One"], ["Two"])
    first = (await owner.stored())[0]["messages"][0]["id"]
    await owner.call("POST", f"/{key}/truncate", json={"after": first})
    await say(page, "Go on")
    await expect(page.get_by_text("It was changed in another tab")).to_be_visible()
    await shows(page, ["One"], [])
    await expect(prompt(page)).to_have_value("Go on")
    await page.get_by_role("button", name="Send", exact=True).click()
    await shows(page, ["One", "Go on"], [TEXT])


@pytest.mark.long
async def test_edited_and_cut_off(console: Console, fake: FakeOllama) -> None:
    """A message that is edited is sent again in its place, with its images; the end can be cut off."""
    owner = await owner_of(console)
    page = await owner.visit(
        f"/conversations?id={await owner.begin(user('One'), {'role': 'assistant', 'content': 'Two'})}"
    )
    await page.locator("prompt-box input[type=file]").set_input_files(
        {"name": "file.png", "mimeType": "image/png", "buffer": PIXEL}
    )
    await say(page, "What is this?")
    await shows(page, ["One", "What is this?"], ["Two", TEXT])
    await expect(page.locator(".question img")).to_have_count(1)
    assert await page.locator(".question img").evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 1
    await page.get_by_role("button", name="Edit").last.click()
    await page.get_by_label("Your message").fill("What is that?")
    await page.get_by_role("button", name="Send again").click()
    await shows(page, ["One", "What is that?"], ["Two", TEXT])
    first, second = [body["messages"][-1] for body in asked(fake)]
    assert (second["content"], second["images"]) == ("What is that?", first["images"])
    await page.get_by_role("button", name="Delete what follows").nth(1).click()
    await expect(page.get_by_role("dialog")).to_contain_text("2 messages are deleted for good.")
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await shows(page, ["One"], ["Two"])
    assert [len(one["messages"]) for one in await owner.stored()] == [2]


@pytest.mark.long
async def test_a_reply_that_fails_says_why_and_the_message_stays(console: Console, fake: FakeOllama) -> None:
    """Nothing is lost when a backend is busy or breaks off: the question is there once, and is asked again."""
    owner = await owner_of(console)
    page = await owner.visit(f"/conversations?id={await owner.begin()}")
    console.watch_of(page).allow(REFUSED)
    fake.mode = Mode.BUSY_503
    async with page.expect_response("**/messages") as answer:
        await say(page, "Hi")
    note = page.locator(".trouble")
    await expect(note.get_by_text("The service is busy")).to_be_visible()
    await expect(note.locator("code")).to_have_text((await answer.value).headers["x-request-id"])
    await shows(page, ["Hi"], [])
    fake.mode = Mode.CUT_MID_STREAM
    await note.get_by_role("button", name="Try again").click()
    await expect(page.get_by_text("Cut short: the backend failed")).to_be_visible()
    await shows(page, ["Hi"], ["Hello from"])
    await assert_accessible(page)
    fake.mode = Mode.NORMAL
    await page.get_by_role("button", name="Regenerate").click()
    await shows(page, ["Hi"], [TEXT])
    await expect(note).to_have_count(0)


async def test_stored_markup_is_text(console: Console, fake: FakeOllama) -> None:
    """Markup in titles, messages, thoughts, names of models and tools is text; nothing runs, and nobody is asked."""
    owner = await owner_of(console)
    mark = HOSTILE.splitlines()[0]
    call = {"function": {"name": mark, "arguments": {mark: mark}}}
    said = {"content": HOSTILE, "created_at": "2026-01-31T12:00:00Z"}
    answer = {"role": "assistant", **said, "model": mark, "thinking": HOSTILE, "tool_calls": [call], "error": "<b>"}
    messages: list[dict[str, Any]] = [
        {"role": "system", **said},
        {"role": "user", **said},
        {**answer, "outcome": "error"},
        {"role": "tool", **said, "tool_name": mark},
        {**answer, "outcome": "done", "replaced_at": "2026-01-31T12:00:00Z"},
        {**answer, "outcome": "done"},
    ]
    times = {"created_at": "2026-01-31T12:00:00Z", "updated_at": "2026-01-31T12:00:00Z"}
    one = {"title": mark, "model": mark, **times, "messages": messages}
    document = {"format": "mlops_backend.conversations", "version": 1, "conversations": [one]}
    made = await owner.call("POST", "/import", json=document)
    page = await owner.visit(f"/conversations?id={made['conversations'][0]['id']}&search=raw")
    await expect(page.get_by_role("heading", level=2)).to_have_text(mark)
    await expect(page.get_by_role("heading", level=3, name="<img").first).to_have_text(mark)
    await expect(items(page)).to_contain_text(mark)
    await expect(items(page).locator(".item-excerpt")).to_contain_text("raw")
    await page.locator("#main details").evaluate_all("(all) => all.forEach((one) => { one.open = true; })")
    await expect(page.locator(".question-text")).to_have_text(HOSTILE)
    await expect(page.locator(".thoughts-text").first).to_have_text(HOSTILE)
    await expect(page.locator("x-markdown").first).to_contain_text(f"<script>{RUN}</script>")
    await nothing_ran(page)
    fake.words = tuple(re.findall(r"[^ ]* ?", HOSTILE))
    await page.get_by_label("Model", exact=True).select_option(MODEL)
    await say(page, HOSTILE)
    await expect(page.locator(".question-text")).to_have_text([HOSTILE, HOSTILE])
    await expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    await nothing_ran(page)
    await assert_accessible(page)


async def test_nobody_else_sees_one(console: Console) -> None:
    """Another key is told that there is no such conversation, and its list is empty."""
    owner = await owner_of(console)
    key = await owner.begin(user("Secret"))
    page = await (await owner_of(console)).visit(f"/conversations?id={key}")
    console.watch_of(page).allow(REFUSED)
    await expect(page.get_by_role("alert")).to_contain_text("There is no such conversation")
    await expect(page.get_by_text("Nothing is kept yet.")).to_be_visible()
    await expect(page.get_by_text("Secret")).to_have_count(0)


@pytest.mark.long
async def test_on_a_phone_one_thing_at_a_time(console: Console) -> None:
    """The list first; a conversation takes its place, and a link leads back."""
    owner = await owner_of(console)
    await owner.begin(user("One"), {"role": "assistant", "content": "Two"})
    page = await owner.visit(size=PHONE)
    await assert_fits(page)
    await items(page).click()
    await shows(page, ["One"], ["Two"])
    await expect(items(page)).to_be_hidden()
    await expect(prompt(page)).to_be_in_viewport()
    await assert_fits(page)
    await page.get_by_role("link", name="All conversations").click()
    await expect(items(page)).to_be_visible()
