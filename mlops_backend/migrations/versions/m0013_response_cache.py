"""The ledger tells which answers were kept ones, and a key may want them."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0013"
down_revision: Final = "0012"

_COLUMNS: Final = (("generations", "cached"), ("api_keys", "cache"))


def upgrade() -> None:
    """Add the two columns; what is there, and what a service of the version before writes, has `false` in them."""
    for table, name in _COLUMNS:
        op.add_column(table, sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Drop them: nobody knows any more which answers no backend was asked for."""
    for table, name in _COLUMNS:
        op.drop_column(table, name)
