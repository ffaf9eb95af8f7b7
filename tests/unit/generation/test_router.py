"""The router: what is known of the backends is put together once per change, and what it learns counts at once."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic
from typing import Any, Final

import pytest

from mlops_backend.errors import BackendRefused, ClockRanOut
from mlops_backend.services.llm.asked import OPENAI_GENERATE, Asked
from mlops_backend.services.llm.backends import Described, Known, Probe
from mlops_backend.services.llm.generation.router import LeftAlone, Router
from mlops_backend.services.llm.leases import Bounds, Leases
from mlops_backend.services.llm.pins import Pin

MODEL: Final = "llama3:latest"


class Server:
    """A backend that nobody asks."""

    kind = "ollama"

    def __init__(self, name: str) -> None:
        self.address = name


class Pool:
    """Three backends with one model, which none has loaded."""

    def __init__(self) -> None:
        self.servers = [Server(name) for name in ("a", "b", "c")]
        self.loaded: dict[str, dict[str, int | None]] = {server.address: {} for server in self.servers}
        self.drained: set[str] = set()
        self.at = monotonic()
        self.changes = 0
        self.looks = 0

    @property
    def names(self) -> list[str]:
        """What they are called."""
        return [server.address for server in self.servers]

    def name_of(self, server: Server) -> str:
        """What one is called."""
        return server.address

    def known(self) -> list[Known]:
        """What is known of each."""
        self.looks += 1
        found = []
        for server in self.servers:
            some: Any = server
            probe = Probe(some, reachable=True, names=frozenset({MODEL}), loaded=self.loaded[server.address])
            found.append(Known(Described(some, server.address), probe, self.at, server.address in self.drained))
        return found

    def look(self) -> None:
        """All have been looked at again."""
        self.changes += 1
        self.at = monotonic()


@pytest.fixture
def pool() -> Pool:
    """New ones."""
    return Pool()


def router_of(pool: Pool) -> Router:
    """A router over them, with leases without a bound."""
    leases = Leases(Bounds(9, 9, 9, 9))
    leases.use(dict.fromkeys(pool.names))
    return Router(pool, leases)  # type: ignore[arg-type]


def asked(said: str) -> Asked:
    """A request whose prompt begins so."""
    content = b'{"model":"llama3","messages":[{"role":"user","content":"%b"}]}' % said.encode()
    return Asked(OPENAI_GENERATE, "POST", "/v1/chat/completions", content=content, model="llama3")


def first_of(router: Router, pool: Pool, said: str = "Hi") -> tuple[str, str]:
    """Who is asked first, and why."""
    servers: Any = pool.servers
    (choice, *_), _ = router.order(servers, asked(said))
    return choice.name, choice.reason


def test_it_is_put_together_once_per_change(pool: Pool) -> None:
    """Leases come and go without that; a look at a backend, a drain and a failure make it anew."""
    router = router_of(pool)
    for said in ("one", "two", "three"):
        first_of(router, pool, said)
    assert pool.looks == 1
    pool.look()
    first_of(router, pool)
    assert pool.looks == 2
    with pytest.raises(BackendRefused), router.asking("a", "llama3", anyway=False):
        raise BackendRefused("Nobody is there.")
    first_of(router, pool)
    assert pool.looks == 3


def test_a_pin_that_stands_beside_the_body_is_the_context_that_is_wanted(pool: Pool) -> None:
    """A backend that has the model with another one would have to load it anew."""
    router = router_of(pool)
    pool.loaded |= {"a": {MODEL: 2048}, "b": {MODEL: 8192}, "c": {MODEL: 2048}}
    pool.look()
    servers: Any = pool.servers
    for said in ("one", "two", "three"):
        (choice, *_), _ = router.order(servers, replace(asked(said), pin=Pin(8192)))
        assert (choice.name, choice.reason) == ("b", "warm")
    (choice, *_), _ = router.order(servers, replace(asked("one"), pin=Pin(keep_alive="24h")))
    assert choice.reason == "affinity"


def test_a_load_attracts_what_wants_the_model(pool: Pool) -> None:
    """From its begin on; once it has answered it is warm, until a look says that it is not."""
    router = router_of(pool)
    name, reason = first_of(router, pool, "one")
    assert reason == "cold"
    with router.asking(name, "llama3", anyway=False) as asking:
        assert {first_of(router, pool, said) for said in ("two", "three", "four", "five")} == {(name, "loading")}
        asking.answered(200)
    assert {first_of(router, pool, said)[0] for said in ("two", "three", "four", "five")} == {name}
    pool.look()
    assert {first_of(router, pool, said)[1] for said in ("two", "three")} == {"cold"}


def test_three_failures_in_a_row_leave_a_backend_alone(pool: Pool) -> None:
    """It is in no order then, and nobody has leave to ask it but who has nobody else."""
    router = router_of(pool)
    for _ in range(3):
        with pytest.raises(BackendRefused), router.asking("a", "llama3", anyway=False):
            raise BackendRefused("Nobody is there.")
    assert "a" not in {first_of(router, pool, f"{number} and more")[0] for number in range(30)}
    with pytest.raises(LeftAlone), router.asking("a", "llama3", anyway=False):
        pass
    with router.asking("a", "llama3", anyway=True) as asking:
        asking.answered(500)


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503, 504])
def test_what_says_nothing_of_a_backend_leaves_it_as_it_is(pool: Pool, status: int) -> None:
    """Errors of clients, a busy backend, one that is slow to load."""
    router = router_of(pool)
    for _ in range(5):
        with router.asking("a", "llama3", anyway=False) as asking:
            asking.answered(status)
        with pytest.raises(ClockRanOut), router.asking("a", "llama3", anyway=False):
            raise ClockRanOut("It said nothing in time.")
    assert "a" in {first_of(router, pool, f"{number} and more")[0] for number in range(30)}


def test_what_nobody_lists_is_asked_for_in_the_operators_order(pool: Pool) -> None:
    """And where all that list it are drained or left alone, they are named for what they are."""
    router = router_of(pool)
    servers: Any = pool.servers
    other = Asked(OPENAI_GENERATE, "POST", "/v1/chat/completions", content=b"{}", model="unlisted")
    assert [(each.name, each.reason) for each in router.order(servers, other)[0]] == [
        ("a", "unlisted"),
        ("b", "unlisted"),
        ("c", "unlisted"),
    ]
    pool.drained = {"a", "b", "c"}
    pool.look()
    assert {each.reason for each in router.order(servers, asked("Hi"))[1]} == {"away"}


def test_backends_that_are_gone_are_forgotten(pool: Pool) -> None:
    """A service that is given ever new ones remembers few of the old ones."""
    router = router_of(pool)
    for number in range(1000):
        with router.asking(f"gone {number}", "llama3", anyway=False):
            pass
    pool.look()
    first_of(router, pool)
    assert len(router._breakers) <= 210
    assert len(router._loading) <= 210
