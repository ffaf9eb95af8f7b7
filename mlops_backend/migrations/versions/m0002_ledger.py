"""The ledger, and the days that old rows of it are rolled up into."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "generations",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.String(256), nullable=False),
        sa.Column("route", sa.String(128), nullable=False),
        sa.Column("dialect", sa.String(16), nullable=False),
        sa.Column("model", sa.String(1024), nullable=False),
        sa.Column("backend", sa.String(512), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("error", sa.String(64), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.Column("first_byte_ms", sa.Integer),
        sa.Column("total_ms", sa.BigInteger, nullable=False),
        sa.Column("bytes_in", sa.BigInteger, nullable=False),
        sa.Column("bytes_out", sa.BigInteger, nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_generations_started_at", "generations", ["started_at"])
    op.create_index("ix_generations_key_id", "generations", ["key_id", "started_at"])
    op.create_index("ix_generations_model", "generations", ["model", "started_at"])
    op.create_index("ix_generations_request_id", "generations", ["request_id", "started_at"])
    op.create_table(
        "usage_daily",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key_id", sa.String(256), primary_key=True),
        sa.Column("route", sa.String(128), primary_key=True),
        sa.Column("dialect", sa.String(16), primary_key=True),
        sa.Column("model", sa.String(1024), primary_key=True),
        sa.Column("backend", sa.String(512), primary_key=True),
        sa.Column("outcome", sa.String(16), primary_key=True),
        sa.Column("generations", sa.BigInteger, nullable=False),
        sa.Column("estimated", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("total_ms", sa.BigInteger, nullable=False),
        sa.Column("bytes_in", sa.BigInteger, nullable=False),
        sa.Column("bytes_out", sa.BigInteger, nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_usage_daily_key_id", "usage_daily", ["key_id", "day"])


def downgrade() -> None:
    """Drop them, and the ledger with them."""
    op.drop_table("usage_daily")
    op.drop_table("generations")
