"""The page Keys: keys handed out, found, changed and ended by an administrator; one's own, and what is left of it."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest
from playwright.async_api import Locator, Page, Route, expect
from sqlalchemy import insert

from mlops_backend.services.other.database import Database, api_keys
from tests.console.browsing import CONSOLE, PHONE, Console, assert_accessible, assert_fits
from tests.service import ADMIN_KEY, ORDINARY_KEY

pytestmark = CONSOLE

ADMIN: Final = {"X-API-Key": ADMIN_KEY}
MARKUP: Final = "<img src=x onerror=\"document.title='run'\"><b>bold</b>"
MANY: Final = 10_000
REFUSED: Final = r"Failed to load resource: the server responded with a status of (4\d\d|503)"


async def made(console: Console, **fields: Any) -> dict[str, Any]:
    """A key, with its secret."""
    body = {"name": "one", **fields}
    answer = await console.service.stranger.post("/api/admin/keys", json=body, headers=ADMIN)
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


async def stored(console: Console, key_id: str) -> dict[str, Any]:
    """A key as the API shows it."""
    answer = await console.service.stranger.get(f"/api/admin/keys/{key_id}", headers=ADMIN)
    key: dict[str, Any] = answer.json()
    return key


async def works(console: Console, secret: str) -> bool:
    """Whether the service takes a secret."""
    return (await console.service.stranger.get("/api/key", headers={"X-API-Key": secret})).status_code == 200


def dialog(page: Page, name: str | None = None) -> Locator:
    """The dialog that is open."""
    return page.get_by_role("dialog", name=name) if name else page.get_by_role("dialog")


async def opened(console: Console, key: dict[str, Any], **options: Any) -> Page:
    """The page of one key, as the administrator sees it."""
    page = await console.visit(f"/keys?id={key['id']}", ADMIN_KEY, **options)
    await expect(page.get_by_role("heading", level=1)).to_have_text(key["name"])
    return page


async def press(page: Page, name: str, *, answer: str | None = None) -> None:
    """Press one of a key's buttons, and in the question that comes the one that says so."""
    await page.get_by_role("main").get_by_role("button", name=name, exact=True).click()
    if answer:
        await dialog(page).get_by_role("button", name=answer, exact=True).click()


async def test_a_key_is_handed_out(console: Console) -> None:
    """Name, owner, scopes, models, limits: the secret is shown once, works, and stands in every client's lines."""
    page = await console.visit("/keys", ADMIN_KEY)
    await page.get_by_role("button", name="New key").first.click()
    form = dialog(page, "New key")
    await expect(form.get_by_label("Name", exact=True)).to_be_focused()
    await form.get_by_label("Name", exact=True).fill("laptop")
    await form.get_by_label("Owner").fill("alice")
    await form.get_by_label("usage:read").uncheck()
    await form.get_by_role("textbox", name="Models").fill("llama3*\nsmollm2:135m")
    limits = form.get_by_role("group", name="Limits", exact=True)
    await limits.get_by_label("Requests: which").select_option("Limit")
    await limits.get_by_role("textbox", name="Requests").fill("60/minute burst 10")
    await limits.get_by_label("Tokens per day: which").select_option("Limit")
    await limits.get_by_role("textbox", name="Tokens per day").fill("200,000")
    await limits.get_by_label("Concurrent: which").select_option("No limit")
    await form.get_by_label("Response cache").check()
    await form.get_by_text("Limits of each end user").click()
    await form.get_by_label("Tokens per month: which").last.select_option("Limit")
    await form.get_by_role("textbox", name="Tokens per month").last.fill("5000")
    await form.get_by_text("Queue, expiry and metadata").click()
    await form.get_by_label("Expires").fill("2099-01-31T12:00")
    await form.get_by_label("Metadata").fill('{"team": 7}')
    await assert_accessible(page)
    await assert_fits(page)
    await form.get_by_role("button", name="Create key").click()
    shown = dialog(page, "The new key")
    secret = await shown.get_by_label("Secret", exact=True).input_value()
    assert await works(console, secret)
    await assert_accessible(page)
    clients = await shown.get_by_label("Client", exact=True).get_by_role("option").all_inner_texts()
    assert len(clients) >= 8
    for client in clients:
        await shown.get_by_label("Client", exact=True).select_option(client)
        lines = await shown.locator("pre").inner_text()
        assert secret in lines, client
        assert re.search(rf"{console.service.url}|host\.docker\.internal:\d+", lines), client
    await page.keyboard.press("Escape")
    await shown.get_by_role("button", name="I have kept it").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("laptop")
    assert secret not in await page.content()
    found = await stored(console, page.url.partition("id=")[2])
    assert (found["owner"], found["scopes"]) == ("alice", ["inference", "models:read"])
    assert found["models"] == ["llama3*", "smollm2:135m"]
    assert found["limits"] == {"requests": "60/minute burst 10", "tokens_per_day": 200_000, "concurrent": None}
    assert (found["end_user_limits"], found["cache"]) == ({"tokens_per_month": 5000}, True)
    await expect(page.get_by_text("used by each of its requests")).to_be_visible()
    assert (found["metadata"], found["expires_at"][:10]) == ({"team": 7}, "2099-01-31")


