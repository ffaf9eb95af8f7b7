"""What is searched is folded by the service: composed letters, no case, alike on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import sqlalchemy as sa
from alembic import op

from mlops_backend.folding import folding_of
from mlops_backend.migrations.versions import m0003_conversations as before

revision: Final = "0004"
down_revision: Final = "0003"

_CHUNK: Final = 200
_FOLDED: Final = "coalesce({row}folded, {row}content)"
# Escapes of what no database takes are no letters, and stay as they are.
_messages: Final = sa.table(
    "messages", sa.column("number", sa.BigInteger), sa.column("content", sa.Text), sa.column("folded", sa.Text)
)


def upgrade() -> None:
    """Add what stands for a text in the index, for those that are there too, and make the index anew."""
    bind = op.get_bind()
    _drop_index(bind)
    op.add_column("messages", sa.Column("folded", sa.Text))
    _fold_all(bind)
    _make_index(bind, _with_folded)


def downgrade() -> None:
    """The index is of the texts as they are again."""
    bind = op.get_bind()
    _drop_index(bind)
    op.drop_column("messages", "folded")
    _make_index(bind, str)


def _drop_index(bind: sa.Connection) -> None:
    if bind.dialect.name == "sqlite":
        for trigger in ("inserted", "deleted", "updated"):
            bind.exec_driver_sql(f"DROP TRIGGER messages_{trigger}")
        bind.exec_driver_sql("DROP TABLE message_words")
        bind.exec_driver_sql("DROP VIEW message_texts")
    else:
        bind.exec_driver_sql("ALTER TABLE messages DROP COLUMN words")  # and its index with it


def _make_index(bind: sa.Connection, changed: Callable[[str], str]) -> None:
    for statement in before.SQLITE if bind.dialect.name == "sqlite" else before.POSTGRESQL:
        bind.exec_driver_sql(changed(statement))
    if bind.dialect.name == "sqlite":
        bind.exec_driver_sql("INSERT INTO message_words (message_words) VALUES ('rebuild')")


def _with_folded(statement: str) -> str:
    """A statement of the step before that indexes what is folded."""
    for row in ("old.", "new.", ""):
        for function in ("substr", "left"):
            text = _FOLDED.format(row=row)
            statement = statement.replace(f"{function}({row}content, ", f"{function}({text}, ")
    return statement.replace(
        "conversation_id, content, replaced_at ON", "conversation_id, content, folded, replaced_at ON"
    )


def _fold_all(bind: sa.Connection) -> None:
    query = sa.select(_messages.c.number, _messages.c.content).order_by(_messages.c.number).limit(_CHUNK)
    put = sa.update(_messages).where(_messages.c.number == sa.bindparam("at")).values(folded=sa.bindparam("text"))
    rows = bind.execute(query).all()
    while rows:
        texts = [{"at": number, "text": folding_of(content)} for number, content in rows]
        if changed := [row for row in texts if row["text"] is not None]:
            bind.execute(put, changed)
        rows = bind.execute(query.where(_messages.c.number > rows[-1].number)).all()
