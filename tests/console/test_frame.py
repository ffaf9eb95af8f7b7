"""The console's frame: who is let in, what is offered, how one gets about, and how it looks and sounds."""

from __future__ import annotations

import re
from typing import Final

import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.console.browsing import CONSOLE, PHONE, Console, assert_accessible, assert_fits
from tests.service import ADMIN_KEY, ORDINARY_KEY

pytestmark = CONSOLE

PAGES: Final = {
    "inference": {"Playground", "Conversations", "Operations"},
    "usage:read": {"Usage"},
    "models:read": {"Models"},
}
ALL: Final = ["Playground", "Conversations", "Usage", "Keys", "Operations", "Models"]
# What Chromium says of an answer with an error's status.
REFUSED: Final = r"Failed to load resource: the server responded with a status of 401"
MARKUP: Final = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
PICTURE: Final = "https://example.org/x.png"
MARKDOWN: Final = f"""{MARKUP}

**{MARKUP}** [a link](javascript:document.title='run') [another](https://example.org/)
![picture]({PICTURE}) <a href="javascript:document.title='run'">raw</a>
<svg onload="document.title='run'"> <style>* {{ display: none }}</style>

```html
{MARKUP}
```
"""
# A text as the playground shows it.
SHOW_MARKDOWN: Final = """
async (text) => {
  const source = document.querySelector('script[type="module"]').src;
  const { markdown } = await import(new URL("components/x-markdown.js", source));
  const element = markdown(text);
  element.id = "shown";
  document.querySelector("#main").replaceChildren(element);
}
"""


async def offered(page: Page) -> list[str]:
    """The pages that the navigation offers."""
    return [
        text.strip()
        for text in await page.get_by_role("navigation", name="Pages").get_by_role("link").all_inner_texts()
    ]


def link(page: Page, name: str) -> Locator:
    """What leads to a page, in the navigation."""
    return page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True)


async def sign_in(page: Page, key: str) -> None:
    """As a reader does."""
    await page.get_by_label("API key", exact=True).fill(key)
    await page.get_by_role("button", name="Sign in").click()


async def is_signed_in(console: Console, context: BrowserContext) -> bool:
    """Whether the service would answer what the browser's cookie asks."""
    return (await context.request.get(f"{console.service.url}/api/key")).status == 200


async def test_a_key_opens_the_door_and_is_kept_nowhere(console: Console) -> None:
    """A wrong key is told; a good one leads to the page that was asked for; it is in no storage, URL or cookie."""
    context = await console.visitor()
    page = await context.new_page()
    await page.goto(f"{console.service.url}/console")
    await expect(page.get_by_label("API key", exact=True)).to_be_focused()
    console.watch_of(page).check()
    console.watch_of(page).allow(REFUSED)
    await page.evaluate("location.hash = '#/usage?by=model'")
    await sign_in(page, "wrong")
    await expect(page.get_by_label("API key", exact=True)).to_have_attribute("aria-invalid", "true")
    await assert_accessible(page)
    await assert_fits(page)
    await sign_in(page, ORDINARY_KEY)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Usage")
    assert page.url == f"{console.service.url}/console/#/usage?by=model"
    kept = await page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, document.documentElement.outerHTML])"
    )
    asked = "".join(console.watch_of(page).requests)
    assert ORDINARY_KEY not in kept + asked + str(await context.cookies())
    [cookie] = await context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")


@pytest.mark.long
async def test_signing_out_ends_the_session(console: Console) -> None:
    """After "Sign out" the cookie is good for nothing; "everywhere" ends the key's other sessions too."""
    key = await console.key()
    pages = [await console.visit("/usage", key) for _ in range(3)]
    for page in pages:
        console.watch_of(page).allow(REFUSED)
    await leave(pages[0], "Sign out")
    assert [await is_signed_in(console, page.context) for page in pages] == [False, True, True]
    await pages[1].get_by_role("button", name="visitor").click()
    await pages[1].get_by_role("button", name="Sign out everywhere").click()
    await assert_accessible(pages[1])
    await pages[1].get_by_role("dialog").get_by_role("button", name="Sign out everywhere").click()
    await expect(pages[1].get_by_label("API key", exact=True)).to_be_focused()
    assert [await is_signed_in(console, page.context) for page in pages] == [False, False, False]


@pytest.mark.long
async def test_tabs_have_one_session(console: Console) -> None:
    """Who signs out in one tab has signed out in the others; who signs in there with another key is that in all."""
    page = await console.visit("/usage")
    console.watch_of(page).allow(REFUSED)  # what was asked when the session ended
    other = await page.context.new_page()
    await other.goto(console.address("/models"))
    await leave(other, "Sign out")
    await expect(page.get_by_text("You have signed out in another tab.")).to_be_visible()
    await sign_in(other, await console.key(name="second"))
    await expect(page.get_by_role("button", name="second")).to_be_visible()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Usage")


async def leave(page: Page, how: str) -> None:
    """Sign out by the account's menu."""
    await page.get_by_role("button", name="visitor").click()
    await page.get_by_role("button", name=how, exact=True).click()
    await expect(page.get_by_label("API key", exact=True)).to_be_focused()


async def test_a_session_that_ended_is_told(console: Console) -> None:
    """The next call says that the session has ended; signing in again leads back to the same place."""
    page = await console.visit("/usage?by=model", key := await console.key())
    console.watch_of(page).allow(REFUSED)
    me = (await (await page.context.request.get(f"{console.service.url}/api/key")).json())["id"]
    await console.service.stranger.delete(f"/api/admin/keys/{me}", headers={"X-API-Key": ADMIN_KEY})
    await page.evaluate("location.hash = '#/models'")
    await expect(page.get_by_text("Your session has ended.")).to_be_visible()
    await sign_in(page, key)
    await expect(page.get_by_label("API key", exact=True)).to_have_attribute("aria-invalid", "true")
    await sign_in(page, await console.key())
    await expect(page.get_by_role("heading", level=1)).to_have_text("Models")