@pytest.mark.long
async def test_what_cannot_be_is_told_where_it_stands(console: Console) -> None:
    """A field that the service refuses is marked with its words and has the focus; nothing else is lost."""
    page = await console.visit("/keys", ADMIN_KEY)
    console.watch_of(page).allow(REFUSED)
    await page.get_by_role("button", name="New key").first.click()
    form = dialog(page, "New key")
    create = form.get_by_role("button", name="Create key")
    await create.click()
    await expect(form.get_by_label("Name", exact=True)).to_have_attribute("aria-invalid", "true")
    await form.get_by_label("Name", exact=True).fill("wrong limits")
    await form.get_by_label("Requests: which").first.select_option("Limit")
    requests = form.get_by_role("textbox", name="Requests").first
    await requests.fill("60 per minute")
    await create.click()
    await expect(requests).to_be_focused()
    await expect(form.get_by_text("a rate is written 60/minute")).to_be_visible()
    await assert_accessible(page)
    await requests.fill("60/minute")
    await create.click()
    await expect(dialog(page, "The new key")).to_be_visible()


@pytest.mark.long
async def test_a_key_is_changed(console: Console) -> None:
    """What was changed alone is sent, what stands there stays; it is disabled and enabled."""
    key = await made(
        console, name="to change", owner="bob", limits={"tokens": "9/day"}, metadata={"kept": True}, cache=True
    )
    page = await opened(console, key)
    sent: list[dict[str, Any]] = []
    page.on(
        "request", lambda asked: sent.append(json.loads(asked.post_data or "")) if asked.method == "PATCH" else None
    )
    await press(page, "Change")
    form = dialog(page, "Change key")
    await form.get_by_label("Owner").fill("carol")
    await form.get_by_label("Tokens: which").first.select_option("Default")
    await form.get_by_label("Response cache").uncheck()
    await form.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("carol")).to_be_visible()
    assert sent == [{"owner": "carol", "limits": {}, "cache": False}]
    assert (await stored(console, key["id"]))["metadata"] == {"kept": True}
    await press(page, "Disable", answer="Disable")
    await expect(page.get_by_text("Disabled", exact=True)).to_be_visible()
    assert not await works(console, key["key"])
    await press(page, "Enable")
    await expect(page.get_by_text("Active", exact=True)).to_be_visible()
    assert await works(console, key["key"])


@pytest.mark.long
async def test_a_key_is_rotated_with_an_overlap(console: Console) -> None:
    """The new secret is shown once; the old one works beside it as long as was chosen, or ends at once."""
    key = await made(console, name="to rotate")
    page = await opened(console, key)
    secrets = [key["key"]]
    for overlap in ("One hour more", "It ends at once"):
        await press(page, "Rotate…")
        await dialog(page).get_by_label("The old secret").select_option(overlap)
        await assert_accessible(page)
        await dialog(page).get_by_role("button", name="Rotate").click()
        shown = dialog(page, "The new secret")
        secrets.append(await shown.get_by_label("Secret", exact=True).input_value())
        await shown.get_by_role("button", name="I have kept it").click()
        await expect(shown).to_be_hidden()
        alive = [await works(console, secret) for secret in secrets]
        assert alive == ([True, True] if overlap == "One hour more" else [False, False, True])


