"""What the first view costs: bytes over the wire, and time of scripts."""

from __future__ import annotations

from typing import Any, Final

from playwright.async_api import CDPSession, Page, expect

from tests.console.browsing import CONSOLE, Console
from tests.service import ORDINARY_KEY

pytestmark = CONSOLE

MOST_BYTES: Final = 150_000
MOST_SECONDS: Final = 0.3
TRIES: Final = 3


async def test_the_first_view_is_small_and_quick(console: Console) -> None:
    """From the address to a playground that can be used: 150 kB at most with the sign-in, and 300 ms of script."""
    costs = [await cost(console) for _ in range(TRIES)]
    assert max(size for size, _ in costs) <= MOST_BYTES, costs
    assert min(seconds for _, seconds in costs) <= MOST_SECONDS, costs


async def cost(console: Console) -> tuple[int, float]:
    """Bytes that came over the wire, and seconds of script, of a browser that has nothing yet."""
    context = await console.visitor()
    page = await context.new_page()
    tools = await context.new_cdp_session(page)
    sizes: list[int] = []
    tools.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    await tools.send("Network.enable")
    await tools.send("Performance.enable")
    await page.goto(console.address())
    await page.get_by_label("API key", exact=True).fill(ORDINARY_KEY)
    await page.get_by_role("button", name="Sign in").click()
    await until_it_can_be_used(page)
    return sum(sizes), await script_seconds(tools)


async def until_it_can_be_used(page: Page) -> None:
    """A model is chosen and a prompt can be written."""
    await expect(page.get_by_role("textbox", name="Message")).to_be_editable()
    await page.wait_for_load_state("networkidle")


async def script_seconds(tools: CDPSession) -> float:
    """How long scripts have run so far, their compilation included."""
    answer: dict[str, Any] = await tools.send("Performance.getMetrics")
    metrics = {one["name"]: one["value"] for one in answer["metrics"]}
    return float(metrics["ScriptDuration"])
