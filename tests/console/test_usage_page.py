"""The usage page: who used what, what it cost, how long it took; one's own, and everybody's for administrators."""

from __future__ import annotations

import csv
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, Route, expect

from mlops_backend.services.other.database.database import Database
from tests.console.browsing import CONSOLE, PHONE, Console, assert_accessible, assert_fits
from tests.ledger_rows import insert_rows, midnight, row
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service

pytestmark = [*CONSOLE, pytest.mark.usefixtures("filled")]

# What is from long ago stays single generations.
SETTINGS: Final = {"timezone": "Europe/Berlin", "usage_retention_days": 36500}
HOUR: Final = 3_600_000
KEYS: Final = 1200
MARKUP: Final = "<img src=x onerror=\"document.title='run'\">"
HASHED: Final = "hash:" + "5e" * 16
# As long as a name may be, each of its marks two of JavaScript's units.
LLAMAS: Final = "\N{LLAMA}" * 64
FAILED: Final = r"Failed to load resource"


def generations() -> list[dict[str, Any]]:
    """Of the ordinary key some that cost nothing, of more than a thousand others one each; and some of years ago."""
    own = [
        row(number, midnight(1) + number * HOUR, model="llama3" if number % 3 else "mistral", total_ms=500 + number)
        for number in range(12)
    ]
    failed = row(
        100, midnight(1) + 13 * HOUR, model=MARKUP + "m" * 40, outcome="error", error=f"backend_error_line: {MARKUP}",
        request_id="the-failed-request", end_user=HASHED, status=502,
    )  # fmt: skip
    others = [row(1000 + each, midnight(2) + each, key_id=f"key_{each:04}", price=10**9) for each in range(KEYS)]
    # The night in which Berlin's clocks were set back, from 3:00 to 2:00.
    night = datetime(2025, 10, 26, tzinfo=UTC).timestamp() * 1000
    winter = [
        row(9000 + hour, int(night) + hour * HOUR, key_id="key_0007", model="winter", end_user=LLAMAS)
        for hour in range(3)
    ]
    return [*own, failed, *others, *winter]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="filled")
async def _filled(service: Service) -> AsyncIterator[None]:
    """The ledger of the file's service has these generations."""
    await insert_rows(service.services.get(Database), generations())
    yield


def tile(page: Page, name: str) -> Locator:
    """A figure at the head of the page."""
    return page.locator(".tile", has=page.get_by_text(name, exact=True)).locator("dd").first


async def shown(page: Page) -> None:
    """Everything has been answered."""
    await expect(page.locator(".usage-latency")).not_to_have_attribute("aria-busy", "true")
    await expect(page.locator(".usage-latency :is(.usage-percentiles, empty-state)").first).to_be_visible()
    await expect(page.locator(".usage-newest data-table")).to_be_visible()


async def as_table(page: Page, heading: str) -> list[list[str]]:
    """The numbers of a chart, by its switch."""
    chart = page.locator("x-chart", has=page.get_by_role("heading", name=heading, exact=True))
    await chart.get_by_role("button", name="Table", exact=True).click()
    await expect(chart.locator("tbody tr").first).to_be_visible()
    texts = [await line.locator("th, td").all_inner_texts() for line in await chart.locator("tbody tr").all()]
    await chart.get_by_role("button", name="Table", exact=True).click()
    return texts


async def test_a_key_sees_its_own_use(console: Console) -> None:
    """Its tokens by day and model, no money where nothing costs, no key; nothing is asked that is not its own."""
    page = await console.visit("/usage", ORDINARY_KEY)
    await shown(page)
    await expect(tile(page, "Generations")).to_have_text("13")
    await expect(tile(page, "Tokens")).to_have_text("195")
    await expect(page.locator(".tile", has_text="Spend")).to_have_count(0)
    await expect(page.get_by_role("radio", name="Spend")).to_have_count(0)
    assert "Key" not in await page.get_by_label("Tell apart by").locator("option").all_inner_texts()
    rows = await as_table(page, "Tokens by day and model")
    assert len(rows) == 7
    assert sum(int(cell) for line in rows for cell in line[1:]) == 195
    assert sum(int(count) for _, count in await as_table(page, "Whole duration")) == 12, "the failed one is not done"
    await assert_accessible(page)
    await assert_fits(page)
    asked = [url for url in console.watch_of(page).requests if "/usage" in url and "/assets/" not in url]
    assert asked
    assert not [url for url in asked if "/admin/" in url]


