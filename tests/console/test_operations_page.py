"""The page Operations: backends, the queue, what runs and what failed, as it changes; of an ordinary key its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Final

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from mlops_backend.services.other.live import Live
from tests.console.browsing import CONSOLE, PHONE, Console, assert_accessible, assert_fits
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service

pytestmark = CONSOLE
SETTINGS: Final = {"max_concurrency": 1, "connect_timeout": 2}
EVENTS: Final = "/api/console/events"
# What Chromium says of a stream that is refused.
REFUSED: Final = r"Failed to load resource: the server responded with a status of (503|499)"


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def _quick(service: Service, fake: FakeOllama) -> AsyncIterator[None]:
    """More looks a second; whatever a test has held goes on behind it."""
    service.services.get(Live).every = 0.1
    yield
    fake.mode = fake.probe_mode = Mode.NORMAL
    fake.release()


async def part(page: Page, name: str) -> Locator:
    """A part of the page by its heading."""
    found = page.get_by_role("region", name=re.compile(name)).first
    await expect(found).to_be_visible()
    return found


async def ask(service: Service, name: str, key: str = ORDINARY_KEY) -> httpx.Response:
    """One generation with a name."""
    headers, body = {"X-API-Key": key, "X-Request-ID": name}, {"model": "llama3", "prompt": "Hi"}
    return await service.stranger.post("/api/llm/generate", json=body, headers=headers, timeout=None)


async def under_way(service: Service, fake: FakeOllama, *names: tuple[str, str]) -> list[asyncio.Task[httpx.Response]]:
    """Generations of which the first has the slot and the others wait."""
    fake.hold()
    tasks = []
    for number, (name, key) in enumerate(names):
        tasks.append(asyncio.create_task(ask(service, name, key)))
        async with asyncio.timeout(20):
            while service.admission.running <= number:
                await asyncio.sleep(0.005)
    return tasks


async def confirm(page: Page, action: str) -> None:
    """Say yes in the dialog."""
    await page.get_by_role("dialog").get_by_role("button", name=action, exact=True).click()


@pytest.mark.long
async def test_a_backend_is_drained_and_resumed(console: Console, fake: FakeOllama) -> None:
    """Its card tells how it is and what it has in memory; what is done to it is asked about first."""
    page = await console.visit("/operations", ADMIN_KEY)
    card = page.get_by_role("article")
    await expect(card).to_contain_text("Up")
    await expect(card).to_contain_text("0 of 1 running")
    await expect(card.get_by_role("list")).to_contain_text("llama3:latest4.34 GiBall on the GPU4,096 tokens of context")
    await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    await assert_accessible(page)
    await assert_fits(page)
    await card.get_by_role("button", name="Drain").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await expect(card).not_to_contain_text("Drained")
    await card.get_by_role("button", name="Drain").click()
    await confirm(page, "Drain")
    await expect(card).to_contain_text("Drained")
    await expect(card.get_by_role("button", name="Resume")).to_be_focused()
    await card.get_by_role("button", name="Resume").click()
    await confirm(page, "Resume")
    await expect(card).to_contain_text("Up")
    await expect(card).not_to_contain_text("Drained")
    fake.probe_mode = Mode.CLOSE_BEFORE_HEADERS
    await card.get_by_role("button", name="Probe").click()
    await expect(page.locator("toast-list")).to_contain_text("does not answer")
    await expect(card).to_contain_text("Away")
    fake.probe_mode = Mode.NORMAL
    await card.get_by_role("button", name="Probe").click()
    await expect(card).to_contain_text("Up")


async def test_what_runs_waits_and_fails_is_shown_as_it_happens(
    console: Console, service: Service, fake: FakeOllama
) -> None:
    """One is cancelled, the next one comes to its slot; one that fails is listed, with all that is known of it."""
    page = await console.visit("/operations", ADMIN_KEY)
    running, queue, errors = await part(page, "Running"), await part(page, "Queue"), await part(page, "Last errors")
    await expect(running).to_contain_text("Nothing runs.")
    tasks = await under_way(service, fake, ("first", ORDINARY_KEY), ("second", ORDINARY_KEY), ("third", ADMIN_KEY))
    await expect(running.get_by_role("row")).to_have_count(4)
    await expect(running.get_by_role("row", name=re.compile("Starting llama3 tester"))).to_have_count(1)
    await expect(running.get_by_role("row", name=re.compile("Waiting llama3"))).to_have_count(2)
    await expect(queue.get_by_role("row", name=re.compile("tester Interactive 1"))).to_have_count(1)
    await expect(page.get_by_role("article")).to_contain_text("1 of 1 running · 2 waiting")
    await assert_accessible(page)
    end = running.get_by_role("button", name=re.compile("first"))
    await end.focus()
    age = await running.get_by_role("row").nth(1).inner_text()
    await expect(running.get_by_role("row").nth(1)).not_to_have_text(age)
    await expect(end).to_be_focused()  # though the row was drawn again
    await page.keyboard.press("Enter")
    await confirm(page, "Cancel generation")
    assert (await tasks[0]).status_code == 499
    await expect(running.get_by_role("row")).to_have_count(3)
    await expect(running.get_by_role("region")).to_be_focused()  # its row is gone
    fake.mode = Mode.ERROR_500
    fake.release()
    await asyncio.gather(*tasks)
    fake.mode = Mode.ERROR_500
    assert (await ask(service, "the-failed-one")).status_code == 502
    await expect(running).to_contain_text("Nothing runs.")
    await errors.get_by_role("button", name="Details of request the-failed-one").click()
    dialog = page.get_by_role("dialog")
    for text in ("the-failed-one", "backend_failed", "/api/llm/generate", "tester"):
        await expect(dialog).to_contain_text(text)
    await assert_accessible(page)
    await page.keyboard.press("Escape")
    await assert_fits(page)
    own = [url.removeprefix(service.url) for url in console.watch_of(page).requests]
    assert own.count(EVENTS) == 1
    assert [path for path in own if path.startswith(("/api/admin/backends", "/api/llm"))] == [
        "/api/llm/generations/first"
    ]


async def test_an_ordinary_key_sees_and_ends_its_own(console: Console, service: Service, fake: FakeOllama) -> None:
    """And its place in the queue; nothing of others, nor of the backends."""
    mine = await console.key()
    page = await console.visit("/operations", mine, size=PHONE)
    tasks = await under_way(service, fake, ("theirs", ORDINARY_KEY), ("theirs-too", ORDINARY_KEY), ("mine", mine))
    running = await part(page, "Your running generations")
    await expect(running.get_by_role("row")).to_have_count(2)
    await expect(await part(page, "Your place in the queue")).to_contain_text("1 before it")
    await expect(page.locator("#main")).not_to_contain_text(fake.url)
    await expect(page.locator("#main")).not_to_contain_text("tester")
    await assert_accessible(page)
    await assert_fits(page)
    await running.get_by_role("button", name=re.compile("mine")).click()
    await confirm(page, "Cancel generation")
    assert (await tasks[2]).status_code == 499
    await expect(running).to_contain_text("None of yours runs.")
    fake.release()
    assert [answer.status_code for answer in await asyncio.gather(*tasks[:2])] == [200, 200]


@pytest.mark.long
async def test_a_broken_connection_is_shown_and_mends_itself(console: Console, service: Service) -> None:
    """Also one that is refused for a while; then what has happened meanwhile is shown."""
    page = await console.visit("/operations", ADMIN_KEY)
    console.watch_of(page).allow(REFUSED)
    state = page.locator("live-state")
    await expect(state).to_have_text("Live")
    live = service.services.get(Live)
    live.end()
    await expect(state).to_have_text("Reconnecting…")
    await page.wait_for_event("response", lambda answer: answer.url.endswith(EVENTS) and answer.status == 503)
    live._ended = False
    await expect(state).to_have_text("Live")


@pytest.mark.long
async def test_a_session_that_ends_ends_the_page(console: Console, service: Service) -> None:
    """Nobody has to touch it: it signs out as soon as its stream does, and says why."""
    service.services.get(Live).check = 0.1
    page = await console.visit("/operations", ADMIN_KEY)
    console.watch_of(page).allow(r"Failed to load resource: the server responded with a status of 401")
    await expect(page.locator("live-state")).to_have_text("Live")
    ended = await service.stranger.delete("/api/console/sessions", headers={"X-API-Key": ADMIN_KEY})
    assert ended.status_code == 204
    await expect(page.get_by_label("API key", exact=True)).to_be_visible()
    await expect(page.locator("page-sign-in")).to_contain_text("Your session has ended.")
