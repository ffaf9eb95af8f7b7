"""Conversations, their messages and images, and the index that searches them."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"

# PostgreSQL's parser takes foo.bar for a host and a/b for a file, each as one word: what is no letter and no digit
# becomes a space first, so that both databases know the same words. The long ones of a database in the locale C, where
# everything beyond ASCII is a letter, are the last.
_MARKS: Final = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" + "¡¿«»·–—‘’‚“”„†•…‹›、。「」"
# A tsvector holds 1 MiB: the worst text takes six bytes a letter of that, words and their places together.
_LONGEST: Final = 150_000
_QUOTED_MARKS: Final = "E'" + _MARKS.replace("\\", "\\\\").replace("'", "''") + "'"
_WORDS: Final = f"translate(left(content, {_LONGEST}), {_QUOTED_MARKS}, repeat(' ', {len(_MARKS)}))"

# Replaced replies are not found. No word of a text begins with @.
POSTGRESQL: Final = (
    f"""ALTER TABLE messages ADD COLUMN words tsvector GENERATED ALWAYS AS (
        CASE WHEN replaced_at IS NULL
        THEN array_to_tsvector(ARRAY[('@' || owner)::text]) || to_tsvector('simple', {_WORDS}) END) STORED""",
    # A list of what is still to be sorted in would be read by each search, and sorted in by one unlucky writer.
    "CREATE INDEX ix_messages_words ON messages USING gin (words) WITH (fastupdate = off)",
)

_DELETE: Final = f"""INSERT INTO message_words (message_words, rowid, owner, conversation_id, content)
        SELECT 'delete', old.number, old.owner, old.conversation_id, substr(old.content, 1, {_LONGEST})
        WHERE old.replaced_at IS NULL;"""
_INSERT: Final = f"""INSERT INTO message_words (rowid, owner, conversation_id, content)
        SELECT new.number, new.owner, new.conversation_id, substr(new.content, 1, {_LONGEST})
        WHERE new.replaced_at IS NULL;"""
SQLITE: Final = (
    f"""CREATE VIEW message_texts AS SELECT number, owner, conversation_id, substr(content, 1, {_LONGEST}) AS content
        FROM messages WHERE replaced_at IS NULL""",  # noqa: S608 - a number
    """CREATE VIRTUAL TABLE message_words USING fts5(owner, conversation_id, content, content='message_texts',
        content_rowid='number', tokenize='unicode61 remove_diacritics 0', prefix='3 4', columnsize=0)""",
    f"CREATE TRIGGER messages_inserted AFTER INSERT ON messages BEGIN {_INSERT} END",
    f"CREATE TRIGGER messages_deleted AFTER DELETE ON messages BEGIN {_DELETE} END",
    f"""CREATE TRIGGER messages_updated AFTER UPDATE OF owner, conversation_id, content, replaced_at ON messages
        BEGIN {_DELETE} {_INSERT} END""",
)


def upgrade() -> None:
    """Make the tables, and the index that the database has of its own for texts."""
    _create_conversations()
    _create_messages()
    _create_images()
    bind = op.get_bind()
    for statement in SQLITE if bind.dialect.name == "sqlite" else POSTGRESQL:
        bind.exec_driver_sql(statement)


def downgrade() -> None:
    """Drop them, and every conversation with them."""
    bind = op.get_bind()
    if bind.dialect.name == "sqlite":
        bind.exec_driver_sql("DROP TABLE message_words")
        bind.exec_driver_sql("DROP VIEW message_texts")
    for table in ("message_images", "images", "messages", "conversation_owners", "conversations"):
        op.drop_table(table)


def _create_conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("key_id", sa.String(256), nullable=False),
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("model", sa.String(512), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("next_sequence", sa.BigInteger, nullable=False),
        sa.Column("message_count", sa.Integer, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_conversations_key_id", "conversations", ["key_id", "updated_at", "id"])
    op.create_index("ix_conversations_id", "conversations", ["key_id", "id"])
    op.create_table(
        "conversation_owners",
        sa.Column("key_id", sa.String(256), primary_key=True),
        sa.Column("conversations", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
    )


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column(
            "conversation_id", sa.String(32), sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("thinking", sa.Text, nullable=False),
        sa.Column("tool_calls", sa.Text, nullable=False),
        sa.Column("tool_name", sa.Text, nullable=False),
        sa.Column("model", sa.String(512), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("error", sa.String(64), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger),
        sa.Column("completion_tokens", sa.BigInteger),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.Column("omitted", sa.Integer, nullable=False),
        sa.Column("first_byte_ms", sa.Integer),
        sa.Column("total_ms", sa.BigInteger),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("replaced_at", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_messages_id", "messages", ["id"], unique=True)
    op.create_index("ix_messages_conversation_id", "messages", ["conversation_id", "sequence"], unique=True)
    op.create_index("ix_messages_owner", "messages", ["owner", "number"])


def _create_images() -> None:
    op.create_table(
        "images",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("media_type", sa.String(32), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "message_images",
        sa.Column(
            "message_number",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            sa.ForeignKey("messages.number", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("hash", sa.String(64), sa.ForeignKey("images.hash"), nullable=False),
    )
    op.create_index("ix_message_images_hash", "message_images", ["hash"])
