"""The playground, as somebody uses it who tries a model."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from typing import Any, Final

import pytest
from playwright.async_api import Locator, Page, expect

from tests.console.browsing import CONSOLE, PHONE, Console, assert_accessible, assert_fits
from tests.console.chatting import (
    HOSTILE,
    MODEL,
    PIXEL,
    REFUSED,
    TEXT,
    asked,
    in_order,
    nothing_ran,
    prompt,
    replies,
    say,
    sees_reply,
)
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import ORDINARY_KEY

pytestmark = CONSOLE

OTHER: Final = "qwen3:8b"
CALL: Final = {"function": {"name": "get_weather", "arguments": {"city": "Vienna"}}}
# What a shell, Python or JavaScript might take for something else than text.
ODD: Final = (
    """It's "quoted" $HOME `date` \\n ${x} \\u0041 'end'
BODY
\u2028 \u0085 🦙 """
    + '"""'
    + " <b>"
)
# Files that are put on the page, as the clipboard or the mouse bring them.
PUT: Final = """
([kind, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], `${kind}.png`, { type: "image/png" }));
  const target = document.querySelector(kind === "paste" ? "prompt-box textarea" : "page-playground");
  const init = { bubbles: true, cancelable: true, clipboardData: transfer, dataTransfer: transfer };
  target.dispatchEvent(kind === "paste" ? new ClipboardEvent(kind, init) : new DragEvent(kind, init));
}
"""
# A text piece by piece, and at once; both as the page has them in the end, copies of icons aside.
GROWN: Final = """
async ([text, size]) => {
  const source = document.querySelector('script[type="module"]').src;
  const { markdown } = await import(new URL("components/x-markdown.js", source));
  const place = document.querySelector("#main");
  const [grown, whole] = [markdown(""), markdown(text)];
  place.replaceChildren(grown, whole);
  for (let at = 0; at < text.length; at += size) {
    grown.grow(text.slice(at, at + size));
    await new Promise((resolve) => setTimeout(resolve, 90));
  }
  grown.finish();
  await new Promise((resolve) => setTimeout(resolve, 0));
  return [grown.innerHTML, whole.innerHTML, grown.querySelectorAll("a").length];
}
"""
LONG: Final = """# One

Some *text* with [a reference][r] and `code`.

1. first
2. second

   still second

- [x] done

| a | b |
|---|--:|
| 1 | 2 |

```js
const a = 1;

const b = 2;
```

Title
-----

> quoted

[r]: https://example.org/r
"""


@pytest.fixture(autouse=True)
def _orderly(fake: FakeOllama) -> None:
    in_order(fake)


async def test_three_clicks_to_a_reply(console: Console, fake: FakeOllama) -> None:
    """A newcomer clicks an example and Send, and reads a reply with its numbers; nothing was sent but that."""
    page = await console.visit("/playground")
    await expect(page.get_by_label("Model", exact=True)).to_have_value(MODEL)
    await page.get_by_role("button", name="Why is the sky blue?").click()
    await page.get_by_role("button", name="Send", exact=True).click()
    await sees_reply(page, TEXT)
    question = {"role": "user", "content": "Why is the sky blue? Explain it to a child."}
    assert asked(fake) == [{"model": MODEL, "messages": [question]}]
    numbers = replies(page).locator("details.figures")
    await expect(numbers.locator("summary")).to_have_text(
        re.compile(r"8 tokens.*1,000 tokens/s.*first after.*in all.*in the prompt")
    )
    await numbers.locator("summary").click()
    await expect(numbers.get_by_role("row", name="eval_count 8 the service")).to_be_visible()
    await expect(prompt(page)).to_have_value("")
    await expect(page.get_by_role("status").filter(has_text=TEXT)).to_have_count(1)
    await assert_fits(page)


async def settings(page: Page, group: str) -> None:
    """Open a group of settings."""
    await page.locator("play-settings summary", has_text=group).click()


