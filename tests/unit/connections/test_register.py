"""How many connections there may be, and which of them are over."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network
from time import monotonic

import pytest
import structlog
from structlog.testing import capture_logs

from mlops_backend.connections import Register, Rules


@dataclass(eq=False)
class Held:
    """A connection that does nothing but be looked at."""

    address: str = "192.0.2.1"
    looks: list[float] = field(default_factory=list)
    idle_since: float | None = None

    def look(self, now: float, idle: float) -> None:
        """Remember how long it might have been idle."""
        self.looks.append(idle)


async def test_there_are_no_more_than_there_may_be() -> None:
    """One too many is not counted; when another leaves, there is room again."""
    register = Register(Rules(most=2))
    first, second, third = Held(), Held(), Held()
    assert [register.enter(each) for each in (first, second, third)] == [True, True, False]
    assert (register.open, register.full, register.refused) == (2, True, 1)
    register.leave(third)
    assert register.full
    register.leave(first)
    assert register.enter(third)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::2:3:4:5", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),
    ],
)
async def test_an_address_has_its_share(one: str, other: str, shared: bool) -> None:
    """Connections are counted by address, those of IPv6 by the network that a site gets."""
    register = Register(Rules(per_address=1))
    assert register.enter(Held(one))
    assert register.enter(Held(other)) is not shared


async def test_a_proxy_has_no_share() -> None:
    """A trusted proxy speaks for many: only the number of all bounds it."""
    register = Register(Rules(most=3, per_address=1, exempt=(ip_network("192.0.2.0/24"),)))
    assert [register.enter(Held("::ffff:192.0.2.1")) for _ in range(4)] == [True, True, True, False]


async def test_what_left_is_forgotten() -> None:
    """A million addresses that come and go take no memory."""
    register = Register(Rules())
    for number in range(1000):
        held = Held(f"192.0.2.{number}")
        register.enter(held)
        register.leave(held)
    assert (register.open, len(register._of_address)) == (0, 0)


async def test_a_limit_is_told_once_a_minute() -> None:
    """However many are refused, the log gets one line."""
    structlog.reset_defaults()  # an earlier test may have wanted errors alone
    register = Register(Rules(most=1))
    register.enter(Held())
    with capture_logs() as logs:
        for _ in range(100):
            register.enter(Held())
    assert [(entry["event"], entry["setting"]) for entry in logs] == [
        ("connections are at their limit", "MAX_CONNECTIONS")
    ]


async def test_in_a_crowd_the_idle_have_less_time() -> None:
    """Where there is hardly room left, an idle connection makes room for others."""
    register = Register(Rules(most=2, idle=75))
    one, other = Held(), Held()
    register.enter(one)
    register._look()
    register.enter(other)
    register._look()
    assert (one.looks, other.looks) == ([75, 5], [5])
    register.leave(one)
    register.leave(other)


async def test_the_end_is_looked_for_at_once() -> None:
    """When the server stops, what is idle is over, however short its time was."""
    register, held = Register(Rules()), Held()
    register.enter(held)
    register.stop()
    assert held.looks == [0]
    register.leave(held)


async def test_who_was_idle_for_longest_makes_room() -> None:
    """Not those that are served, nor one that has just come."""
    register = Register(Rules(most=8))
    served, longest, long = Held(), Held(idle_since=0.0), Held(idle_since=1.0)
    fresh = Held(idle_since=monotonic())
    for held in (served, long, fresh, longest):
        register.enter(held)
    register.make_room()
    assert [held.looks for held in (served, long, fresh, longest)] == [[], [], [], [0]]
