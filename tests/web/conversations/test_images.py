"""Images of stored messages: kept once, given to the model as they were sent, and fetched by whoever owns the talk."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from mlops_backend.services.other.database.tables import images, message_images
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ORDINARY_KEY, Service
from tests.web.talk import (
    BASE,
    GIF,
    JPEG,
    PNG,
    WEBP,
    again,
    begin,
    encoded,
    heard,
    kept,
    message,
    post,
    read,
    rows,
    say,
)
from tests.web.test_status_table import assert_error

KINDS: Final = {PNG: "image/png", JPEG: "image/jpeg", GIF: "image/gif", WEBP: "image/webp"}
OTHER: Final = "key-of-somebody-else"


async def test_an_image_is_kept_once(serve: ServeFactory, fake: FakeOllama) -> None:
    """However often it is sent: in one message, in several, in several conversations and by several keys."""
    async with serve(fake.url, api_keys=f"tester:{ORDINARY_KEY},other:{OTHER}") as service:
        made = await begin(service, message("user", images=[encoded(PNG)] * 3))
        await say(service, made["id"], images=[encoded(PNG), encoded(JPEG)])
        await begin(service, message("assistant", images=[encoded(PNG)]))
        others = {"messages": [message("user", images=[encoded(PNG)])]}
        theirs = await service.stranger.post(BASE, json=others, headers={"X-API-Key": OTHER})
        assert {row["data"] for row in await rows(service, images)} == {PNG, JPEG}
        assert len(await rows(service, images)) == 2
        assert len(await rows(service, message_images)) == 7
        for each in (await service.client.get(BASE)).json()["conversations"]:
            await service.client.delete(f"{BASE}/{each['id']}")
        assert [row["data"] for row in await rows(service, images)] == [PNG]
        url = f"{BASE}/{theirs.json()['id']}/images/{sha256(PNG).hexdigest()}"
        assert (await service.stranger.get(url, headers={"X-API-Key": OTHER})).content == PNG
        await service.stranger.delete(f"{BASE}/{theirs.json()['id']}", headers={"X-API-Key": OTHER})
        assert await rows(service, images) == []


async def test_a_model_gets_what_was_sent(service: Service, fake: FakeOllama) -> None:
    """The same base64, in the same order, with its message, in every turn of the conversation."""
    sent = [encoded(data) for data in (PNG, JPEG, PNG, GIF)]
    made = await begin(service, message("user", "one", images=sent[:2]), message("assistant", "Yes."))
    wide = {"options": {"num_ctx": 100_000}}
    await say(service, made["id"], "two", images=sent, **wide)
    await say(service, made["id"], "", images=[encoded(WEBP)], **wide)
    await again(service, made["id"], **wide)
    for body in heard(fake):
        spoken = body["messages"]
        assert [spoken[0]["images"], spoken[2]["images"]] == [sent[:2], sent]
        assert "images" not in spoken[1]
    assert heard(fake)[-1]["messages"][-1] == {"role": "user", "content": "", "images": [encoded(WEBP)]}


async def test_an_image_is_told_and_fetched(service: Service) -> None:
    """Its hash, type and size stand with its message; its bytes come with that type and are not guessed at."""
    made = await begin(service, message("user", images=[encoded(data) for data in KINDS]))
    (shown,) = (await read(service, made["id"]))["messages"]
    assert shown["images"] == [
        {"hash": sha256(data).hexdigest(), "media_type": kind, "size": len(data)} for data, kind in KINDS.items()
    ]
    for data, kind in KINDS.items():
        answer = await service.client.get(f"{BASE}/{made['id']}/images/{sha256(data).hexdigest()}")
        assert (answer.status_code, answer.content) == (200, data)
        assert answer.headers["content-type"] == kind
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"].startswith("private")


async def test_an_image_of_another_conversation_is_not_there(service: Service) -> None:
    """Also one's own: only what a message of this conversation shows, and as long as it does."""
    made, other = await begin(service, message("user", images=[encoded(PNG)])), await begin(service)
    url = f"images/{sha256(PNG).hexdigest()}"
    assert_error(await service.client.get(f"{BASE}/{other['id']}/{url}"), 404, "not_found")
    assert_error(await service.client.get(f"{BASE}/{made['id']}/images/{sha256(JPEG).hexdigest()}"), 404, "not_found")
    assert (await service.client.get(f"{BASE}/{made['id']}/{url}")).status_code == 200
    await post(service, made["id"], "truncate", {"after": None})
    assert_error(await service.client.get(f"{BASE}/{made['id']}/{url}"), 404, "not_found")


async def test_a_cut_drops_what_nothing_shows(service: Service) -> None:
    """An image that an earlier message shows stays, and so does one of another conversation."""
    made = await begin(service, message("user", images=[encoded(PNG)]))
    await begin(service, message("user", images=[encoded(GIF)]))
    await post(service, made["id"], "append", {"messages": [message("user", images=list(map(encoded, KINDS)))]})
    assert len(await rows(service, images)) == 4
    await post(service, made["id"], "truncate", {"after": made["messages"][0]["id"]})
    assert {row["data"] for row in await rows(service, images)} == {PNG, GIF}
    assert len(await rows(service, message_images)) == 2


async def test_a_refused_message_leaves_no_image(service: Service) -> None:
    """One image that is wrong among good ones, or a version that is not there: none is kept."""
    made = await begin(service)
    before = await kept(service)
    for body, wanted, status in (
        ({"content": "x", "images": [encoded(PNG), "?"]}, "*", 422),
        ({"content": "x", "images": [encoded(PNG)]}, '"9"', 412),
    ):
        answer = await post(service, made["id"], "messages", body, If_Match=wanted)
        assert answer.status_code == status
    assert await kept(service) == before
