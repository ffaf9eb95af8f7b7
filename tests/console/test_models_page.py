"""The page Models: what there is, and, for who may, pulled, copied, unloaded and deleted."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from mlops_backend.services.other.live import Live
from tests.console.browsing import CONSOLE, DESKTOP, PHONE, Console, assert_accessible, assert_fits
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import ADMIN_KEY, Service

pytestmark = CONSOLE
SETTINGS: Final = {"connect_timeout": 2}
# What Chromium says of an answer with an error's status.
FAILED: Final = r"Failed to load resource: the server responded with a status of (404|500|502|503)"
MARKUP: Final = "<b>x</b>:latest"


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def _as_before(service: Service, fake: FakeOllama) -> AsyncIterator[None]:
    """More looks a second, one model, and nothing held."""
    service.services.get(Live).every = 0.1
    fake.models[:] = ["llama3:latest"]
    await probed(service, fake)
    yield
    fake.mode = fake.probe_mode = Mode.NORMAL
    fake.release()


async def pull(page: Page, name: str) -> None:
    """As a reader asks for it."""
    await page.get_by_role("button", name="Pull a model").click()
    field = page.get_by_role("dialog").get_by_label("Model")
    await expect(field).to_be_focused()
    await field.fill(name)
    await field.press("Enter")


async def probed(service: Service, fake: FakeOllama) -> None:
    """Have the service know how its backend is now: what it knows is two seconds old at times."""
    path = f"/api/admin/backends/{fake.url}/probe"
    assert (await service.stranger.post(path, headers={"X-API-Key": ADMIN_KEY})).status_code == 200


@pytest.mark.long
async def test_models_are_pulled_with_their_progress(console: Console, fake: FakeOllama) -> None:
    """Two at once: one comes whole and is listed, one is cancelled; one that fails says why, and is asked again."""
    page = await console.visit("/models", ADMIN_KEY)
    await expect(page.get_by_role("row")).to_have_count(2)
    fake.hold()
    await pull(page, "qwen3:8b")
    pulls = page.get_by_role("region", name="Pulls")
    first, second = pulls.get_by_role("listitem").nth(0), pulls.get_by_role("listitem").nth(1)
    fake.release(3)  # the manifest, a layer, and half of it
    await expect(first.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")
    await expect(first).to_contain_text("2.17 GiB of 4.34 GiB")
    await pull(page, "mistral:7b")
    await expect(second).to_contain_text("mistral:7b")
    await assert_accessible(page)
    await assert_fits(page)
    await second.get_by_role("button", name="Cancel").click()
    await expect(second).to_contain_text("Cancelled.")
    await page.get_by_role("navigation", name="Pages").get_by_role("link", name="Operations").click()
    await page.get_by_role("navigation", name="Pages").get_by_role("link", name="Models").click()
    await expect(first.get_by_role("progressbar")).to_be_visible()  # it goes on while another page is shown
    fake.release()
    await expect(first).to_contain_text("It is here.")
    await expect(page.get_by_role("row", name=re.compile("qwen3:8b"))).to_be_visible()
    await first.get_by_role("button", name="Dismiss").click()
    await expect(pulls.get_by_role("listitem")).to_have_count(1)
    fake.mode = Mode.ERROR_MID_STREAM
    await pulls.get_by_role("button", name="Pull mistral:7b again").click()
    await expect(pulls).to_contain_text("max retries exceeded")
    fake.mode = Mode.NORMAL
    await pulls.get_by_role("button", name="Pull mistral:7b again").click()
    await expect(page.get_by_role("row", name=re.compile("mistral:7b"))).to_be_visible()


@pytest.mark.long
async def test_a_model_is_shown_copied_unloaded_and_deleted(
    console: Console, service: Service, fake: FakeOllama
) -> None:
    """What it says of itself in a dialog; each deed is asked about first; a name is text."""
    fake.models.append(MARKUP)
    await probed(service, fake)
    page = await console.visit("/models", ADMIN_KEY)
    row = page.get_by_role("row", name=re.compile("llama3:latest"))
    for text in ("4.34 GiB", "8.0B", "llama", "Q4_0", "8,192", "Loaded"):
        await expect(row).to_contain_text(text)
    await expect(page.get_by_role("button", name=MARKUP, exact=True)).to_be_visible()
    await page.get_by_label("Filter models").fill("llama3")
    await expect(page.get_by_role("row")).to_have_count(2)
    assert page.url.endswith("#/models?q=llama3")
    await page.get_by_label("Filter models").fill("")
    await row.get_by_role("button", name="llama3:latest", exact=True).click()
    await expect(page.get_by_role("dialog")).to_contain_text("8,192 tokens")
    await assert_accessible(page)
    await page.get_by_role("dialog").get_by_role("button", name="Close").click()
    await row.get_by_role("button", name="Copy llama3:latest").click()
    await page.get_by_role("dialog").get_by_label("New name").fill("llama-mine")
    await page.get_by_role("dialog").get_by_role("button", name="Copy model").click()
    copied = page.get_by_role("row", name=re.compile("llama-mine:latest"))
    await expect(copied).to_be_visible()
    await row.get_by_role("button", name="Unload llama3:latest").click()
    await page.get_by_role("dialog").get_by_role("button", name="Unload", exact=True).click()
    await expect(page.locator("toast-list")).to_contain_text("llama3:latest is being unloaded.")
    assert b'"keep_alive":0' in fake.requests[-1].body.replace(b" ", b"")
    await copied.get_by_role("button", name="Delete llama-mine:latest").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete model").click()
    await expect(copied).to_have_count(0)
    assert fake.models == ["llama3:latest", MARKUP]


async def test_what_a_server_does_not_tell_is_not_made_up(console: Console) -> None:
    """Neither a size of nothing nor a change in 1970; a name as long as a line leaves the other columns in sight."""
    page = await console.visit("/usage", ADMIN_KEY)
    console.watch_of(page).allow(FAILED)  # nobody describes it
    listed = {"name": "m" * 200, "size": 0, "digest": "", "modified_at": "1970-01-01T00:00:00Z", "details": {}}
    await page.route("**/api/llm/models", lambda route: route.fulfill(json={"models": [listed], "unreachable": []}))
    await page.evaluate("location.hash = '#/models'")
    cells = page.get_by_role("row", name=re.compile("mmm")).get_by_role("cell")
    await expect(cells.first).to_have_text("–")
    assert not {text for text in await cells.all_inner_texts() if text.strip() not in {"", "–"}}
    head = await page.get_by_role("columnheader", name="Context").bounding_box()
    assert head is not None
    assert head["x"] + head["width"] < DESKTOP[0]


async def test_an_ordinary_key_reads_those_that_it_may_use(
    console: Console, service: Service, fake: FakeOllama
) -> None:
    """On a phone; nothing is offered that it may not do."""
    fake.models.append("secret:latest")
    await probed(service, fake)
    page = await console.visit("/models", await console.key(models=["llama3"]), size=PHONE)
    await expect(page.get_by_role("row", name=re.compile("llama3:latest"))).to_be_visible()
    await expect(page.locator("#main")).not_to_contain_text("secret")
    await expect(page.get_by_role("button", name=re.compile("^(Pull|Delete|Copy|Unload)"))).to_have_count(0)
    await assert_accessible(page)
    await assert_fits(page)


@pytest.mark.long
async def test_no_model_and_no_backend(console: Console, service: Service, fake: FakeOllama) -> None:
    """An empty list says what to do; a backend that fails is told, and when it is back the page shows it by itself."""
    fake.models.clear()
    await probed(service, fake)
    page = await console.visit("/models", ADMIN_KEY)
    await expect(page.locator("#main")).to_contain_text("No model is here yet.")
    console.watch_of(page).allow(FAILED)
    fake.probe_mode = Mode.CLOSE_BEFORE_HEADERS
    await probed(service, fake)
    await page.reload()
    await expect(page.get_by_role("alert")).to_contain_text("No backend")
    await expect(page.get_by_role("button", name="Try again")).to_be_visible()
    await assert_accessible(page)
    fake.probe_mode = Mode.NORMAL
    fake.models.append("llama3:latest")
    await probed(service, fake)
    await expect(page.get_by_role("row", name=re.compile("llama3:latest"))).to_be_visible()
