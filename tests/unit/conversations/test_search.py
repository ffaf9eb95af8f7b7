"""Words found in messages: on both databases alike, each conversation once, and never anybody else's."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, text, update

from mlops_backend.errors import InvalidBody
from mlops_backend.folding import SEARCHED, folded
from mlops_backend.services.other.conversations import search as message_search
from mlops_backend.services.other.conversations import search_words
from mlops_backend.services.other.conversations.search import Found, found
from mlops_backend.services.other.conversations.search_words import Words, excerpt, parsed
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import conversations, messages

OWN, OTHER = "a" * 32, "b" * 32
NUMBERS = count(1)
MESSAGE: dict[str, Any] = {
    **dict.fromkeys(("role", "thinking", "tool_calls", "tool_name", "model", "outcome", "error"), ""),
    **dict.fromkeys(("omitted", "bytes", "created_at"), 0),
    "estimated": False,
}


class Stored:
    """A database and what is put in and found."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def add(self, *contents: str, title: str = "", owner: str = OWN) -> str:
        """A conversation with messages of these contents."""
        conversation = f"{next(NUMBERS):032x}"
        row = {column.name: 0 for column in conversations.columns}
        texts = {"id": conversation, "key_id": f"key_{owner[0]}", "owner": owner, "title": title, "model": ""}
        async with self.database.writing() as connection:
            await connection.execute(insert(conversations), [{**row, **texts}])
        for sequence, content in enumerate((title, *contents)):
            await self.say(conversation, content, sequence=sequence, owner=owner)
        return conversation

    async def say(self, conversation: str, content: str, **more: Any) -> str:
        """One more message."""
        message = f"{next(NUMBERS):032x}"
        values = {"sequence": int(message, 16), "owner": OWN, **more}
        row = {**MESSAGE, "id": message, "conversation_id": conversation, "content": content, **values}
        async with self.database.writing() as connection:
            await connection.execute(insert(messages), [row])
        return message

    async def page(self, words: str, before: int | None = None, limit: int = 50) -> list[Found]:
        """What is found."""
        async with self.database.reading() as connection:
            return await found(connection, OWN, "key_a", parsed(words), before, limit)

    async def ids(self, words: str, limit: int = 50) -> list[str]:
        """The conversations of all pages."""
        ids: list[str] = []
        before = None
        while rows := await self.page(words, before, limit):
            assert len(rows) <= limit
            before = rows[-1].number
            ids += [row.conversation["id"] for row in rows]
        return ids

    async def has(self, words: str) -> bool:
        """Whether anything is found."""
        return bool(await self.ids(words))


@pytest.fixture
async def stored(database_url: str) -> AsyncIterator[Stored]:
    """A database of each kind."""
    database = Database(database_url)
    await database.open()
    yield Stored(database)
    await database.aclose()