@pytest.mark.long
async def test_only_what_was_set_is_sent(console: Console, fake: FakeOllama) -> None:
    """Parameters have Ollama's names; what cannot be meant is told at its field, and nothing is sent."""
    page = await console.visit("/playground")
    await page.get_by_label("System prompt").fill("Be brief.")
    await page.get_by_label("temperature").fill("warm")
    await say(page, "Hi")
    await expect(page.get_by_label("temperature")).to_be_focused()
    await expect(page.get_by_label("temperature")).to_have_attribute("aria-invalid", "true")
    assert asked(fake) == []
    await page.get_by_label("temperature").fill("0.2")
    await page.get_by_label("seed").fill("7")
    for group in ("Length and memory", "Form of the reply", "Other options"):
        await settings(page, group)
    await page.get_by_label("num_predict").fill("50")
    await page.get_by_label("keep_alive").fill("10m")
    await page.get_by_label("think").select_option("false")
    await page.get_by_label("format").select_option("json")
    await page.get_by_label("stop").fill("END\n###")
    await page.get_by_label("other").fill('{"mirostat": 2}')
    await assert_accessible(page)
    await page.get_by_role("button", name="Send", exact=True).click()
    await sees_reply(page, TEXT)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    options = {"temperature": 0.2, "seed": 7, "num_predict": 50, "stop": ["END", "###"], "mirostat": 2}
    extra = {"think": False, "format": "json", "keep_alive": "10m"}
    assert asked(fake) == [{"model": MODEL, "messages": messages, **extra, "options": options}]
    await page.get_by_role("button", name="Reset all").click()
    await say(page, "Again")
    await sees_reply(page, TEXT, 1)
    assert set(asked(fake)[1]) == {"model", "messages"}


async def test_thoughts_come_and_are_folded_and_stop_keeps_what_came(console: Console, fake: FakeOllama) -> None:
    """Thoughts are shown while they come, then folded; Stop ends the reply in the backend; Retry asks anew."""
    fake.thinking = "First this. Then that."
    page = await console.visit("/playground")
    fake.hold()
    await say(page, "Hi")
    await expect(page.get_by_role("button", name="Stop").last).to_be_visible()
    fake.release(2)
    thoughts = replies(page).locator("details.thoughts")
    await expect(thoughts.get_by_text("First this.")).to_be_visible()
    fake.release(3)
    await expect(replies(page).locator("x-markdown")).to_have_text("Hello")
    await expect(thoughts.get_by_text("First this. Then that.")).to_be_hidden()
    await page.keyboard.press("Escape")
    await fake.wait_for_disconnect()
    await sees_reply(page, "Hello")
    await expect(replies(page).get_by_text("Stopped here.")).to_be_visible()
    fake.release()
    await page.get_by_role("button", name="Retry").click()
    await sees_reply(page, TEXT)
    assert len(asked(fake)) == 2
    assert asked(fake)[0] == asked(fake)[1]


@pytest.mark.long
async def test_two_models_side_by_side(console: Console, fake: FakeOllama) -> None:
    """Both are asked the same; each has its own numbers; one may fail, and tells why, with the request's id."""
    fake.models = [MODEL, OTHER]
    page = await console.visit("/playground")
    console.watch_of(page).allow(REFUSED)
    await page.get_by_role("button", name="Compare two").click()
    await expect(page.get_by_label("Model 2")).to_have_value(OTHER)
    await say(page, "Hi")
    await expect(replies(page).locator("details.figures")).to_have_count(2)
    assert [one["model"] for one in sorted(asked(fake), key=lambda one: str(one["model"]))] == [MODEL, OTHER]
    fake.models = [MODEL]
    async with page.expect_response(lambda one: one.status == 404) as refused:
        await say(page, "And now?")
    await expect(replies(page).nth(2).locator("x-markdown")).to_have_text(TEXT)
    failed = replies(page).nth(3)
    await expect(failed.get_by_text("The model is not there")).to_be_visible()
    await expect(failed.get_by_text((await refused.value).headers["x-request-id"])).to_be_visible()
    await assert_accessible(page)
    await assert_fits(page)
    fake.models = [MODEL, OTHER]
    await failed.get_by_role("button", name="Try again").click()
    await sees_reply(page, TEXT, 3)
    history = [message["role"] for message in asked(fake)[-1]["messages"]]
    assert history == ["user", "assistant", "user"]


