"""What a model is shown of a conversation: its end in whole turns, as its context has room, and the system's words."""

from __future__ import annotations

from typing import Any, Final

from mlops_backend.services.other.conversations.history import tokens_of
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import Service
from tests.web.talk import PNG, SAID, again, begin, encoded, heard, message, post, read, say

WORDS: Final = "abc " * 100
HAN: Final = "\u4f60\u597d " * 200


def talk(turns: int, text: str = WORDS) -> list[dict[str, Any]]:
    """So many questions and replies, each with its number behind its text."""
    pairs = [(message("user", f"{text}q{n:02}"), message("assistant", f"{text}a{n:02}")) for n in range(turns)]
    return [each for pair in pairs for each in pair]


def cost(*texts: str) -> int:
    """What the messages take of a context, by the service's guess."""
    return sum(tokens_of(text) + 8 for text in texts)


def fitting(context: int, *beside: str, reply: int | None = None, text: str = WORDS) -> int:
    """How many turns of `talk` fit into a context, beside other texts and the reply: a quarter unless it is named."""
    left = context - (context // 4 if reply is None else reply) - cost(*beside, "now")
    return max(0, left // (2 * cost(f"{text}q00")))


def shown(fake: FakeOllama) -> list[str]:
    """The last words of each message that the backend was sent last."""
    return [each["content"].split()[-1] for each in heard(fake)[-1]["messages"]]


async def ask(service: Service, conversation_id: str, content: str = "now", **more: Any) -> int:
    """Say something; how many messages were left out, which header, line and stored reply tell alike."""
    answer = await post(service, conversation_id, "messages", {"content": content, "stream": False, **more})
    assert answer.status_code == 200, answer.text
    omitted = answer.json()["conversation"]["omitted_messages"]
    assert answer.headers["x-omitted-messages"] == str(omitted)
    reply = (await read(service, conversation_id))["messages"][-1]
    assert reply.get("omitted_messages", 0) == omitted
    return int(omitted)


async def test_the_whole_of_a_short_one_is_sent(service: Service, fake: FakeOllama) -> None:
    """In its order, roles and words as they are; the system's words where they stand."""
    said = [
        message("system", "Be brief."),
        message("user", "One"),
        message("assistant", "Two", thinking="not shown again"),
        message("system", "Be briefer."),
        message("user", "Three"),
    ]
    made = await begin(service, *said)
    assert await ask(service, made["id"], "Four") == 0
    del said[2]["thinking"]
    assert heard(fake)[-1]["messages"] == [*said, message("user", "Four")]


async def test_what_does_not_fit_is_left_out(service: Service, fake: FakeOllama) -> None:
    """The oldest turns go, whole; the system's words stay, wherever they stand; the context is what `/api/ps` tells."""
    made = await begin(service, message("system", "first"), *talk(20)[:30], message("system", "second"), *talk(20)[30:])
    turns = fitting(4096, "first", "second")
    omitted = await ask(service, made["id"])
    assert omitted == 2 * (20 - turns)
    assert 5 < turns < 15
    assert shown(fake) == [
        "first",
        *(f"{kind}{n}" for n in range(20 - turns, 15) for kind in "qa"),
        "second",
        *(f"{kind}{n}" for n in range(15, 20) for kind in "qa"),
        "now",
    ]
    total = len((await read(service, made["id"]))["messages"]) - 1
    assert total - len(heard(fake)[-1]["messages"]) == omitted


ROOMS: Final[tuple[tuple[dict[str, Any], int], ...]] = (
    ({"num_ctx": 2000}, fitting(2000)),
    ({"num_ctx": 2000, "num_predict": 100}, fitting(2000, reply=100)),
    ({"num_ctx": 2000, "num_predict": 100_000}, fitting(2000, reply=1000)),
    ({"num_ctx": 2000, "num_predict": 1e300}, fitting(2000, reply=1000)),
    ({"num_ctx": 2000, "num_predict": -1}, fitting(2000)),
    ({"num_ctx": 2000.9, "num_predict": 0}, fitting(2000)),
    ({"num_ctx": 128}, 0),
    ({"num_ctx": 1}, 0),
    ({"num_ctx": 0}, fitting(4096)),
    ({"num_ctx": -5}, fitting(4096)),
    ({"num_ctx": None}, fitting(4096)),
    ({"num_ctx": 1e300}, 20),
)


async def test_the_request_says_how_much_fits(service: Service, fake: FakeOllama) -> None:
    """`num_ctx` is the context, `num_predict` of it is the reply's, up to half; what was asked last is always sent."""
    for options, turns in ROOMS:
        made = await begin(service, *talk(20))
        assert await ask(service, made["id"], options=options) == 2 * (20 - turns), options
        assert shown(fake)[-1] == "now"
        assert len(shown(fake)) == 2 * turns + 1
        assert heard(fake)[-1]["options"] == options


async def test_where_nobody_tells_the_default_holds(serve: ServeFactory, fake: FakeOllama) -> None:
    """`DEFAULT_CONTEXT` is for an Ollama that does not say what it has loaded."""
    fake.lacks = {"/api/ps"}
    async with serve(fake.url, default_context=2000) as service:
        made = await begin(service, *talk(20))
        assert await ask(service, made["id"]) == 2 * (20 - fitting(2000))


async def test_other_letters_take_more_room(service: Service, fake: FakeOllama) -> None:
    """Each letter beyond ASCII counts as a token; tools and images count, too."""
    assert tokens_of("\u4f60\u597d") >= 2
    made = await begin(service, *talk(20, HAN))
    turns = fitting(4096, text=HAN)
    assert 1 < turns < 5
    assert await ask(service, made["id"]) == 2 * (20 - turns)
    tools = [{"type": "function", "function": {"name": "look", "description": "x" * 6000, "parameters": {}}}]
    assert await ask(service, made["id"], tools=tools) > 2 * (20 - turns) + 2
    images = [encoded(PNG)] * 3
    assert await ask(service, made["id"], images=images) > 2 * (20 - turns) + 2
    assert shown(fake)[-1] == "now"


async def test_what_was_asked_last_is_always_sent(service: Service, fake: FakeOllama) -> None:
    """With all of its turn, a tool's answer with the question behind it, although it does not fit by itself."""
    made = await begin(service, message("system", "sys"), *talk(2), message("user", WORDS * 50 + "big"))
    calls = [{"function": {"name": "look", "arguments": {}}}]
    await post(service, made["id"], "append", {"messages": [message("assistant", "calls", tool_calls=calls)]})
    answer = await post(
        service, made["id"], "messages", {"role": "tool", "content": WORDS * 50 + "seen", "tool_name": "look"}
    )
    assert answer.headers["x-omitted-messages"] == "4"
    assert shown(fake) == ["sys", "big", "calls", "seen"]
    assert await ask(service, made["id"], "next") == 8
    assert shown(fake) == ["sys", "next"]


async def test_what_is_no_part_of_it_is_not_sent(service: Service, fake: FakeOllama) -> None:
    """Replies that were replaced, and replies that broke off before their first word; neither counts as left out."""
    made = await begin(service, message("user", "one"), message("assistant", ""))
    fake.words = (" first",)
    await say(service, made["id"], "two")
    fake.words = (" second",)
    await again(service, made["id"])
    assert await ask(service, made["id"], "three") == 0
    assert [each["content"] for each in heard(fake)[-1]["messages"]] == ["one", "two", " second", "three"]


async def test_a_question_that_failed_is_part_of_the_talk(service: Service, fake: FakeOllama) -> None:
    """It stays between the others; a reply made anew is shown only what was there when it was asked."""
    made = await begin(service)
    fake.mode = Mode.ERROR_500
    assert (await post(service, made["id"], "messages", {"content": "lost"})).status_code == 502
    fake.mode = Mode.NORMAL
    assert await ask(service, made["id"], "asked") == 0
    assert [each["content"] for each in heard(fake)[-1]["messages"]] == ["lost", "asked"]
    await post(service, made["id"], "append", {"messages": [message("assistant", "and more")]})
    await again(service, made["id"])
    assert [each["content"] for each in heard(fake)[-1]["messages"]] == ["lost", "asked"]
    assert [each["content"] for each in (await read(service, made["id"]))["messages"]] == ["lost", "asked", SAID]
