"""Lists of conversations: their order, page by page, and what a search finds."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import conversations
from tests.service import Service
from tests.web.talk import BASE, again, begin, message, post, say
from tests.web.test_status_table import assert_error


async def page(service: Service, **query: Any) -> tuple[list[str], str | None]:
    """The titles of a page, and the next one's cursor."""
    answer = await service.client.get(BASE, params={name: value for name, value in query.items() if value is not None})
    assert answer.status_code == 200, answer.text
    listed = answer.json()
    return [each["title"] for each in listed["conversations"]], listed["next"]


async def pages(service: Service, **query: Any) -> list[list[str]]:
    """All pages."""
    found, after = await page(service, **query)
    told = [found]
    while after is not None:
        found, after = await page(service, after=after, **query)
        told.append(found)
    return told


async def several(service: Service, count: int) -> list[dict[str, Any]]:
    """So many conversations, named by their numbers."""
    return [await begin(service, message("user", f"zebra {number}"), title=str(number)) for number in range(count)]


async def set_times(service: Service, *times: int) -> None:
    """Let the conversations, by their titles, have changed last at these times."""
    async with service.services.get(Database).writing() as connection:
        for number, at in enumerate(times):
            here = update(conversations).where(conversations.c.title == str(number))
            await connection.execute(here.values(updated_at=at))


async def test_nothing_is_an_empty_list(service: Service) -> None:
    """No conversations: an empty page, and none behind it."""
    assert await page(service) == ([], None)
    assert await page(service, search="zebra") == ([], None)
    assert (await service.client.get(BASE)).headers["cache-control"] == "no-store"


async def test_what_changed_last_comes_first(service: Service) -> None:
    """Every change brings a conversation to the top: a message, a reply, a title, a cut."""
    made = await several(service, 4)
    await set_times(service, 1, 2, 3, 4)
    assert await page(service) == (["3", "2", "1", "0"], None)
    await say(service, made[1]["id"])
    assert (await page(service))[0] == ["1", "3", "2", "0"]
    await service.client.patch(f"{BASE}/{made[0]['id']}", json={"model": "x"})
    assert (await page(service))[0] == ["0", "1", "3", "2"]
    await post(service, made[2]["id"], "truncate", {"after": None})
    assert (await page(service))[0] == ["2", "0", "1", "3"]
    await again(service, made[3]["id"])
    assert (await page(service))[0] == ["3", "2", "0", "1"]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 200])