async def test_a_failure_is_found_and_shown(console: Console) -> None:
    """The last failures have their request ids; one opens at the side, its words are text, and a link leads to it."""
    page = await console.visit("/usage", ORDINARY_KEY)
    await page.get_by_label("Only what failed").check()
    await expect(page.get_by_label("Only what failed")).to_be_focused()
    lines = page.locator(".usage-newest tbody tr")
    await expect(lines).to_have_count(1)
    await expect(lines).to_contain_text("the-failed-request")
    opener = lines.get_by_role("button")
    await opener.click()
    drawer = page.get_by_role("dialog", name="Generation")
    for text in ("the-failed-request", MARKUP + "m" * 40, f"backend_error_line: {MARKUP}", HASHED, "502"):
        await expect(drawer.get_by_text(text, exact=True)).to_be_visible()
    await assert_accessible(page)
    other = await console.visit(urlsplit(page.url).fragment, ORDINARY_KEY, size=PHONE)
    await expect(other.get_by_role("dialog", name="Generation").get_by_text("the-failed-request")).to_be_visible()
    await assert_fits(other)
    await page.keyboard.press("Escape")
    await expect(drawer).to_be_hidden()
    await expect(opener).to_be_focused()
    assert "generation" not in page.url
    await page.get_by_role("searchbox", name="Find a generation by its request id").fill("request-3")
    await page.keyboard.press("Enter")
    await expect(drawer.get_by_text("request-3", exact=True)).to_be_visible()
    assert await page.title() == "Usage · mlops_backend"


async def test_a_long_name_is_cut_between_its_marks(console: Console) -> None:
    """The whole of it is its title."""
    page = await console.visit("/usage?span=custom&from=2025-10-25&to=2025-10-27&by=end_user", ADMIN_KEY)
    await expect(page.locator(".usage-groups").get_by_title(LLAMAS)).to_have_text("\N{LLAMA}" * 41 + "…")


@pytest.mark.long
async def test_thousands_of_keys_are_a_few_and_the_rest(console: Console) -> None:
    """A chart has the largest and all others as one; the table shows as many as one likes; CSV is the API's own."""
    page = await console.visit("/usage?by=key", ADMIN_KEY)
    await shown(page)
    await expect(tile(page, "Spend")).to_have_text("1,200.00")
    legend = await page.locator(".usage-chart .legend li").all_inner_texts()
    assert (len(legend), legend[0], legend[-1]) == (8, "tester", "Other")
    groups = page.locator(".usage-groups tbody tr")
    await expect(groups).to_have_count(8)
    await page.get_by_role("button", name="Show the others").click()
    await expect(groups).to_have_count(100)
    await page.get_by_role("button", name=re.compile("^Show 100 more of 900$")).click()
    await expect(groups).to_have_count(200)
    async with page.expect_download() as coming:
        await page.get_by_role("button", name="Download these sums as CSV").click()
    table = list(csv.DictReader((await (await coming.value).path()).read_text().splitlines()))
    assert (len(table), table[0]["key"], table[0]["name"]) == (1000, "settings:tester", "tester")
    await page.get_by_role("link", name="tester", exact=True).press("Enter")
    await expect(tile(page, "Generations")).to_have_text("13")
    await expect(page.get_by_role("heading", name="By key")).to_be_focused()
    async with page.expect_download() as coming:
        await page.get_by_role("link", name="Download all of these generations as CSV").click()
    lines = list(csv.DictReader((await (await coming.value).path()).read_text().splitlines()))
    assert {line["key"] for line in lines} == {"settings:tester"}
    assert len(lines) == 13


@pytest.mark.long
async def test_filters_are_in_the_address(console: Console) -> None:
    """What is chosen by hand is shown by a link; typing asks for keys once it has stopped, and for nothing else."""
    secret = await console.key(name="Apollo")
    page = await console.visit("/usage", ADMIN_KEY)
    await shown(page)
    watch = console.watch_of(page)
    await page.locator(".usage-filters summary").click()
    before = len(watch.requests)
    async with page.expect_response(re.compile("/api/admin/keys")):
        await page.get_by_label("Key", exact=True).press_sequentially("Apollo", delay=20)
    assert [urlsplit(url).path for url in watch.requests[before:]] == ["/api/admin/keys"]
    await page.get_by_label("Key", exact=True).press("Enter")
    await expect(page.get_by_role("button", name="Remove Key: Apollo")).to_be_visible()
    await expect(page.get_by_text("Nothing was generated", exact=True)).to_be_visible()
    assert secret not in page.url
    await page.get_by_role("button", name="Remove Key: Apollo").click()
    await page.get_by_label("Model", exact=True).fill("mistral")
    await page.get_by_label("Outcome", exact=True).select_option("done")
    await page.get_by_role("radio", name="30 days").check()
    await page.get_by_label("Tell apart by").select_option("backend")
    await page.get_by_role("radio", name="Generations").check()
    await expect(page.get_by_role("heading", name="Generations by day and backend")).to_be_visible()
    await shown(page)
    await assert_accessible(page)
    await assert_fits(page)
    other = await console.visit(urlsplit(page.url).fragment, ADMIN_KEY, size=PHONE, scheme="dark")
    await shown(other)
    await assert_fits(other)
    for name in ("Generations", "Tokens"):
        await expect(tile(other, name)).to_have_text(await tile(page, name).inner_text())
    await expect(tile(other, "Generations")).to_have_text("4")
    chosen = parse_qs(urlsplit(page.url).fragment.partition("?")[2])
    assert chosen == {
        "model": ["mistral"], "outcome": ["done"], "span": ["30d"], "by": ["backend"], "measure": ["generations"],
    }  # fmt: skip


