"""A key may have limits for each of its end users."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0008"
down_revision: Final = "0007"


def upgrade() -> None:
    """Add the column; keys that are there, and those of a service of the version before, have no such limits."""
    op.add_column("api_keys", sa.Column("end_user_limits", sa.JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    """Drop it: only the keys themselves are limited."""
    op.drop_column("api_keys", "end_user_limits")
