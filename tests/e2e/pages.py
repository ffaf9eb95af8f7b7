"""Pages of other origins, a record of what reached the service, and the browser that shows them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright
from quart import Quart

from mlops_backend.app import create_app
from mlops_backend.middleware.asgi import App, Message, Receive, Scope, Send
from tests.fakes.http11 import Connection, Reply, Request
from tests.fakes.server import RecordingServer
from tests.service import Service, serving, settings_for

PROGRAMS: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Pages(RecordingServer):
    """An origin of its own, which has one empty page."""

    async def answer(self, connection: Connection, request: Request) -> None:
        """The page, whatever the path."""
        await connection.send(Reply(200, "text/html; charset=utf-8", b"<!DOCTYPE html><title>page</title>"))

    def counts(self, request: Request) -> bool:
        """No page is counted."""
        return False


@dataclass(eq=False)
class Visits:
    """Wraps an ASGI application; remembers each request's method, path and status, in the order of their ends."""

    app: App
    seen: list[tuple[str, str, int]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, note)
        finally:
            if scope["type"] == "http":
                self.seen.append((scope["method"], scope["path"], status))

    def of(self, path: str) -> list[tuple[str, int]]:
        """Methods and statuses of the requests for a path."""
        return [(method, status) for method, seen, status in self.seen if seen == path]


@asynccontextmanager
async def visited(*backends: str, **settings: Any) -> AsyncIterator[tuple[Service, Visits]]:
    """The service, and who visits it."""
    chosen = settings_for(*backends, **settings)
    app: Quart = create_app(chosen)
    visits = Visits(cast(App, app.asgi_app))
    app.asgi_app = cast(Any, visits)  # type: ignore[method-assign]
    async with serving(chosen, app) as service:
        yield service, visits


@dataclass(eq=False)
class Watched:
    """A page, and what it asked for and complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def strangers(self, origin: str) -> list[str]:
        """Requests to anything but one origin; a `data:` address is none."""
        return [url for url in self.requests if not url.startswith((f"{origin}/", "data:"))]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A headless Chromium of this machine; skips where there is none."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no Chromium here (looked for {', '.join(PROGRAMS)})")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()