@pytest.mark.long
async def test_days_on_which_the_clocks_change(console: Console) -> None:
    """They are the operator's: one day of 25 hours, among which two are called 2:00 and are two all the same."""
    link = "/usage?span=custom&from=2025-10-25&to=2025-10-27&by=none&measure=generations&model=winter"
    page = await console.visit(link, ADMIN_KEY)
    await shown(page)
    days = await as_table(page, "Generations by day")
    assert [count for _, count in days] == ["0", "3", "0"]
    await page.get_by_label("each", exact=True).select_option("hour")
    await expect(page.get_by_role("heading", name="Generations by hour")).to_be_visible()
    hours = await as_table(page, "Generations by hour")
    assert len(hours) == 24 + 25 + 24
    assert [label for label, count in hours if count != "0"] == [
        f"Oct 26, 02:00 UTC+{zone}" if zone else "Oct 26, 03:00 UTC+01:00" for zone in ("02:00", "01:00", "")
    ]


@pytest.mark.long
async def test_what_fails_can_be_asked_again_and_what_is_late_is_lost(console: Console) -> None:
    """A part that fails says so, and the others are there; an answer to a question of before changes nothing."""
    page = await console.visit("/keys", ADMIN_KEY)
    console.watch_of(page).allow(FAILED)

    async def refuse(route: Route) -> None:
        await route.fulfill(status=503, json={"error": "Too many questions.", "code": "busy", "request_id": "r-1"})

    await page.route("**/usage/latency?*", refuse)
    await page.get_by_role("link", name="Usage", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("Too many questions.")
    await expect(tile(page, "Generations")).to_have_text("1.21K")
    await assert_accessible(page)
    await page.unroute("**/usage/latency?*")
    await page.get_by_role("button", name="Try again").click()
    await shown(page)
    held: list[Route] = []

    async def hold(route: Route) -> None:
        held.append(route)

    await page.route(re.compile("group_by=outcome.*top="), hold)
    await page.get_by_label("Tell apart by").select_option("outcome")
    await expect(page.locator(".usage-chart")).to_have_attribute("aria-busy", "true")
    await page.get_by_label("Tell apart by").select_option("backend")
    await expect(page.get_by_role("heading", name="Spend by day and backend")).to_be_visible()
    assert held
    for route in held:
        await route.continue_()
    await shown(page)
    await expect(page.get_by_role("heading", name="Spend by day and backend")).to_be_visible()


@pytest.mark.long
async def test_without_the_charts_library_there_are_tables(console: Console) -> None:
    """Of a key that has done nothing there is a word; where nothing can be drawn the numbers are there."""
    page = await console.visit("/usage", await console.key())
    await expect(page.get_by_text("Nothing was generated", exact=True)).to_be_visible()
    await expect(page.get_by_role("link", name="Try a model")).to_be_visible()
    await expect(page.locator("#main :is(.loading, [aria-busy=true])")).to_have_count(0)
    await assert_accessible(page)
    await assert_fits(page)
    plain = await console.visit("/keys", ORDINARY_KEY)
    console.watch_of(plain).allow(FAILED)
    await plain.route(re.compile(r"/vendor/uplot.*\.js$"), lambda route: route.abort())
    await plain.get_by_role("link", name="Usage", exact=True).click()
    await shown(plain)
    await expect(plain.locator(".usage-chart tbody tr")).to_have_count(7)
    await expect(plain.get_by_role("button", name="Table", exact=True)).to_have_count(0)
    await assert_accessible(plain)
    await assert_fits(plain)