@pytest.mark.long
async def test_sessions_of_a_key_are_ended(console: Console) -> None:
    """Who has signed in with it is signed out; the key goes on working."""
    key = await made(console, name="signed in")
    visitor = await console.visit("/keys", key["key"])
    console.watch_of(visitor).allow(REFUSED)
    page = await opened(console, key)
    await press(page, "End sessions…", answer="End sessions")
    await expect(page.get_by_text("All sessions of this key have ended.")).to_be_visible()
    answer = await visitor.context.request.get(f"{console.service.url}/api/key")
    assert (answer.status, await works(console, key["key"])) == (401, True)


@pytest.mark.long
async def test_a_key_is_revoked_by_its_name(console: Console) -> None:
    """Only once the name is typed; then it is over, and nothing more is offered."""
    key = await made(console, name="to revoke")
    page = await opened(console, key)
    await press(page, "Revoke…")
    yes = dialog(page).get_by_role("button", name="Revoke", exact=True)
    await expect(yes).to_be_disabled()
    await dialog(page).get_by_role("textbox").fill("to revoke")
    await assert_accessible(page)
    await yes.click()
    await expect(page.get_by_text("This key was revoked, for good.")).to_be_visible()
    await expect(page.get_by_role("main").get_by_role("button", name="Change")).to_have_count(0)
    assert not await works(console, key["key"])
    await page.get_by_role("link", name="All keys").click()
    await page.get_by_label("Part of a name").fill("to revoke")
    await expect(page.get_by_text("No key is like that")).to_be_visible()
    await page.get_by_label("Revoked too").check()
    await expect(page.get_by_role("link", name="to revoke")).to_be_visible()


@pytest.mark.long
async def test_what_is_left_is_shown_to_both(console: Console) -> None:
    """The administrator sees what is left of any key, a key of its own; after a generation it is less."""
    key = await made(console, name="counted", limits={"requests": "2/hour", "tokens_per_day": 5000})
    own = await console.visit("/keys", key["key"], size=PHONE)
    page = await opened(console, key)
    for shown in (own, page):
        await expect(shown.get_by_text("2 of 2 generations left")).to_be_visible()
    body = {"model": "llama3", "prompt": "Hi", "stream": False}
    await console.service.stranger.post("/api/generate", json=body, headers={"X-API-Key": key["key"]})
    for shown in (own, page):
        await shown.get_by_role("button", name="Refresh").click()
        await expect(shown.get_by_text("1 of 2 generations left")).to_be_visible()
        await expect(shown.get_by_role("progressbar", name="Left of Requests")).to_have_attribute("aria-valuenow", "50")
        await assert_accessible(shown)
        await assert_fits(shown)


async def test_a_key_sees_itself_alone(console: Console) -> None:
    """No list, no button that makes or changes one; another key's address shows one's own; by hand it is 403."""
    other = await made(console, name="somebody else's")
    mine = await made(console, name="mine", models=["llama3*"], scopes=["inference"])
    page = await console.visit(f"/keys?id={other['id']}", mine["key"])
    await expect(page.get_by_role("heading", level=1)).to_have_text("My key")
    await expect(page.get_by_text(mine["id"])).to_be_visible()
    assert "somebody else's" not in await page.content()
    await expect(page.get_by_role("button", name=re.compile("New|Change|Rotate|Revoke"))).to_have_count(0)
    assert not [url for url in console.watch_of(page).requests if "/api/admin/" in url]
    ours = page.context.request
    for path in ("", f"/{other['id']}", f"/{other['id']}/limits"):
        assert (await ours.get(f"{console.service.url}/api/admin/keys{path}")).status == 403


@pytest.mark.long
async def test_keys_of_the_settings_say_so(console: Console) -> None:
    """Whoever has one, and the administrator who looks at it, are told where it is changed; no button does."""
    page = await console.visit("/keys", ORDINARY_KEY)
    await expect(page.get_by_text("This key stands in the service's settings")).to_be_visible()
    admin = await console.visit("/keys", ADMIN_KEY)
    await admin.get_by_role("main").get_by_role("link", name="tester").click()
    await expect(admin.get_by_role("heading", level=1)).to_have_text("tester")
    await expect(admin.get_by_text("This key stands in the service's settings")).to_be_visible()
    await expect(admin.get_by_text("No limit is in force.")).to_be_visible()
    await expect(admin.get_by_role("main").get_by_role("button")).to_have_text(["Refresh"])
    await assert_accessible(admin)


