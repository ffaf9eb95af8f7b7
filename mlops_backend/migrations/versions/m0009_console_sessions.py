"""Browsers have sessions."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0009"
down_revision: Final = "0008"


def upgrade() -> None:
    """Make the table; a service of the version before does not look at it."""
    op.create_table(
        "console_sessions",
        sa.Column("hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("key_id", sa.String(256), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_console_sessions_key_id", "console_sessions", ["key_id", "created_at"])
    op.create_index("ix_console_sessions_expires_at", "console_sessions", ["expires_at"])


def downgrade() -> None:
    """Drop it: who has signed in does so again."""
    op.drop_table("console_sessions")
