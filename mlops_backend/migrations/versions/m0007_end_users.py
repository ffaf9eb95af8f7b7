"""The ledger tells for whom the client of a key asked."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0007"
down_revision: Final = "0006"

_TABLE: Final = "generations"
_INDEX: Final = "ix_generations_end_user"
_NAMED: Final = sa.text("end_user <> ''")


def upgrade() -> None:
    """Add the column, and an index of the rows that name somebody; a service of the version before writes on."""
    op.add_column(_TABLE, sa.Column("end_user", sa.String(256), nullable=False, server_default=""))
    op.create_index(_INDEX, _TABLE, ["end_user", "started_at"], sqlite_where=_NAMED, postgresql_where=_NAMED)


def downgrade() -> None:
    """Drop both: nobody knows any more for whom a key asked."""
    op.drop_index(_INDEX, _TABLE)
    op.drop_column(_TABLE, "end_user")
