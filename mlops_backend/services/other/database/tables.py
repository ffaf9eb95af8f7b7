"""The tables, as they are at the newest migration.

Times are milliseconds since the epoch, so that both databases count and group them alike; prices are billionths.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    false,
)

from mlops_backend.folding import folding_of
from mlops_backend.services.other.database.exact_text import ExactText

HEAD: Final = "0014"

_EXACT: Final = ExactText()

metadata: Final = MetaData()


def _folding(context: Any) -> str | None:
    """What a new row of messages has for the index, written as an `ExactText` is."""
    return _EXACT.process_bind_param(folding_of(context.get_current_parameters()["content"]), None)


def _sums() -> list[Column[int]]:
    """Of several generations: how many, how many of them with counts that are guesses, and what is added up."""
    names = "generations estimated prompt_tokens completion_tokens total_ms bytes_in bytes_out price"
    return [Column(name, BigInteger, nullable=False) for name in names.split()]


api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("owner", String(200), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("models", JSON, nullable=False),
    Column("limits", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("revision", BigInteger, nullable=False),
    Column("priority", String(16), nullable=False, server_default="interactive"),
    Column("weight", Float, nullable=False, server_default="1"),
    Column("end_user_limits", JSON, nullable=False, server_default="{}"),
    Column("cache", Boolean, nullable=False, server_default=false()),
    Index("ix_api_keys_revision", "revision"),
    Index("ix_api_keys_created_at", "created_at", "id"),
    Index("ix_api_keys_owner", "owner", "created_at", "id"),
)

# What a client presents: one of a key's secrets, by its SHA-256. A rotated key has two until the old one expires.
api_key_secrets: Final = Table(
    "api_key_secrets",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("key_id", String(32), ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Index("ix_api_key_secrets_key_id", "key_id"),
)

# One row: it grows with every change of a key, in the change's own transaction, so that a look at it tells of all.
api_key_revision: Final = Table(
    "api_key_revision",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
)

# Browsers that have signed in: a session by the SHA-256 of its token, its key by that of the secret it was begun with.
console_sessions: Final = Table(
    "console_sessions",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("key_id", String(256), nullable=False),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_console_sessions_key_id", "key_id", "created_at"),
    Index("ix_console_sessions_expires_at", "expires_at"),
)

# The ledger: one row for every generation. `id` is ours and grows with time; a client may choose the request's id.
# `passed_over` has addresses with commas between them; `end_user` is for whom a client said that it asked. Whether it
# `streamed` is not known of rows from before step 0010. No backend was asked for a `cached` one.
generations: Final = Table(
    "generations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("request_id", String(128), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("key_id", String(256), nullable=False),
    Column("route", String(128), nullable=False),
    Column("dialect", String(16), nullable=False),
    Column("model", String(1024), nullable=False),
    Column("backend", String(512), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("error", String(64), nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("first_byte_ms", Integer),
    Column("total_ms", BigInteger, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("requested_model", String(1024), nullable=False, server_default=""),
    Column("passed_over", String(2048), nullable=False, server_default=""),
    Column("end_user", String(256), nullable=False, server_default=""),
    Column("streamed", Boolean),
    Column("cached", Boolean, nullable=False, server_default=false()),
    Index("ix_generations_started_at", "started_at"),
    Index("ix_generations_key_id", "key_id", "started_at"),
    Index("ix_generations_model", "model", "started_at"),
    Index("ix_generations_request_id", "request_id", "started_at"),
    # Of the rows that have one, and of those that are not done, as the steps of the tables say: here that would load
    # the dialect of a database that is not used.
    Index("ix_generations_end_user", "end_user", "started_at"),
    Index("ix_generations_not_done", "started_at", "outcome"),
    Index("ix_generations_key_not_done", "key_id", "started_at", "outcome"),
)

# What is left of the rows older than USAGE_RETENTION_DAYS; `day` counts days since the epoch.
usage_daily: Final = Table(
    "usage_daily",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("key_id", String(256), primary_key=True),
    Column("route", String(128), primary_key=True),
    Column("dialect", String(16), primary_key=True),
    Column("model", String(1024), primary_key=True),
    Column("backend", String(512), primary_key=True),
    Column("outcome", String(16), primary_key=True),
    *_sums(),
    Index("ix_usage_daily_key_id", "key_id", "day"),
)

# Days that are over and kept in full: the sums in the tables below are right while the ledger has so many rows.
closed_days: Final = Table(
    "closed_days",
    metadata,
    Column("started_at", BigInteger, primary_key=True, autoincrement=False),
    Column("until", BigInteger, nullable=False),
    Column("generations", BigInteger, nullable=False),
)

closed_day_sums: Final = Table(
    "closed_day_sums",
    metadata,
    Column("started_at", BigInteger, primary_key=True, autoincrement=False),
    Column("route", String(128), primary_key=True),
    Column("dialect", String(16), primary_key=True),
    Column("model", String(1024), primary_key=True),
    Column("backend", String(512), primary_key=True),
    Column("outcome", String(16), primary_key=True),
    *_sums(),
)

closed_day_keys: Final = Table(
    "closed_day_keys",
    metadata,
    Column("started_at", BigInteger, primary_key=True, autoincrement=False),
    Column("key_id", String(256), primary_key=True),
    Column("model", String(1024), primary_key=True),
    *_sums(),
)

closed_day_latencies: Final = Table(
    "closed_day_latencies",
    metadata,
    Column("started_at", BigInteger, primary_key=True, autoincrement=False),
    Column("model", String(1024), primary_key=True),
    Column("backend", String(512), primary_key=True),
    Column("outcome", String(16), primary_key=True),
    Column("measure", SmallInteger, primary_key=True, autoincrement=False),
    Column("place", SmallInteger, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
)

# A key's conversations and their messages. `owner` is what stands for the key in the full-text index: 32 hexadecimal
# digits of its SHA-256, since an id may have marks that end a word.
conversations: Final = Table(
    "conversations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key_id", String(256), nullable=False),
    Column("owner", String(32), nullable=False),
    Column("title", String(200), nullable=False),
    Column("model", String(512), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("next_sequence", BigInteger, nullable=False),
    Column("message_count", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Index("ix_conversations_key_id", "key_id", "updated_at", "id"),
    Index("ix_conversations_id", "key_id", "id"),
)

# How much of each key there is; changed with what it counts.
conversation_owners: Final = Table(
    "conversation_owners",
    metadata,
    Column("key_id", String(256), primary_key=True),
    Column("conversations", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

# `number` grows over all conversations and is never used twice: the full-text search pages by it. `sequence` orders one
# conversation. Its title is a row too, with the role `title` and the sequence 0, so that one index finds both. `folded`
# is what the index has in the place of `content`, unless that is the same; a content never changes in its row.
messages: Final = Table(
    "messages",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False),
    Column("conversation_id", String(32), ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("owner", String(32), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("role", String(16), nullable=False),
    Column("content", ExactText, nullable=False),
    Column("thinking", ExactText, nullable=False),
    Column("tool_calls", ExactText, nullable=False),
    Column("tool_name", ExactText, nullable=False),
    Column("model", String(512), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("error", String(64), nullable=False),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("estimated", Boolean, nullable=False),
    Column("omitted", Integer, nullable=False),
    Column("first_byte_ms", Integer),
    Column("total_ms", BigInteger),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("replaced_at", BigInteger),
    Column("folded", Text, default=_folding),
    Index("ix_messages_id", "id", unique=True),
    Index("ix_messages_conversation_id", "conversation_id", "sequence", unique=True),
    Index("ix_messages_owner", "owner", "number"),
    sqlite_autoincrement=True,
)

# Each image once, by the SHA-256 of its bytes, and which messages show it.
images: Final = Table(
    "images",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("media_type", String(32), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

message_images: Final = Table(
    "message_images",
    metadata,
    Column("message_number", ForeignKey("messages.number", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("hash", String(64), ForeignKey("images.hash"), nullable=False),
    Index("ix_message_images_hash", "hash"),
)

# Responses of OpenAI's API, each with the items of its own input as JSON: what came before is found by `previous_id`.
responses: Final = Table(
    "responses",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("key_id", String(256), nullable=False),
    Column("previous_id", String(64)),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("input", ExactText, nullable=False),
    Column("response", ExactText, nullable=False),
    Index("ix_responses_key_id", "key_id", "expires_at", "created_at", "id", "bytes"),
    Index("ix_responses_expires_at", "expires_at"),
)
