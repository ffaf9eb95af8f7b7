"""The page about translation says what the code does: which routes are taken, in which order, and what is lost."""

from __future__ import annotations

from collections.abc import Iterable

from mlops_backend.services.llm.backends.losses import ANSWERS, REQUESTS, Loss
from mlops_backend.services.llm.backends.openai_drop_in import not_here
from mlops_backend.services.llm.backends.ways import WAYS, can_be_carried, over
from mlops_backend.services.llm.dialects.native import ROUTES
from tests.e2e.page_blocks import read_table
from tests.unit.dialects.test_native_any_body import SOUND

PAGE = "translation.md"


def order_rows() -> list[tuple[str, ...]]:
    """The rows of the order of preference."""
    return [
        (f"`{path}`", *(", then ".join(f"`{way}`" for way in WAYS[kind][path]) for kind in ("ollama", "openai")))
        for path in WAYS["openai"]
    ]


def loss_rows(losses: Iterable[Loss]) -> list[tuple[str, ...]]:
    """The rows of what is lost."""
    return [(loss.source, loss.target, loss.what, loss.becomes) for loss in losses]


def test_the_order_of_preference() -> None:
    """For both kinds of backends, of the same routes."""
    assert read_table(PAGE, "The order of preference") == order_rows()
    assert WAYS["ollama"].keys() == WAYS["openai"].keys()


def test_what_is_lost() -> None:
    """Of requests and of answers, as the code has it."""
    assert read_table(PAGE, "What is lost") == loss_rows(REQUESTS)
    assert read_table(PAGE, "What is lost", 1) == loss_rows(ANSWERS)


def test_the_ways_are_those_that_are_gone() -> None:
    """What is carried over Ollama's routes goes where the table says; the best way is the client's own route."""
    assert ROUTES.keys() <= WAYS["ollama"].keys()
    for path in ROUTES:
        assert WAYS["ollama"][path] == (path, ROUTES[path](SOUND[path]).path)
        assert WAYS["openai"][path][0] == path
    for path, ways in WAYS["openai"].items():
        assert can_be_carried(path) is (ways[-1] != path)
        assert over("openai", path) == ways[-1]
        assert not path.startswith("/api/") or path not in ways
    assert "no blobs" in not_here("/api/blobs/x").message
