"""The service as a browser meets it: EventSource, fetch across origins, and the documentation page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from tests.e2e.page_blocks import read_blocks
from tests.e2e.pages import Pages, Watched, chromium, visited
from tests.fakes.forwarder import Forwarder
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.fakes.ollama_shapes import RUNNER_DIED
from tests.service import ORDINARY_KEY, Service

# On a slow machine a click alone takes seconds (ms).
PATIENCE = 60_000
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

BLOCKS: Final = read_blocks()
TEXT: Final = "".join(DEFAULT_WORDS)
BODY: Final = {"prompt": "Hi"}
# What any page would write: it neither closes the source nor knows of errors.
PLAIN: Final = """
(url) => new Promise((resolve) => {
  const seen = { text: "", opened: 0, states: [] };
  const source = new EventSource(url);
  source.onopen = () => { seen.opened += 1; };
  source.onmessage = (event) => { seen.text += JSON.parse(event.data).response; };
  source.onerror = () => {
    seen.states.push(source.readyState);
    if (source.readyState === EventSource.CLOSED) resolve(seen);
  };
})
"""
# The same, which remembers the numbers of its events, and ends with the stream alone.
LASTING: Final = """
(url) => {
  window.seen = { ids: [], text: "", ended: false };
  const source = new EventSource(url);
  source.onmessage = (event) => { seen.ids.push(event.lastEventId); seen.text += JSON.parse(event.data).response; };
  source.onerror = () => { seen.ended = source.readyState === EventSource.CLOSED; };
}
"""
# The page's function, until its part with `done` or its error.
PAGE_LISTEN: Final = """
([code, url]) => new Promise((resolve) => {
  const listen = new Function(code + "; return listen;")();
  let text = "";
  const source = listen(url,
    (part) => { text += part.response; if (part.done) resolve([text, "", source.readyState]); },
    (error) => resolve([text, error, source.readyState]));
})
"""
PAGE_FETCH: Final = """
async ([code, stopAfter]) => {
  const generate = new Function(code + "; return generate;")();
  const stop = new AbortController();
  const pieces = [];
  try {
    for await (const part of generate({ prompt: "Hi" }, stop.signal)) {
      pieces.push(part.response);
      if (pieces.length === stopAfter) stop.abort();
    }
  } catch (error) {
    return [pieces.join(""), error.name];
  }
  return [pieces.join(""), ""];
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="browser")
async def _browser() -> AsyncIterator[Browser]:
    """One browser for all tests."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page with a storage of its own."""
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield await context.new_page()
    await context.close()


async def begun(service: Service) -> str:
    """The address of a stream, as the page's own server would get it."""
    answer = await service.client.post("/api/llm/streams", json=BODY)
    url: str = answer.json()["url"]
    return url


def page_code(name: str, service: Service) -> str:
    """A page's block with the service's address and a key."""
    return BLOCKS[name].text.replace("http://localhost:8000", service.url).replace("your-key", ORDINARY_KEY)


async def test_plain_eventsource_shows_a_generation_and_stops(page: Page) -> None:
    """A plain `EventSource`, on our own or an allowed origin, shows the whole text; its return gets 204 and ends it."""
    async with (
        FakeOllama() as fake,
        Pages() as pages,
        visited(fake.url, allowed_origins=pages.url) as (service, visits),
    ):
        other = await page.context.new_page()
        await page.goto(f"{service.url}/health")
        await other.goto(pages.url)
        urls = [await begun(service) for _ in range(2)]
        shown = [one.evaluate(PLAIN, service.url + url) for one, url in zip((page, other), urls, strict=True)]
        assert await asyncio.gather(*shown) == [{"text": TEXT, "opened": 1, "states": [0, 2]}] * 2
        assert [visits.of(url) for url in urls] == [[("GET", 200), ("GET", 204)]] * 2


async def test_plain_eventsource_survives_lost_connections(page: Page) -> None:
    """Five times the connection is lost amid the answer: each event comes once, in its order, and the text is whole."""
    async with FakeOllama() as fake, visited(fake.url) as (service, visits):
        fake.hold()
        async with Forwarder(int(service.url.rpartition(":")[2])) as way:
            url = await begun(service)
            await page.goto(f"http://127.0.0.1:{way.port}/health")
            await page.evaluate(LASTING, url)
            for lost in range(5):
                fake.release(1)
                await page.wait_for_function("(count) => seen.ids.length === count", arg=lost + 1)
                way.cut()
            fake.release()
            await page.wait_for_function("() => seen.ended")
            seen = await page.evaluate("() => seen")
        assert seen["ids"] == list(map(str, range(1, len(DEFAULT_WORDS) + 2)))
        assert seen["text"] == TEXT
        assert visits.of(url)[-1] == ("GET", 204)
        assert [status for _, status in visits.of(url)].count(200) == 6
        assert fake.max_active == 1


