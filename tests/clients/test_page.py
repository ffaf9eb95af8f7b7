"""The page about the clients that are tested: its table is that of the results."""

from __future__ import annotations

from typing import Any

import pytest

from mlops_backend.middleware.asgi import STRAIGHT
from tests.clients.catalogue import CLIENTS
from tests.clients.loop_catalogue import LOOPS
from tests.clients.loop_results import loops_in_page, loops_table, read_loops
from tests.clients.results import Row, page_table, read_results, table_in_page
from tests.clients.sent import Answer, Kept
from tests.clients.stages import Behind
from tests.clients.verdicts import Cell, Verdict


def test_the_page_has_the_results() -> None:
    """The table in the page is made of the file, to the letter."""
    assert table_in_page() == page_table(read_results())


def test_no_client_is_missing() -> None:
    """Every client of the catalogue has its row, in the version that is pinned: four backends, or a reason."""
    rows = read_results()
    assert {name: row.version for name, row in rows.items()} == {client.name: client.version for client in CLIENTS}
    assert all(row.missing or set(row.cells) == set(Behind) for row in rows.values())


def test_the_page_has_the_loops() -> None:
    """The second table is made of its file, and every client of its catalogue is there, in each of its ways."""
    rows = read_loops()
    assert loops_in_page() == loops_table(rows)
    assert {name: row.version for name, row in rows.items()} == {client.name: client.version for client in LOOPS}
    assert all(rows[client.name].missing or set(rows[client.name].cells) == {*client.modes} for client in LOOPS)


def test_reasons_are_told_once() -> None:
    """What fails in several rows has one sentence, to which the cells lead by its number."""
    fails = {"chat": Cell(Verdict.WORKS), "tools": Cell(Verdict.FAILS, "it is <odd>")}
    nothing = {step: Cell(Verdict.REFUSED, "there is none") for step in ("chat", "tools")}
    mixed = {"chat": Cell(Verdict.WORKS, way="translated"), "embeddings": Cell(Verdict.WORKS, way="native")}
    works = {"chat": Cell(Verdict.WORKS, way="native"), "limit": Cell(Verdict.WORKS)}
    cells = dict(zip(map(str, Behind), (fails, works, nothing, mixed), strict=True))
    table = page_table({client.name: Row(client.name, client.version, "2026-11-29", cells=cells) for client in CLIENTS})
    told = "all; translated: chat; native: embeddings"
    assert table.count(f"| all but tools (1) | all; native | nothing: chat, tools (2) | {told} |") == len(CLIENTS)
    assert table.endswith("\n\n1. **Fails.** It is \\<odd\\>.\n2. There is none.\n")


@pytest.mark.parametrize(
    "body",
    [
        b'{"message":{"content":"A"},"done":false}\n{"message":{"content":"b"},"done":true}\n',
        b'{"message":{"role":"assistant","content":"Ab"},"done":true}',
        b'data: {"choices":[{"delta":{"content":"A"}}]}\n\ndata: {"choices":[{"delta":{"content":"b"}}]}\n\n',
        b'{"choices":[{"message":{"content":"Ab"}}]}',
        b'event: x\ndata: {"type":"content_block_delta","delta":{"type":"text_delta","text":"Ab"}}\n\n',
        b'{"type":"message","content":[{"type":"text","text":"Ab"}]}',
        b'data: {"type":"response.output_text.delta","delta":"Ab"}\n\ndata: {"response":{}}\n',
        b'{"object":"response","output":[{"type":"message","content":[{"type":"output_text","text":"Ab"}]}]}',
    ],
)
def test_text_is_read_out_of_every_protocol(body: bytes) -> None:
    """Of what was sent, whole or in a stream, the text is what the model said."""
    assert Answer("/", 200, body).text == "Ab"


class _Way:
    """A short way, that sends to nobody."""

    def may_send(self) -> bool:
        return True

    def send(self, piece: bytes) -> bool:
        return bool(piece)


async def test_pieces_that_go_the_short_way_are_kept_in_their_place() -> None:
    """A stream's pieces go past all applications: they are seen too, and the way is as it was afterwards."""

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"Hi"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-translated", b"a -> b")]})
        await send({"type": "http.response.body", "body": b'{"response":"A"}\n', "more_body": True})
        straight = STRAIGHT.get()
        assert straight is not None
        assert straight.may_send()
        assert straight.send(b'{"response":"b"}\n')
        await send({"type": "http.response.body", "body": b'{"response":"c"}\n'})

    async def received() -> Any:
        return {"type": "http.request", "body": b"Hi"}

    async def sent(event: Any) -> None:
        """To nobody."""

    kept, way = Kept(streaming), _Way()
    token = STRAIGHT.set(way)
    await kept({"type": "http", "path": "/"}, received, sent)
    (answer,) = kept.answers
    assert (answer.status, answer.text, answer.translated, answer.asked) == (200, "Abc", "a -> b", b"Hi")
    assert STRAIGHT.get() is way
    STRAIGHT.reset(token)
