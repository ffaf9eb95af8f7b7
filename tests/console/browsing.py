"""What the console's tests share: a service with a browser before it, visits, and what is looked at in every page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, Service

# What every file of these tests has: `pytestmark = CONSOLE`.
CONSOLE: Final = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
# On a slow machine a click alone takes seconds (ms).
PATIENCE: Final = 60_000
ORDINARY: Final = ("inference", "models:read", "usage:read")
DESKTOP: Final = (1280, 800)
PHONE: Final = (360, 740)
# The narrowest that has to do: 1280 pixels, magnified four times.
NARROWEST: Final = 320
THEMES: Final = ("light", "dark")
_SESSION: Final = "/api/console/session"
# What is painted already, transitions included.
_SETTLED: Final = """
() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => {
  const ending = document.getAnimations().filter((one) => one.effect?.getComputedTiming().endTime !== Infinity);
  Promise.allSettled(ending.map((one) => one.finished)).then(() => resolve());
})))
"""
_VIOLATIONS: Final = """
async (tags) => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"], runOnly: tags });
  return violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.target.join(" ")}: ${node.failureSummary.split("\\n").at(-1).trim()}`));
}
"""
# How far the page can be scrolled, and what reaches so far without a frame that scrolls by itself.
_WIDEST: Final = """
() => {
  const width = document.documentElement.clientWidth;
  const clipped = (one) => one.closest(".table-scroll, pre, dialog") ?? getComputedStyle(one).position === "fixed";
  const isWide = (one) => one.getBoundingClientRect().right > width + 1 && !clipped(one);
  const wide = [...document.body.querySelectorAll("*")].filter(isWide).slice(0, 5);
  return [document.documentElement.scrollWidth, wide.map((one) => `${one.localName}.${one.className}`).join(", ")];
}
"""
_TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@dataclass(eq=False)
class Watch:
    """What a context's pages asked for, and what the browser said of them; all of it is a fault unless allowed."""

    origin: str
    context: BrowserContext
    said: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.on("console", self._hear)
        self.context.on("request", self._note)
        self.context.on("weberror", lambda error: self.said.append(f"uncaught: {error.error}"))

    def allow(self, *patterns: str) -> None:
        """Let the browser say these: a browser tells of every answer with an error's status."""
        self.allowed.extend(patterns)

    def check(self) -> None:
        """Nothing was said that is not allowed, and nobody else was asked; a violated policy is said too."""
        complaints = [text for text in self.said if not any(re.search(one, text) for one in self.allowed)]
        assert not complaints, complaints
        own = (f"{self.origin}/", "data:", "blob:")
        strangers = [url for url in self.requests if not url.startswith(own)]
        assert not strangers, strangers

    def _hear(self, message: ConsoleMessage) -> None:
        self.said.append(f"{message.type}: {message.text}")

    def _note(self, request: Request) -> None:
        self.requests.append(request.url)


@dataclass(eq=False)
class Console:
    """A service whose console is visited."""

    service: Service
    fake: FakeOllama
    browser: Browser
    watches: list[Watch] = field(default_factory=list)

    async def key(self, scopes: Sequence[str] = ORDINARY, **fields: Any) -> str:
        """Make a key; the answer is its secret."""
        body = {"name": "visitor", "scopes": list(scopes), **fields}
        answer = await self.service.stranger.post("/api/admin/keys", json=body, headers={"X-API-Key": ADMIN_KEY})
        assert answer.status_code == 201, answer.text
        secret: str = answer.json()["key"]
        return secret

    async def visitor(self, size: tuple[int, int] = DESKTOP, scheme: Any = "light", **options: Any) -> BrowserContext:
        """A browser of its own, which keeps nothing of others; motion is reduced, so that what is seen is settled."""
        viewport: Any = {"width": size[0], "height": size[1]}
        context = await self.browser.new_context(
            viewport=viewport, color_scheme=scheme, reduced_motion="reduce", **options
        )
        context.set_default_timeout(PATIENCE)
        self.watches.append(Watch(self.service.url, context))
        return context

    async def visit(self, path: str = "/", key: str | None = None, **options: Any) -> Page:
        """Sign in with a key (an ordinary one if none is given) and open a page of the console, such as `/usage`."""
        await self.probe()
        context = await self.visitor(**options)
        await self.sign_in(context, key or await self.key())
        page = await context.new_page()
        await page.goto(self.address(path))
        await page.locator("#main > *").first.wait_for()
        return page

    async def probe(self) -> None:
        """Have the service know how its backend is now: what it knows is two seconds old at times."""
        path = f"/api/admin/backends/{self.fake.url}/probe"
        await self.service.stranger.post(path, headers={"X-API-Key": ADMIN_KEY})

    async def sign_in(self, context: BrowserContext, key: str) -> None:
        """What the sign-in page does, without it."""
        answer = await context.request.post(self.service.url + _SESSION, headers={"X-API-Key": key})
        assert answer.status == 201, await answer.text()

    def address(self, path: str = "/") -> str:
        """The address of a page."""
        return f"{self.service.url}/console/#{path}"

    def watch_of(self, page: Page) -> Watch:
        """What is noted of a page's context."""
        return next(watch for watch in self.watches if watch.context == page.context)

    async def end(self) -> None:
        """Close what a test opened, and look at what was said meanwhile."""
        watches, self.watches = self.watches, []
        for watch in watches:
            await watch.context.close()
        for watch in watches:
            watch.check()


async def assert_accessible(page: Page) -> None:
    """axe-core finds nothing in the page as it stands, in either theme."""
    chosen = await page.evaluate("document.documentElement.dataset.theme ?? ''")
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE_SCRIPT)
    for theme in THEMES:
        await page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
        await page.evaluate(_SETTLED)
        found = await page.evaluate(_VIOLATIONS, _TAGS)
        assert not found, "\n".join([theme, *found])
    await page.evaluate(
        "(theme) => { if (theme) document.documentElement.dataset.theme = theme;"
        " else delete document.documentElement.dataset.theme; }",
        chosen,
    )


async def assert_fits(page: Page, width: int = NARROWEST) -> None:
    """At this width nothing is cut off: the page does not scroll sideways, though a table may within itself."""
    before = page.viewport_size
    assert before is not None
    await page.set_viewport_size({"width": width, "height": 740})
    await page.evaluate(_SETTLED)
    wide, who = await page.evaluate(_WIDEST)
    await page.set_viewport_size(before)
    assert wide <= width, f"{wide} pixels are shown in {width}: {who}"