async def test_the_pages_eventsource_closes_itself(page: Page) -> None:
    """The page's `EventSource` shows the whole text and asks once."""
    async with (
        FakeOllama() as fake,
        Pages() as pages,
        visited(fake.url, allowed_origins=pages.url) as (service, visits),
    ):
        await page.goto(pages.url)
        url = await begun(service)
        seen = await page.evaluate(PAGE_LISTEN, [page_code("eventsource", service), url])
        assert seen == [TEXT, "", 1]
        await page.wait_for_timeout(100)
        assert visits.of(url) == [("GET", 200)]


async def test_error_reaches_eventsource_as_an_event(page: Page) -> None:
    """A generation that fails midway arrives as an `error` event that has the reason in its data."""
    async with FakeOllama(mode=Mode.ERROR_MID_STREAM) as fake, visited(fake.url) as (service, _):
        await page.goto(f"{service.url}/health")
        text, error, state = await page.evaluate(PAGE_LISTEN, [page_code("eventsource", service), await begun(service)])
        assert TEXT.startswith(text)
        assert text
        assert error == RUNNER_DIED
        assert state == 2


async def test_fetch_streams_from_an_allowed_origin(page: Page) -> None:
    """The page's `fetch` streams across origins after a preflight, and `abort` ends the generation."""
    async with (
        FakeOllama(mode=Mode.SLOW_TOKENS) as fake,
        Pages() as pages,
        visited(fake.url, allowed_origins=pages.url) as (service, visits),
    ):
        await page.goto(pages.url)
        code = page_code("fetch", service)
        assert await page.evaluate(PAGE_FETCH, [code, 0]) == [TEXT, ""]
        assert visits.of("/api/llm/stream") == [("OPTIONS", 200), ("POST", 200)]
        assert await page.evaluate(PAGE_FETCH, [code, 2]) == ["".join(DEFAULT_WORDS[:2]), "AbortError"]
        await fake.wait_for_disconnect()


async def test_fetch_is_refused_from_another_origin(page: Page) -> None:
    """From an origin that is not listed the browser asks, is not allowed, and nothing is generated."""
    async with (
        FakeOllama() as fake,
        Pages() as pages,
        visited(fake.url, allowed_origins="http://localhost:3000") as (service, visits),
    ):
        await page.goto(pages.url)
        assert await page.evaluate(PAGE_FETCH, [page_code("fetch", service), 0]) == ["", "TypeError"]
        assert [method for method, _ in visits.of("/api/llm/stream")] == ["OPTIONS"]
        assert not [request for request in fake.requests if request.path == "/api/generate"]


async def operation(page: Page, name: str) -> Locator:
    """An operation of Swagger UI, opened for trying."""
    block = page.locator(f"#operations-llm-{name}")
    await block.locator(".opblock-summary-control").click()
    await block.locator(".try-out__btn").click()
    return block


async def execute(block: Locator, status: str) -> str:
    """Press Execute and see the status; the answer's body as the page shows it."""
    await block.locator(".execute").click()
    answer = block.locator(".live-responses-table")
    await expect(answer.locator("tbody .response-col_status").first).to_have_text(status)
    return await answer.locator(".response-col_description .microlight").first.inner_text()


async def authorise(page: Page, key: str) -> None:
    """Enter the key as a reader of the page does."""
    await page.locator(".btn.authorize").click()
    form = page.locator(".auth-container form").first
    await form.locator("input").fill(key)
    await form.locator("button.authorize").click()
    await page.locator(".btn-done").first.click()


@pytest.mark.long
async def test_docs_can_be_tried(page: Page) -> None:
    """Swagger UI shows all operations, calls them once it has the key, and asks no other host for anything."""
    watched = Watched(page)
    async with FakeOllama() as fake, visited(fake.url) as (service, _):
        await page.goto(f"{service.url}/docs")
        document: dict[str, Any] = (await service.stranger.get("/openapi.json")).json()
        await expect(page.locator(".opblock")).to_have_count(sum(map(len, document["paths"].values())))
        models = await operation(page, "list_models")
        assert "An API key is needed" in await execute(models, "401")
        await authorise(page, ORDINARY_KEY)
        assert "llama3:latest" in await execute(models, "200")
        assert TEXT in await execute(await operation(page, "generate"), "200")
        lines = await execute(await operation(page, "stream"), "200")
        assert lines.count('"response"') == len(DEFAULT_WORDS) + 1
        assert watched.strangers(service.url) == []
        assert [complaint for complaint in watched.complaints if "401" not in complaint] == []
