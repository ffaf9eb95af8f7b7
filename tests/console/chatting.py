"""What the tests of the playground and of conversations share: a model in order again, and what it was asked."""

from __future__ import annotations

import re
from typing import Any, Final

from playwright.async_api import Locator, Page, expect

from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama
from tests.fakes.ollama_modes import Script

MODEL: Final = "llama3:latest"
TEXT: Final = "".join(DEFAULT_WORDS).strip()
# What Chromium says of an answer with an error's status, and of a request that was ended.
REFUSED: Final = r"Failed to load resource: the server responded with a status of (4|5)\d\d"
# The smallest PNG there is.
PIXEL: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
RUN: Final = "document.title='run'"
# Whatever of these ran would change the title, or ask an origin that is not there.
HOSTILE: Final = f"""<img src=x onerror="{RUN}"><script>{RUN}</script><svg onload="{RUN}"><style>*{{color:red}}</style>

[a link](javascript:{RUN}) ![far](https://far.example/x.png) <https://far.example/> <iframe src="https://far.example/">

<a href="javascript:{RUN}">raw</a> <form action="https://far.example/"><input name=q></form> <base href="https://far.example/">
"""


def in_order(fake: FakeOllama) -> None:
    """Put the model back as it is for every test."""
    fresh = Script()
    for name in ("models", "words", "thinking", "tool_calls", "mode", "probe_mode"):
        setattr(fake, name, getattr(fresh, name))
    fake.release()
    fake.requests.clear()


def asked(fake: FakeOllama) -> list[dict[str, Any]]:
    """What each request for a reply said, in order."""
    return [request.json() for request in fake.requests if request.path == "/api/chat"]


def prompt(page: Page) -> Locator:
    """Where a message is written."""
    return page.get_by_label("Message", exact=True)


async def say(page: Page, text: str) -> None:
    """Write a message and send it."""
    await prompt(page).fill(text)
    await page.get_by_role("button", name="Send", exact=True).click()


def replies(page: Page) -> Locator:
    """The replies in the page, as assistive technology finds them."""
    return page.get_by_role("article", name=re.compile("^Reply of"))


async def sees_reply(page: Page, text: str | re.Pattern[str], at: int = -1) -> None:
    """A reply has this text, and is whole."""
    await expect(replies(page).nth(at).locator("x-markdown").last).to_have_text(text)
    await expect(page.get_by_role("button", name="Stop")).to_have_count(0)


async def nothing_ran(page: Page, but: int = 0) -> None:
    """No markup of a text has become a part of the page; `but` so many images may be there."""
    assert await page.title() != "run"
    await expect(
        page.locator("#main").locator("script, iframe, object, embed, svg[onload], style, base, input[name=q]")
    ).to_have_count(0)
    await expect(page.locator("#main img")).to_have_count(but)
    for href in await page.locator("#main a").evaluate_all("(all) => all.map((one) => one.href)"):
        assert href.startswith(("http:", "https:")), href
