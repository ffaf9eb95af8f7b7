"""The service under a path of another site, `/llm/`, shown by a real nginx that leaves the path in or takes it out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from playwright.async_api import expect

from tests.e2e.pages import Watched, chromium
from tests.e2e.proxies import PROXIES, fronted
from tests.e2e.test_browser import PLAIN, TEXT, authorise, execute, operation
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama
from tests.service import ORDINARY_KEY, serving, settings_for


def left_in(block: str) -> str:
    """The page's block, in a server."""
    return f"server {{ listen 443;\n{block} }}"


def taken_out(block: str) -> str:
    """The same with the page's slash."""
    return left_in(block.replace("127.0.0.1:8000;", "127.0.0.1:8000/;"))


both_ways = pytest.mark.parametrize("change", [left_in, taken_out], ids=["left in", "taken out"])


@asynccontextmanager
async def shown(folder: Path, change: Callable[[str], str], root_path: str) -> AsyncIterator[tuple[str, FakeOllama]]:
    """The address of nginx, and the backend behind the service."""
    nginx = PROXIES["nginx"]
    nginx.find()
    async with (
        FakeOllama() as fake,
        serving(settings_for(fake.url, trusted_proxies="127.0.0.1", root_path=root_path)) as service,
        fronted(folder, nginx, service.url.removeprefix("http://"), change, "proxy-path") as front,
    ):
        yield front.url, fake


@both_ways
async def test_addresses_lead_through_the_proxy(tmp_path: Path, change: Callable[[str], str]) -> None:
    """With `ROOT_PATH` a prepared stream's address, and a page's link, are those that the proxy knows."""
    async with (
        shown(tmp_path, change, "/llm") as (url, _),
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client,
    ):
        client.headers["X-API-Key"] = ORDINARY_KEY
        ticket = (await client.post("/llm/api/llm/streams", json={"prompt": "Hi"})).json()
        streamed = await client.get(ticket["url"], headers={"X-API-Key": ""})
        assert (streamed.status_code, streamed.text.count("data: ")) == (200, len(DEFAULT_WORDS) + 1)
        links = (await client.get("/llm/", headers={"Accept": "application/json"})).json()["links"]
        statuses = [(await client.get(link)).status_code for name, link in links.items() if name != "stream"]
        assert set(statuses) == {200}
        made = await client.post("/llm/api/database/conversations", json={})
        assert (await client.get(made.headers["location"])).json()["id"] == made.json()["id"]


@pytest.mark.long
@pytest.mark.browser
@pytest.mark.parametrize(
    ("change", "root_path"),
    [(left_in, "/llm"), (taken_out, "")],
    ids=["left in", "taken out, and nobody told"],
)
async def test_the_docs_are_tried_through_the_proxy(
    tmp_path: Path, change: Callable[[str], str], root_path: str
) -> None:
    """A browser is sent to the console; the documentation is whole there and calls the service where it is."""
    async with shown(tmp_path, change, root_path) as (url, _), chromium() as browser:
        page = await browser.new_page()
        watched = Watched(page)
        await page.goto(f"{url}/llm")
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert page.url.partition("#")[0] == f"{url}/llm/console/"
        await page.goto(f"{url}/llm/docs")
        await expect(page.locator(".opblock").first).to_be_visible()
        models = await operation(page, "list_models")
        assert "An API key is needed" in await execute(models, "401")
        await authorise(page, ORDINARY_KEY)
        assert "llama3:latest" in await execute(models, "200")
        ticket = json.loads(await execute(await operation(page, "create_stream"), "201"))
        base = "" if root_path else "/llm"
        assert (await page.evaluate(PLAIN, f"{base}{ticket['url']}"))["text"] == TEXT
        assert watched.strangers(f"{url}/llm") == [f"{url}/llm"]
        assert [complaint for complaint in watched.complaints if "401" not in complaint] == []