async def test_pages_have_everything_once(service: Service, limit: int) -> None:
    """Whatever their size, also where several changed in the same millisecond; the last one says that it is."""
    made = await several(service, 7)
    await set_times(service, 5, 9, 9, 9, 9, 1, 5)
    order = sorted(zip((5, 9, 9, 9, 9, 1, 5), (each["id"] for each in made), "0123456", strict=True), reverse=True)
    told = await pages(service, limit=limit)
    assert [title for each in told for title in each] == [title for _, _, title in order]
    assert [len(each) for each in told] == [limit] * (7 // limit) + [7 % limit] * (7 % limit > 0)


async def test_a_change_between_pages_loses_nothing(service: Service) -> None:
    """What was not shown yet and did not change comes, whatever is made, changed or deleted meanwhile."""
    made = await several(service, 6)
    await set_times(service, 1, 2, 3, 4, 5, 6)
    first, after = await page(service, limit=2)
    assert first == ["5", "4"]
    await begin(service, title="new")
    await say(service, made[5]["id"])
    await service.client.delete(f"{BASE}/{made[4]['id']}")
    await service.client.delete(f"{BASE}/{made[2]['id']}")
    second, after = await page(service, limit=2, after=after)
    assert second == ["3", "1"]
    assert await page(service, limit=2, after=after) == (["0"], None)


WRONG = {
    "after=": "after",
    "after=x": "after",
    "after=1": "after",
    "after=-1": "after",
    "after=1-": "after",
    "after=1-%00": "after",
    "after=1-'--": "after",
    "after=%D9%A1-0": "after",
    "after=" + "9" * 30 + "-0": "after",
    "after=1-0&search=zebra": "after",
    "after=x&search=zebra": "after",
    "after=1-0&after=2-0": "after",
    "limit=0": "limit",
    "limit=201": "limit",
    "limit=x": "limit",
    "search=": "search",
    "search=%00": "search",
    "search=%22%22+...": "search",
    "search=ab*": "search",
    "order=title": "order",
}


async def test_a_wrong_query_is_told(service: Service) -> None:
    """What cannot be understood is 422, and names the parameter."""
    for query, field in WRONG.items():
        error = assert_error(await service.client.get(f"{BASE}?{query}"), 422, "validation_error")
        assert [detail["loc"] for detail in error["details"]] == [[field]], query


async def test_a_cursor_of_long_ago_is_the_end(service: Service) -> None:
    """Where nothing is older there is an empty page."""
    await several(service, 1)
    assert await page(service, after=f"0-{'0' * 32}") == ([], None)
    assert await page(service, after=f"{'9' * 18}-{'f' * 32}") == (["0"], None)
    assert await page(service, after="0", search="zebra") == ([], None)


async def test_a_search_tells_where(service: Service) -> None:
    """The message with all the words and what stands around them, or the title, which has no id."""
    made = await begin(service, message("user", "Zebras and a ZEBRA\nat the zoo"), message("assistant", "Yes."))
    listed = (await service.client.get(BASE, params={"search": "zoo zebra"})).json()["conversations"]
    assert listed == [
        {
            **{name: value for name, value in made.items() if name != "messages"},
            "match": {"message_id": made["messages"][0]["id"], "excerpt": "Zebras and a ZEBRA at the zoo"},
        }
    ]
    named = await begin(service, title="My okapis")
    (found,) = (await service.client.get(BASE, params={"search": "oka*"})).json()["conversations"]
    assert (found["id"], found["match"]) == (named["id"], {"message_id": None, "excerpt": "My okapis"})
    assert (await page(service, search='"zebra zoo"'))[0] == []
    assert (await page(service, search="zebra yes"))[0] == []


async def test_a_search_finds_the_newest_match_first(service: Service) -> None:
    """In pages without gap or doubles; a conversation with several matches comes once, with its newest."""
    made = await several(service, 5)
    for number in (1, 3, 1):
        await say(service, made[number]["id"], f"the zebra of {number}, again")
    for limit in (1, 2, 3, 50):
        told = await pages(service, search="zebra", limit=limit)
        assert [title for each in told for title in each] == ["1", "3", "4", "2", "0"]
    first = (await service.client.get(BASE, params={"search": "zebra", "limit": 1})).json()["conversations"][0]
    assert first["match"]["excerpt"] == "the zebra of 1, again"


async def test_a_search_follows_every_change(service: Service) -> None:
    """Replies are found and replaced ones are not; what was cut off or deleted is not; a new title is at once."""
    made = await begin(service, title="talk")
    place = await say(service, made["id"], "first")
    (hit,) = (await service.client.get(BASE, params={"search": "hello"})).json()["conversations"]
    assert hit["match"]["message_id"] == place["reply_id"]
    newer = await again(service, made["id"])
    (hit,) = (await service.client.get(BASE, params={"search": "hello"})).json()["conversations"]
    assert hit["match"]["message_id"] == newer["reply_id"]
    await post(service, made["id"], "truncate", {"after": place["message_id"]})
    assert (await page(service, search="hello"))[0] == []
    await service.client.patch(f"{BASE}/{made['id']}", json={"title": "Hello there"})
    assert (await page(service, search="hello"))[0] == ["Hello there"]
    assert (await page(service, search="talk"))[0] == []
    await service.client.delete(f"{BASE}/{made['id']}")
    assert (await page(service, search="hello"))[0] == []