@pytest.mark.long
async def test_tools_are_called_and_answered_by_hand(console: Console, fake: FakeOllama) -> None:
    """A call is shown with what it is called with; what the person says that the tool answers goes on to the model."""
    page = await console.visit("/playground")
    await settings(page, "Tools")
    await page.get_by_role("button", name="Insert an example").click()
    fake.tool_calls = (CALL,)
    fake.words = ()
    await say(page, "Is it warm in Vienna?")
    await expect(replies(page).get_by_text('"city": "Vienna"')).to_be_visible()
    await assert_accessible(page)
    in_order(fake)
    await page.get_by_label("What get_weather answers").fill("21 degrees")
    await page.get_by_role("button", name="Send the result").click()
    await sees_reply(page, TEXT)
    [body] = asked(fake)
    assert [tool["function"]["name"] for tool in body["tools"]] == ["get_weather"]
    called, result = body["messages"][1:]
    assert (called["role"], called["tool_calls"][0]["function"]) == ("assistant", CALL["function"])
    assert result == {"role": "tool", "tool_name": "get_weather", "content": "21 degrees"}


@pytest.mark.long
async def test_images_come_by_file_paste_and_drop(console: Console, fake: FakeOllama) -> None:
    """Each way an image is shown small, can be taken away, and is sent in base64; what is no image is refused."""
    page = await console.visit("/playground")
    files: Any = [
        {"name": "file.png", "mimeType": "image/png", "buffer": PIXEL},
        {"name": "note.txt", "mimeType": "text/plain", "buffer": b"text"},
    ]
    await page.locator("prompt-box input[type=file]").set_input_files(files)
    await expect(page.get_by_text("note.txt is no PNG")).to_be_visible()
    for kind in ("paste", "drop"):
        await page.evaluate(PUT, [kind, list(PIXEL)])
    await expect(page.locator(".tray img")).to_have_count(3)
    await page.get_by_role("button", name="Remove paste.png").click()
    await page.get_by_role("button", name="Send", exact=True).click()
    await sees_reply(page, TEXT)
    [image, other] = asked(fake)[0]["messages"][0]["images"]
    assert image == other
    assert image.startswith("iVBORw0KGgo")
    await expect(page.locator(".question img")).to_have_count(2)


async def ran(*command: str, text: str) -> str:
    """What a program says that is given a text to read, and the key in its environment."""
    env = {"PATH": os.environ["PATH"], "API_KEY": ORDINARY_KEY, "HOME": "/nowhere", "NO_PROXY": "*"}
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=env)
    out, err = await process.communicate(text.encode())
    assert process.returncode == 0, err.decode()
    return out.decode()


async def code_in(page: Page, language: str) -> str:
    """What "Copy as code" shows."""
    await page.get_by_label(language, exact=True).check(force=True)
    return await page.locator(".code-dialog pre").inner_text()


async def test_copied_code_sends_exactly_what_was_sent(console: Console, fake: FakeOllama) -> None:
    """curl, Python and JavaScript send the same body, whatever stands in it, and none of them has the key."""
    page = await console.visit("/playground", ORDINARY_KEY)
    await page.get_by_label("temperature").fill("0.5")
    await settings(page, "Form of the reply")
    await page.get_by_label("think").select_option("true")
    await say(page, ODD)
    await sees_reply(page, TEXT)
    [sent] = asked(fake)
    assert sent["messages"][0]["content"] == ODD
    await page.get_by_role("button", name="Copy as code").click()
    await assert_accessible(page)
    programs = {"curl": ("sh",), "Python": (sys.executable, "-"), "JavaScript": ("node", "--input-type=module", "-")}
    for language, command in programs.items():
        code = await code_in(page, language)
        assert ORDINARY_KEY not in code
        if shutil.which(command[0]) is None:
            assert command[0] == "node", f"{command[0]} is missing"
            continue
        told = await ran(*command, text=code)
        assert DONE_OF[language](told) == TEXT, told
        assert asked(fake)[-1] == sent
    assert len(asked(fake)) >= 3
    await page.get_by_role("button", name="Close").click()


def words_of(lines: str) -> str:
    """The reply in lines as curl prints them."""
    return "".join(json.loads(line)["message"]["content"] for line in lines.splitlines()).strip()


DONE_OF: Final[dict[str, Callable[[str], str]]] = {"curl": words_of, "Python": str.strip, "JavaScript": str.strip}


FAILURES: Final = (
    (Mode.ERROR_MID_STREAM, "The reply broke off", "Hello from"),
    (Mode.CUT_MID_STREAM, "The reply broke off", "Hello from"),
    (Mode.NO_DONE, "The reply broke off", TEXT),
    (Mode.BUSY_503, "The service is busy", ""),
)