@pytest.mark.parametrize(
    ("content", "finds", "misses"),
    [
        ("I don't know", ["don't", "DON'T", "know i", '"I don\'t know"'], ["dont", '"know I"', "kno"]),
        ("call foo.bar(self.content)", ["foo.bar", "bar", "foo", "self.content", "content)"], ["foobar", "bar.foo"]),
        ("an e-mail to me@example.com", ["e-mail", "mail", "example", "me@example.com", "com"], ["email", "exam"]),
        ("C++ and C#, not_here/src/file.py", ["C++", "c", "file", "src/file.py", "here", "not_here"], ["c and d"]),
        ("see https://example.org/a?b=c&d=e", ["example.org", "b=c", "https", "org/a"], ["org/b"]),
        ("<b>bold</b> &amp; <script>", ["bold", "<b>", "script", "amp"], ["strong"]),
        ("ÄPFEL und Öl, Straße", ["äpfel", "Äpfel", "öl", "STRAßE", "äpf*"], ["apfel", "ol", "äpfe"]),
        ("„Дом“ – и… ΣΊΣΥΦΟΣ", ["дом", "ДОМ", "и", "дом*", '"дом и"'], ["до"]),
        ("日本語のテスト。次の文", ["日本語のテスト", "次の文", "日本語*"], ["日本"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया", '"नमस्ते दुनिया"'], ["नम"]),
        ("cafe\u0301 noir", ["cafe\u0301", "caf\u00e9", "CAF\u00c9", "CAFE\u0301", "caf\u00e9*"], ["tea", "cafe"]),
        ("caf\u00e9 noir", ["cafe\u0301", "caf\u00e9", '"CAFE\u0301 NOIR"'], ["cafe"]),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", ["\ud55c\uad6d"], ["\ud55c"]),
        ("\u212b ngstrom \u00c5land", ["\u00e5", "\u00e5land", "A\u030aLAND"], ["aland"]),
        ("STRASSE und Stra\u00dfe", ['"strasse und strasse"', '"stra\u00dfe und STRASSE"', "STRASSE"], ["strase"]),
        ("ПРИВЕТ ΜΆΪΟΣ", ["привет", "ПриВет", "μάϊοσ", "μάϊος", "ΜΆΪΟΣ", "μάϊ*"], ["μαιος"]),
        ("ᾳ ᾼ ΑΙ", ["αι", "ᾼ", "ᾳ", '"ᾼ ΑΙ ᾳ"'], ["α"]),
        ("\u1fb4 beside", ["\u03b1\u0345\u0301", "\u03b1\u0301\u0345", "\u0386\u0399", "\u1fb4"], ["\u03b1\u03af"]),
        ("Ǆ İstanbul DŽ", ["ǆ", "ǅ", "i\u0307stanbul", "İSTANBUL", "dž"], ["istanbul", "ıstanbul"]),
        ("version 3.11 at 1e5 0x1f -7 12abc", ["3.11", "11", "1e5", "0x1f", "7", "12abc", "12a*"], ["12", "1e6"]),
        ("before\0after \x10middle", ["before", "after", "middle", '"before after"'], ["0after", "beforeafter"]),
        ("x" * 3000 + " tail", ["tail"], ["xxx"]),
        ("programming", ["pro*", "PROG*", "programming*"], ["programmings*", "program", '"prog"', "gra*"]),
    ],
)
async def test_words(stored: Stored, content: str, finds: list[str], misses: list[str]) -> None:
    """Letters and digits make a word, everything else ends one; case does not matter, accents do."""
    await stored.add(content)
    assert [words for words in finds if not await stored.has(words)] == []
    assert [words for words in misses if await stored.has(words)] == []


async def test_all_words_in_one_message(stored: Stored) -> None:
    """Words spread over two messages are not found together; those of the title are, and its match has no message."""
    both = await stored.add("red green", "blue", title="Colours of the sky")
    assert await stored.ids("green red") == [both]
    assert await stored.ids("red blue") == []
    assert await stored.ids('"red green"') == [both]
    assert await stored.ids('"green red"') == []
    (row,) = await stored.page("sky colours")
    assert (row.message_id, row.excerpt, row.conversation["id"]) == (None, "Colours of the sky", both)
    (row,) = await stored.page("blu*")
    assert row.message_id is not None
    assert row.excerpt == "blue"


@pytest.mark.parametrize("limit", [1, 2, 7, 50])
async def test_each_conversation_once(stored: Stored, limit: int) -> None:
    """Over all pages a conversation comes once, at its newest match, the newest match first."""
    ids = [await stored.add(*["word"] * (1 + number % 3)) for number in range(12)]
    await stored.add("nothing")
    await stored.say(ids[3], "another word")
    order = [ids[3], *(other for other in reversed(ids) if other != ids[3])]
    assert await stored.ids("word", limit) == order
    assert await stored.ids("word*", limit) == order


async def test_many_matches_of_few_conversations(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies behind more matches than are looked through at once is found too, once."""
    monkeypatch.setattr(message_search, "_WALKED", 5)
    old = [await stored.add("word", "rare") for _ in range(4)]
    long = await stored.add(*["word"] * 40)
    assert await stored.ids("word", 2) == [long, *reversed(old)]
    assert await stored.ids("rare", 3) == old[::-1]


async def test_nothing_of_others(stored: Stored) -> None:
    """Another key's messages are not found, nor a conversation that has a wrong owner, whatever is typed."""
    await stored.add("secret word", owner=OTHER)
    own = await stored.add("word")
    for words in ("word", "wor*", OTHER, f"{OTHER} word", f'"{OTHER}"', f"@{OTHER}", f"owner:{OTHER}", own):
        assert await stored.ids(words) in ([], [own])
    assert not await stored.has("secret")
    async with stored.database.reading() as connection:
        assert await found(connection, OTHER, "key_a", parsed("secret"), None, 50) == []


async def test_replaced_changed_and_deleted(stored: Stored) -> None:
    """A reply leaves the index when it is replaced, a text when it changes, and all of it with its conversation."""
    conversation = await stored.add("first", title="name")
    reply = await stored.say(conversation, "second")
    async with stored.database.writing() as connection:
        await connection.execute(update(messages).where(messages.c.id == reply).values(replaced_at=1))
        title = messages.c.conversation_id == conversation, messages.c.sequence == 0
        await connection.execute(update(messages).where(*title).values(content="label"))
    assert [await stored.has(word) for word in ("first", "second", "name", "label")] == [True, False, False, True]
    async with stored.database.writing() as connection:
        await connection.execute(update(messages).where(messages.c.id == reply).values(replaced_at=None, content="3rd"))
    assert [await stored.has(word) for word in ("second", "3rd")] == [False, True]
    async with stored.database.writing() as connection:
        await connection.execute(delete(conversations).where(conversations.c.id == conversation))
    assert [await stored.has(word) for word in ("first", "label", "3rd")] == [False] * 3


async def test_sqlites_index_has_no_leftovers(stored: Stored) -> None:
    """After a cascade nothing of the words is left in SQLite's index, and it fits the texts at every moment."""
    if not stored.database.is_sqlite:
        pytest.skip("PostgreSQL keeps its own in step")
    check = text("INSERT INTO message_words (message_words, rank) VALUES ('integrity-check', 1)")
    terms = text("SELECT count(*) FROM words_of_index")
    kept = await stored.add("one two", "three\0four", "x" * (SEARCHED + 10))
    gone = await stored.add("five six")
    reply = await stored.say(gone, "seven")
    async with stored.database.writing() as connection:
        await connection.execute(
            text("CREATE VIRTUAL TABLE temp.words_of_index USING fts5vocab(main, message_words, row)")
        )
        await connection.execute(update(messages).where(messages.c.id == reply).values(replaced_at=1))
        await connection.execute(check)
        await connection.execute(update(messages).where(messages.c.id == reply).values(replaced_at=None))
        await connection.execute(delete(conversations).where(conversations.c.id == gone))
        await connection.execute(check)
        left = set((await connection.execute(text("SELECT term FROM words_of_index"))).scalars())
        assert {"five", "six", "seven", gone} & left == set()
        assert {"one", "two", "three", "four", kept} <= left
        await connection.execute(delete(conversations))
        await connection.execute(check)
        assert (await connection.execute(terms)).scalar() == 0


LONGEST = 2**20


@pytest.mark.parametrize(
    "content",
    [
        " ".join(map(chr, range(0x20000, 0x20000 + 40_000))) * 14,
        " ".join(chr(0x20000 + n % 40_000) + chr(0x20000 + n // 40_000) for n in range(LONGEST // 3)),
        ("\U00020000" * 511 + " ") * (LONGEST // 512),
        "".join("\U00020000" * 500 + chr(0x20000 + n) + " " for n in range(LONGEST // 502)),
        "é" * LONGEST,
        "\0" * LONGEST,
        " ".join(f"{n}" for n in range(LONGEST // 7)),
        "İ" * LONGEST,
    ],
    ids=["letters", "pairs", "long", "long distinct", "one word", "nul", "numbers", "longer in lower case"],
)
async def test_the_longest_texts_are_stored(stored: Stored, content: str) -> None:
    """A text of a million characters is stored whatever it is made of, and reads back; its beginning is found."""
    content = f"beginning {content}"[:LONGEST]
    await stored.add(content)
    async with stored.database.reading() as connection:
        assert (
            await connection.execute(select(messages.c.content).where(messages.c.sequence == 1))
        ).scalar() == content
    (row,) = await stored.page("beginning")
    assert len(row.excerpt) < 200


@pytest.mark.parametrize(
    "typed",
    [
        '" OR owner:x', 'x" OR content:y', "x*y*", "x :*", "(", "NOT x", "x NOT y", "NEAR(x y)", "x AND", "OR x",
        "^x", "x + y", "{owner content}: x", "- owner : x", "\\", "x\\", "'x'", "x'; --", "x''y", '"', '""', '"x', 'x"',
        "x & y", "x | !y", "!x", "<->", "x <-> y", "x:A", "x:*B", "x\0y", "\0", "*", "xyz*", ":*", "%", "$1", ":query",
        "😀", "😀 x", "٣", "²", "x\u200by", "\u0301", "ﬁ", "\ud800", "𞤀", "一*", "x" * 200, "ǅ",
    ],
)  # fmt: skip
async def test_what_is_typed_has_no_meaning(stored: Stored, typed: str) -> None:
    """Whatever is typed is words to look for or a sentence that it is none; it is never a query of its own."""
    await stored.add("unrelated", title="nothing")
    await stored.add("unrelated", owner=OTHER)
    try:
        words = parsed(typed)
    except InvalidBody:
        return
    async with stored.database.reading() as connection:
        for before in (None, 10**6):
            assert await found(connection, OWN, "key_a", words, before, 200) == []


@pytest.mark.parametrize("typed", ["", " ", "*", '"', "...", '"" -', "ab*", "a b*", "x" * 201, "x " * 17, "a.b-" * 9])
def test_what_is_refused(typed: str) -> None:
    """No word, a beginning that is too short, too many words or too long a text is refused, naming the field."""
    with pytest.raises(InvalidBody) as caught:
        parsed(typed)
    assert caught.value.details[0]["loc"] == ["search"]


@given(st.text(max_size=200))
def test_only_letters_get_into_a_query(typed: str) -> None:
    """What was typed leaves no mark in either query that could end a quotation."""
    try:
        words = parsed(typed)
    except InvalidBody:
        return
    inner = [word for phrase in words.phrases for word in phrase.words]
    assert not {*"\"'\\*:&|!()<>\0"} & set("".join(inner))
    assert words.fts5().count('"') == 2 * len(words.phrases)
    assert words.tsquery().count("'") == 2 * len(inner)


@pytest.mark.parametrize(
    ("content", "typed", "shown"),
    [
        ("short text", "text", "short text"),
        ("no place", "other", "no place"),
        ("two\n\n  lines", "lines", "two lines"),
        ("a " * 100 + "the Foo.Bar end", "foo bar*", "…" + "a " * 23 + "the Foo.Bar end"),
        ("word " * 100, "word", ("word " * 32).strip() + "…"),
        ("unwordly sword " * 20 + "Word", "word", "…" + "unwordly sword " * 3 + "Word"),
        ("x" * 500, "y", "x" * 160 + "…"),
        ("", "y", ""),
        ("stra\u00dfe " * 200 + "Cafe\u0301 au lait", "CAF\u00c9", "…" + "stra\u00dfe " * 7 + "Cafe\u0301 au lait"),
        ("e\u0301" * 2000 + " lait", "lait", "…lait"),
    ],
)
def test_an_excerpt(content: str, typed: str, shown: str) -> None:
    """Some 160 characters around the first place, cut between words, on one line."""
    assert excerpt(content, parsed(typed)) == shown


@given(st.text(max_size=50) | st.text(max_size=9, alphabet="\u03b1\u0345\u0301\u0391\u1fb4\u1fbc\u0390\u03b9I\u0307"))
def test_what_readers_take_for_equal_is_folded_alike(text: str) -> None:
    """Composed or not, in capitals or not, and folded once or twice."""
    forms = (unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text), folded(text))
    assert {folded(form) for form in forms} == {folded(text)}
    assert folded(text.upper().lower()) == folded(text.upper())


@given(st.text(max_size=3000, alphabet=st.sampled_from("aß\u0301é ΐİﬃ")), st.integers(0, 4000))
def test_a_place_of_a_folded_text_is_found_in_the_text(text: str, place: int) -> None:
    """To a letter or its marks."""
    found_at = search_words._unfolded(text, min(place, len(folded(text))))
    assert 0 <= found_at <= len(text)
    assert abs(len(folded(text[:found_at])) - min(place, len(folded(text)))) <= 12


@given(st.text(max_size=600), st.text(min_size=1, max_size=20))
def test_any_text_has_an_excerpt(content: str, typed: str) -> None:
    """An excerpt is short and never empty where the text has something to show at its beginning."""
    words: Words | None
    try:
        words = parsed(typed)
    except InvalidBody:
        return
    shown = excerpt(content, words)
    assert len(shown) <= 162
    assert "\n" not in shown
