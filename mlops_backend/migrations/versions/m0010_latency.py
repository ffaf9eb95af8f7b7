"""The ledger tells which answers came in pieces, and finds quickly what was not done."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0010"
down_revision: Final = "0009"

_TABLE: Final = "generations"
_NOT_DONE: Final = sa.text("outcome <> 'done'")
_INDEXES: Final = {
    "ix_generations_not_done": ["started_at", "outcome"],
    "ix_generations_key_not_done": ["key_id", "started_at", "outcome"],
}


def upgrade() -> None:
    """Add the column, unknown of what is there and of what a service of the version before writes; and two indexes.

    They have no row that is done: most are.
    """
    op.add_column(_TABLE, sa.Column("streamed", sa.Boolean))
    for name, columns in _INDEXES.items():
        op.create_index(name, _TABLE, columns, sqlite_where=_NOT_DONE, postgresql_where=_NOT_DONE)


def downgrade() -> None:
    """Drop them: nobody knows any more which times are those of a first token."""
    for name in _INDEXES:
        op.drop_index(name, _TABLE)
    op.drop_column(_TABLE, "streamed")