@pytest.mark.long
async def test_a_failure_says_what_to_do(console: Console, fake: FakeOllama) -> None:
    """What came stays, with the reason, the request's id, and a button that asks again."""
    page = await console.visit("/playground")
    console.watch_of(page).allow(REFUSED)
    fake.mode = FAILURES[0][0]
    await say(page, "Hi")
    for number, (_, title, came) in enumerate(FAILURES, 1):
        note = replies(page).locator(".trouble")
        await expect(note.get_by_text(title)).to_be_visible()
        await expect(replies(page).locator("x-markdown")).to_have_text(came)
        fake.mode = FAILURES[number][0] if number < len(FAILURES) else Mode.NORMAL
        async with page.expect_response("**/api/chat") as answer:
            await note.get_by_role("button", name="Try again").click()
        if number < len(FAILURES):
            await expect(note.locator("code")).to_have_text((await answer.value).headers["x-request-id"])
    await sees_reply(page, TEXT)


@pytest.mark.long
async def test_a_limit_says_when_to_come_again(console: Console) -> None:
    """429 is told with the time that its `Retry-After` names."""
    key = await console.key(limits={"requests": "1/minute"})
    page = await console.visit("/playground", key)
    console.watch_of(page).allow(REFUSED)
    await say(page, "Hi")
    await sees_reply(page, TEXT)
    await say(page, "Again")
    note = replies(page).last.locator(".trouble")
    await expect(note).to_contain_text("A limit of your key is reached")
    await expect(note).to_contain_text(re.compile(r"You can try again at .*\d:\d\d"))


@pytest.mark.long
async def test_nothing_to_try(console: Console, fake: FakeOllama) -> None:
    """Without a model, or a backend, the page says so, and looks again."""
    fake.models = []
    page = await console.visit("/playground")
    console.watch_of(page).allow(REFUSED)
    await expect(page.get_by_role("heading", name="There is no model yet")).to_be_visible()
    await fake.stop()
    await look_until(page, "Look again", page.get_by_role("alert").get_by_text("The models cannot be listed"))
    in_order(fake)
    await fake.start()
    await look_until(page, "Try again", prompt(page))


async def look_until(page: Page, button: str, wanted: Locator) -> None:
    """Press a button until there is something else: lists are kept for a moment, as is that a backend was away."""
    while not await wanted.is_visible():
        async with page.expect_response("**/api/llm/models"):
            await page.get_by_role("button", name=button).click()
        await expect(wanted.or_(page.get_by_role("button", name=button)).first).to_be_visible()


@pytest.mark.long
async def test_a_key_is_offered_its_models_only(console: Console, fake: FakeOllama) -> None:
    """A key with a list chooses from that; one that may not list models names one."""
    fake.models = [MODEL, OTHER]
    page = await console.visit("/playground", await console.key(models=["qwen3*"]))
    await expect(page.get_by_label("Model", exact=True).locator("option")).to_have_text([re.compile(OTHER)])
    page = await console.visit("/playground", await console.key(["inference"]))
    await say(page, "Hi")
    await expect(page.get_by_text("Name a model first.")).to_be_visible()
    await page.get_by_label("Model", exact=True).fill(OTHER)
    await page.get_by_role("button", name="Send", exact=True).click()
    await sees_reply(page, TEXT)


async def test_a_reload_shows_draft_and_replies_and_an_edit_begins_there(console: Console, fake: FakeOllama) -> None:
    """Nothing typed is lost by a reload; an edited message goes without what followed; signing out clears all."""
    page = await console.visit("/playground")
    for text in ("One", "Two"):
        await say(page, text)
        await sees_reply(page, TEXT)
    await prompt(page).fill("Not sent yet")
    await page.get_by_label("top_k").fill("40")
    await page.locator("prompt-box input[type=file]").set_input_files(
        {"name": "file.png", "mimeType": "image/png", "buffer": PIXEL}
    )
    await expect(page.locator(".tray img")).to_have_count(1)
    await page.reload()
    await expect(prompt(page)).to_have_value("Not sent yet")
    await expect(page.get_by_label("top_k")).to_have_value("40")
    await expect(page.locator(".tray img")).to_have_count(1)
    await expect(replies(page).locator("x-markdown")).to_have_text([TEXT, TEXT])
    await page.get_by_role("button", name="Edit").first.click()
    await page.get_by_label("Your message").fill("Uno")
    await page.get_by_role("button", name="Send again").click()
    await sees_reply(page, TEXT)
    await expect(replies(page)).to_have_count(1)
    assert [one["content"] for one in asked(fake)[-1]["messages"]] == ["Uno"]
    await page.get_by_role("button", name="New", exact=True).click()
    await expect(page.get_by_role("heading", name="What would you like to try?")).to_be_visible()
    await expect(prompt(page)).to_have_value("Not sent yet")
    await page.get_by_role("button", name="visitor").click()
    await page.get_by_role("button", name="Sign out", exact=True).click()
    await expect(page.get_by_label("API key", exact=True)).to_be_visible()
    assert await page.evaluate("Object.keys(sessionStorage)") == []


