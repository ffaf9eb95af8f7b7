"""Sums of days that are over, beside the rows that they are made of."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0014"
down_revision: Final = "0013"

_TEXTS: Final = {"key_id": 256, "route": 128, "dialect": 16, "model": 1024, "backend": 512, "outcome": 16}
_SUMS: Final = (
    *("generations", "estimated", "prompt_tokens", "completion_tokens"),
    *("total_ms", "bytes_in", "bytes_out", "price"),
)


def upgrade() -> None:
    """Make the tables, which are filled later; a service of the version before does not look at them."""
    op.create_table("closed_days", _begin(), _number("until"), _number("generations"))
    sums = [_number(name) for name in _SUMS]
    texts = _texts("route", "dialect", "model", "backend", "outcome")
    op.create_table("closed_day_sums", _begin(), *texts, *sums)
    sums = [_number(name) for name in _SUMS]
    op.create_table("closed_day_keys", _begin(), *_texts("key_id", "model"), *sums)
    places = [sa.Column(name, sa.SmallInteger, primary_key=True, autoincrement=False) for name in ("measure", "place")]
    texts = _texts("model", "backend", "outcome")
    op.create_table("closed_day_latencies", _begin(), *texts, *places, _number("count"))


def downgrade() -> None:
    """Drop them: the ledger has all that is in them."""
    for name in ("closed_day_latencies", "closed_day_keys", "closed_day_sums", "closed_days"):
        op.drop_table(name)


def _begin() -> sa.Column[int]:
    return sa.Column("started_at", sa.BigInteger, primary_key=True, autoincrement=False)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(_TEXTS[name]), primary_key=True) for name in names]


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)
