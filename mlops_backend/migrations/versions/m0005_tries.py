"""The ledger tells which backends were asked in vain, and what a client called a model that has another name."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0005"
down_revision: Final = "0004"

_LENGTHS: Final = {"requested_model": 1024, "passed_over": 2048}


def upgrade() -> None:
    """Add the columns; a service of the version before, which does not know them, writes on meanwhile."""
    for name, length in _LENGTHS.items():
        op.add_column("generations", sa.Column(name, sa.String(length), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop them, and what they told."""
    for name in _LENGTHS:
        op.drop_column("generations", name)
