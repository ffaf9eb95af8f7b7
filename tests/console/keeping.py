"""What the tests of stored conversations share: somebody who keeps what was said, and a page that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from playwright.async_api import Page, expect

from tests.console.browsing import Console
from tests.console.chatting import MODEL, replies

ROUTE: Final = "/api/database/conversations"


class Owner:
    """Whoever has a key, and what is stored for it."""

    def __init__(self, console: Console, key: str) -> None:
        self.console = console
        self.key = key

    async def call(self, method: str, path: str = "", **request: Any) -> Any:
        """Call the conversations API as a script does."""
        headers = {"X-API-Key": self.key}
        answer = await self.console.service.stranger.request(method, ROUTE + path, headers=headers, **request)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def begin(self, *messages: dict[str, Any], title: str | None = None) -> str:
        """Store a conversation; its id."""
        named = {"title": title} if title else {}
        made = await self.call("POST", json={**named, "model": MODEL, "messages": list(messages)})
        return str(made["id"])

    async def stored(self) -> list[dict[str, Any]]:
        """All of them, with their messages."""
        return [await self.call("GET", f"/{one['id']}") for one in (await self.call("GET"))["conversations"]]

    async def visit(self, path: str = "/conversations", **options: Any) -> Page:
        """Open the page."""
        return await self.console.visit(path, self.key, **options)


async def owner_of(console: Console) -> Owner:
    """Somebody new, who has nothing."""
    return Owner(console, await console.key())


def user(content: str) -> dict[str, Any]:
    """A message."""
    return {"role": "user", "content": content}


async def shows(page: Page, questions: Sequence[str], answers: Sequence[str]) -> None:
    """These messages are shown, and nothing is under way."""
    await expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    await expect(page.locator(".question-text")).to_have_text(list(questions))
    await expect(replies(page).locator(":scope > x-markdown")).to_have_text(list(answers))
