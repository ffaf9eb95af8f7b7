"""The console in Firefox: a newcomer's path, from the address to the first answer."""

from __future__ import annotations

import re

import pytest

from tests.console.firefox import firefox, matching, named
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama
from tests.service import ORDINARY_KEY, Service

# In each run Chromium goes the same way.
pytestmark = [pytest.mark.long, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

TEXT = "".join(DEFAULT_WORDS).strip()


async def test_a_newcomer_gets_an_answer_by_three_clicks(service: Service, fake: FakeOllama) -> None:
    """Sign in, an example, "Send": the reply stands in the page; Firefox says nothing, and asks nobody else."""
    async with firefox() as browser:
        await browser.goto(f"{service.url}/console")
        await browser.click(named("textbox", "API key"))
        await browser.type(ORDINARY_KEY)
        await browser.click(named("button", "Sign in"))
        await browser.click(matching(".example"))
        await browser.click(named("button", "Send"))
        await browser.reads("document.querySelector('main')", re.escape(TEXT))
        assert browser.said == []
        own = (f"{service.url}/", "data:", "blob:", "about:")
        assert [url for url in browser.requests if not url.startswith(own)] == []
        assert not [url for url in browser.requests if ORDINARY_KEY in url]
    asked = [request.json()["messages"][-1]["content"] for request in fake.requests if request.path == "/api/chat"]
    assert len(asked) == 1