@pytest.mark.long
async def test_what_is_kept_can_be_gone_on_in(console: Console, fake: FakeOllama) -> None:
    """ "Keep this conversation" stores it; kept again, what is new stands behind; it opens among the conversations."""
    key = await console.key()
    page = await console.visit("/playground", key)
    keep = page.get_by_role("button", name="Keep this conversation")
    for count in (2, 4):
        await say(page, "Tell me of giraffes.")
        await sees_reply(page, TEXT)
        await keep.click()
        await expect(page.get_by_role("link", name="Open it")).to_be_visible()
        listed = (await console.service.stranger.get("/api/database/conversations", headers={"X-API-Key": key})).json()[
            "conversations"
        ]
        assert [one["message_count"] for one in listed] == [count]
        await page.locator(".kept").evaluate("(note) => note.remove()")
    await keep.click()
    await page.get_by_role("link", name="Open it").click()
    await expect(page.get_by_role("heading", level=2, name="Tell me of giraffes.")).to_be_visible()
    await expect(page.locator(".question-text")).to_have_text(["Tell me of giraffes."] * 2)
    await expect(replies(page).locator("x-markdown")).to_have_text([TEXT] * 2)


async def test_markup_of_a_model_is_text(console: Console, fake: FakeOllama) -> None:
    """Whatever a model, a tool or a person writes, nothing of it runs, and nothing is asked of anybody."""
    fake.words = tuple(re.findall(r"[^ ]* ?", HOSTILE))
    fake.thinking = HOSTILE
    fake.models = [MODEL]
    page = await console.visit("/playground")
    await say(page, HOSTILE)
    await expect(replies(page).locator("details.figures")).to_have_count(1)
    await expect(replies(page).locator("x-markdown")).to_contain_text("<script>document.title='run'</script>")
    await expect(page.locator(".question-text")).to_have_text(HOSTILE)
    link = replies(page).get_by_role("link")
    await expect(link).to_have_count(1)
    await expect(link).to_have_attribute("target", "_blank")
    await expect(link).to_have_attribute("rel", re.compile("noopener"))
    await nothing_ran(page)


@pytest.mark.long
async def test_a_text_that_grows_is_in_the_end_as_if_it_came_at_once(console: Console) -> None:
    """Only the end of a reply is drawn again while it comes; what stands there at last is the whole text's Markdown."""
    page = await console.visit("/playground")
    for text, size, count in ((LONG, 19, 1), (LONG[:140], 7, 0)):
        grown, whole, links = await page.evaluate(GROWN, [text, size])
        assert grown == whole
        assert links == count
        assert "<h3>" in whole


@pytest.mark.long
async def test_without_the_libraries_a_reply_is_shown_as_written(console: Console, fake: FakeOllama) -> None:
    """Where they were not installed nothing is missing but the looks."""
    fake.words = ("**bold**\n", "<b>", "raw", "</b>")
    page = await console.visit("/playground")
    console.watch_of(page).allow(r"Failed to load resource")
    await page.route(re.compile("/vendor/"), lambda route: route.abort())
    await say(page, "Hi")
    await sees_reply(page, "**bold**\n<b>raw</b>")


async def test_on_a_phone(console: Console) -> None:
    """The settings are folded, two models stand one below the other, and the prompt is always at hand."""
    page = await console.visit("/playground", size=PHONE, has_touch=True)
    await expect(page.get_by_label("System prompt")).to_be_hidden()
    await page.get_by_role("button", name="Compare two").click()
    await say(page, "Hi")
    await expect(replies(page).locator("details.figures")).to_have_count(2)
    await expect(prompt(page)).to_be_in_viewport()
    first, second = [await box(replies(page).nth(at)) for at in (0, 1)]
    assert second["y"] >= first["y"] + first["height"]
    await assert_fits(page)


async def box(locator: Locator) -> Any:
    """Where something is."""
    found = await locator.bounding_box()
    assert found is not None
    return found
