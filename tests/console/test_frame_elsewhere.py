"""The console where a service has no keys, and where it is shown under a path."""

from __future__ import annotations

from playwright.async_api import Browser, expect

from tests.conftest import ServeFactory
from tests.console.browsing import CONSOLE, Console
from tests.fakes.ollama import FakeOllama
from tests.service import ORDINARY_KEY

pytestmark = CONSOLE


async def test_without_keys_nobody_signs_in(serve: ServeFactory, fake: FakeOllama, browser: Browser) -> None:
    """With AUTH_ENABLED=false the first page is there at once, and no way out is offered."""
    async with serve(fake.url, auth_enabled=False) as service:
        console = Console(service, fake, browser)
        page = await (await console.visitor()).new_page()
        await page.goto(console.address())
        await expect(page.get_by_role("heading", level=1)).to_have_text("Playground")
        await page.get_by_role("button", name="No sign-in").click()
        await expect(page.get_by_role("link", name="API documentation")).to_be_visible()
        await expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
        await console.end()


async def test_it_works_under_a_path(serve: ServeFactory, fake: FakeOllama, browser: Browser) -> None:
    """With ROOT_PATH every address begins with it: the page's files, the session and the API."""
    async with serve(fake.url, root_path="/llm") as service:
        console = Console(service, fake, browser)
        page = await (await console.visitor()).new_page()
        await page.goto(f"{service.url}/llm/console")
        await page.get_by_label("API key", exact=True).fill(ORDINARY_KEY)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("textbox", name="Message")).to_be_editable()
        asked = console.watch_of(page).requests
        assert [url for url in asked if not url.startswith(f"{service.url}/llm/")] == []
        assert any("/api/console/session" in url for url in asked)
        await console.end()
