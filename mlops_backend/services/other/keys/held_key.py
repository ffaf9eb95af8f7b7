"""One key of the database, ready to be found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from mlops_backend.principal import HEAVIEST, LIGHTEST, NO_LIMITS, Limits, Principal, Priority, Scope


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key that may work; times are seconds since the epoch.

    `expires_at` is the key's own end, `ends` has that of each of its secrets by its hash, whichever comes first.
    """

    principal: Principal
    expires_at: float | None
    ends: Mapping[bytes, float]

    @classmethod
    def read(cls, rows: Sequence[Mapping[Any, Any]], defaults: Limits) -> HeldKey:
        """A key that stands in as many rows as it has secrets, `hash` and `secret_expires_at` beside its own columns.

        Raises:
            ValueError, TypeError, AttributeError: a newer version of this service, or a person, wrote what is not
                understood here.
        """
        row = rows[0]
        scopes, limits = frozenset(map(Scope, row["scopes"])), defaults.replaced(row["limits"])
        turns = Priority(row["priority"]), _weight(row["weight"])
        of_people = NO_LIMITS.replaced(row["end_user_limits"])
        own = limits, *turns, of_people, bool(row["cache"])
        principal = Principal(row["name"], row["id"], scopes, tuple(row["models"]), *own)
        end = _seconds(row["expires_at"])
        ends = {
            bytes(each["hash"]): min(_seconds(each["secret_expires_at"]), end)
            for each in rows
            if each["hash"] is not None
        }
        return cls(principal, None if end == inf else end, ends)


def _weight(told: Any) -> float:
    weight = float(told)
    if not LIGHTEST <= weight <= HEAVIEST:
        raise ValueError(f"a weight of {weight} is not between {LIGHTEST} and {HEAVIEST}")
    return weight


def _seconds(milliseconds: int | None) -> float:
    return inf if milliseconds is None else milliseconds / 1000
