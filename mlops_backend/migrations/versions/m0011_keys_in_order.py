"""Keys are listed a page at a time, all or those of an owner."""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0011"
down_revision: Final = "0010"

_INDEXES: Final = {
    "ix_api_keys_created_at": ["created_at", "id"],
    "ix_api_keys_owner": ["owner", "created_at", "id"],
}


def upgrade() -> None:
    """Make two indexes; a service of the version before has its lists from them too."""
    for name, columns in _INDEXES.items():
        op.create_index(name, "api_keys", columns)


def downgrade() -> None:
    """Drop them: a page costs a look at every key again."""
    for name in _INDEXES:
        op.drop_index(name, "api_keys")
