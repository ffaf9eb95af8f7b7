"""A key has a class and a weight in the queue before the backends."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0006"
down_revision: Final = "0005"


def upgrade() -> None:
    """Add the columns; keys that are there, and those that a service of the version before makes, are ordinary."""
    op.add_column("api_keys", sa.Column("priority", sa.String(16), nullable=False, server_default="interactive"))
    op.add_column("api_keys", sa.Column("weight", sa.Float, nullable=False, server_default="1"))


def downgrade() -> None:
    """Drop them: all keys are equal again."""
    op.drop_column("api_keys", "weight")
    op.drop_column("api_keys", "priority")