async def test_stored_markup_is_text(console: Console) -> None:
    """Names, owners, models and metadata with markup are shown as they were written, everywhere."""
    fields = {"owner": MARKUP, "models": ["<i>x</i>*"], "metadata": {MARKUP: MARKUP}}
    key = await made(console, name=MARKUP, **fields)
    page = await opened(console, key)
    await expect(page.get_by_text(MARKUP, exact=True)).to_have_count(2)
    await press(page, "Change")
    await expect(dialog(page).get_by_label("Owner")).to_have_value(MARKUP)
    await dialog(page).get_by_role("button", name="Cancel").click()
    await press(page, "Rotate…", answer="Rotate")
    await dialog(page, "The new secret").get_by_role("button", name="I have kept it").click()
    await page.get_by_role("link", name="All keys").click()
    await expect(page.get_by_role("rowheader", name=MARKUP)).to_be_visible()
    own = await console.visit("/keys", (await made(console, name=MARKUP))["key"])
    await expect(own.locator("dd").get_by_text(MARKUP, exact=True)).to_be_visible()
    for shown in (page, own):
        assert await shown.evaluate("document.querySelectorAll('#main img, #main b').length") == 0
        assert "run" not in await shown.title()


@pytest.mark.long
async def test_a_failure_is_told_and_can_be_tried_again(console: Console) -> None:
    """A list that cannot be had says why, and comes with the next try, if empty; what is left says so in its place."""
    key = await made(console, name="unlucky", limits={"requests": "1/day"})
    page = await console.visit("/usage", ADMIN_KEY)
    console.watch_of(page).allow(REFUSED)
    body = json.dumps({"error": "The database cannot be reached.", "code": "database_down", "request_id": "req-1"})

    async def fail(route: Route) -> None:
        await route.fulfill(status=503, body=body, content_type="application/json")

    await page.route("**/api/admin/keys?*", fail)
    await page.route("**/limits", fail)
    await page.evaluate("location.hash = '#/keys'")
    await expect(page.get_by_role("alert")).to_contain_text("The database cannot be reached.")
    await assert_accessible(page)
    await page.unroute("**/api/admin/keys?*")
    await page.route(
        "**/api/admin/keys?*", lambda route: route.fulfill(json={"keys": [], "next": None, "configured": []})
    )
    await page.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("heading", name="No keys yet")).to_be_visible()
    await assert_accessible(page)
    await page.unroute("**/api/admin/keys?*")
    await page.reload()
    await page.get_by_role("link", name="unlucky").click()
    await expect(page.get_by_text("The database cannot be reached.")).to_be_visible()
    assert (await stored(console, key["id"]))["state"] == "active"


@pytest.mark.long
async def test_ten_thousand_keys_stay_usable(console: Console) -> None:
    """A page is fifty of them, newest first; a search finds one of them all, by part of a name or by its owner."""
    database = console.service.services.get(Database)
    common = {"scopes": ["inference"], "models": [], "limits": {}, "end_user_limits": {}, "metadata": {}}
    rows = [
        {
            **common,
            "id": f"key_{number:012}",
            "name": f"machine {number:05}",
            "owner": f"team {number % 500:03}",
            "enabled": True,
            "created_at": number,
            "revision": 0,
        }
        for number in range(MANY)
    ]
    async with database.writing() as connection:
        await connection.execute(insert(api_keys), rows)
    page = await console.visit("/keys?name=machine", ADMIN_KEY)
    names = page.get_by_role("rowheader")
    await expect(names).to_have_count(50)
    await expect(names.first).to_have_text("machine 09999")
    await page.get_by_role("button", name="Older keys").click()
    await expect(names.first).to_have_text("machine 09949")
    await page.go_back()
    await expect(names.first).to_have_text("machine 09999")
    await page.get_by_label("Part of a name").fill("MACHINE 00042")
    await expect(names).to_have_text(["machine 00042"])
    await page.get_by_label("Part of a name").fill("")
    await page.get_by_label("Owner, in full").fill("team 007")
    await expect(names).to_have_count(MANY // 500)
    await expect(names.last).to_have_text("machine 00007")
    assert "owner=team+007" in page.url
    await assert_accessible(page)
    await assert_fits(page)
    lists = [url for url in console.watch_of(page).requests if "/api/admin/keys?" in url]
    assert all("limit=50" in url for url in lists)