@pytest.mark.parametrize(
    "scopes", [*(pytest.param((one,), marks=pytest.mark.long) for one in PAGES), tuple(PAGES), (next(iter(PAGES)),)]
)
async def test_what_a_key_may_not_do_is_not_offered(console: Console, scopes: tuple[str, ...]) -> None:
    """The navigation has the pages that the key's scopes open, and its own."""
    page = await console.visit("/keys", await console.key(scopes))
    expected = {"My key"}.union(*(PAGES[one] for one in scopes))
    assert set(await offered(page)) == expected
    if "Usage" not in expected:
        await page.evaluate("location.hash = '#/usage'")
        await expect(link(page, (await offered(page))[0])).to_have_attribute("aria-current", "page")


@pytest.mark.long
async def test_an_administrator_is_offered_everything(console: Console) -> None:
    """The administrator's navigation has every page and leads to each, and each fits the narrowest screen."""
    page = await console.visit("/keys", ADMIN_KEY)
    assert await offered(page) == ALL
    for name in ALL:
        await link(page, name).click()
        await expect(page).to_have_title(f"{name} · mlops_backend")
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        await assert_fits(page)


@pytest.mark.long
async def test_the_theme_is_chosen_and_kept(console: Console) -> None:
    """The system's theme holds until another is chosen, which holds over a reload from the first paint on."""
    page = await console.visit("/keys", scheme="dark")
    dark = await ground(page)
    await page.get_by_role("button", name="visitor").click()
    await assert_accessible(page)
    await page.get_by_role("radio", name="Light").check()
    light = await ground(page)
    assert light != dark
    await page.add_init_script(
        "document.addEventListener('readystatechange', () => window.early ??= document.documentElement.dataset.theme)"
    )
    await page.reload()
    assert await page.evaluate("window.early") == "light"
    assert await ground(page) == light
    await page.get_by_role("button", name="visitor").click()
    await page.get_by_role("radio", name="System").check()
    assert await ground(page) == dark


async def ground(page: Page) -> str:
    """The colour that a page stands on."""
    colour: str = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour


async def test_the_keyboard_goes_everywhere(console: Console) -> None:
    """Tab reaches the skip link first; a page that is chosen has the focus at its heading; Escape closes the menu."""
    page = await console.visit("/keys")
    await page.locator("body").press("Tab")
    await expect(page.get_by_text("Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#main")).to_be_focused()
    await link(page, "Usage").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1, name="Usage")).to_be_focused()
    account = page.get_by_role("button", name="visitor")
    await account.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("radio", name="System")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(account).to_be_focused()
    await expect(page.get_by_role("radio", name="System")).to_be_hidden()


async def test_a_phone_has_a_menu(console: Console) -> None:
    """On a phone the navigation is a dialog, which closes by Escape and when a page is chosen."""
    page = await console.visit("/keys", size=PHONE)
    menu, drawer = page.get_by_role("button", name="Menu", exact=True), page.get_by_role("dialog")
    await menu.click()
    await expect(drawer.get_by_role("link", name="Usage", exact=True)).to_be_visible()
    await assert_accessible(page)
    await page.keyboard.press("Escape")
    await expect(drawer).to_have_count(0)
    await expect(menu).to_be_focused()
    await menu.click()
    await drawer.get_by_role("link", name="Usage", exact=True).click()
    await expect(drawer).to_have_count(0)
    await expect(page.get_by_role("heading", level=1, name="Usage")).to_be_focused()
    await assert_fits(page)


async def test_markup_is_text(console: Console) -> None:
    """A name and a model's text with markup are shown as they were written: nothing of them runs, loads or hides."""
    page = await console.visit("/keys", await console.key(name=MARKUP))
    await expect(page.get_by_role("button", name="<img")).to_contain_text(MARKUP)
    await page.evaluate(SHOW_MARKDOWN, MARKDOWN)
    shown = page.locator("#shown")
    await expect(shown.locator("strong")).to_have_text(MARKUP)
    await expect(shown.locator("pre")).to_have_text(re.compile("^" + re.escape(MARKUP)))
    await expect(shown.locator("p").last).to_contain_text("<style>")
    await expect(shown.locator("img, svg[onload], script, style")).to_have_count(0)
    links = shown.get_by_role("link")
    assert {await link.get_attribute("href") for link in await links.all()} <= {"https://example.org/", PICTURE}
    await expect(links.first).to_have_attribute("href", "https://example.org/")
    await expect(links.first).to_have_attribute("rel", re.compile("noopener noreferrer"))
    assert await page.title() == "My key · mlops_backend"


@pytest.mark.long
async def test_a_page_that_cannot_be_loaded_says_so(console: Console) -> None:
    """A part of the console that is missing is an error in its frame, from which the others can be reached."""
    page = await console.visit("/keys")
    console.watch_of(page).allow(r"net::ERR_FAILED")
    await page.route(re.compile("pages/usage.js"), lambda route: route.abort())
    await link(page, "Usage").click()
    await expect(page.get_by_role("alert")).to_contain_text("This page cannot be loaded")
    await assert_accessible(page)
    await link(page, "My key").click()
    await expect(page.get_by_role("heading", level=1, name="My key")).to_be_focused()
