"""The database: connections, tables, migrations."""

from __future__ import annotations

from mlops_backend.services.other.database.at_once import Statements, run
from mlops_backend.services.other.database.copying import NotEmpty, copy_all
from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.exact_text import ExactText
from mlops_backend.services.other.database.hourly import Hourly
from mlops_backend.services.other.database.inserting import insert_into
from mlops_backend.services.other.database.migrating import NewerDatabase, UnknownStep, current, downgrade, upgrade
from mlops_backend.services.other.database.patient_writes import PatientWrites
from mlops_backend.services.other.database.prepared import Prepared
from mlops_backend.services.other.database.sqlite_file import UnusableDatabase
from mlops_backend.services.other.database.tables import (
    api_key_revision,
    api_key_secrets,
    api_keys,
    closed_day_keys,
    closed_day_latencies,
    closed_day_sums,
    closed_days,
    console_sessions,
    conversation_owners,
    conversations,
    generations,
    images,
    message_images,
    messages,
    responses,
    usage_daily,
)
from mlops_backend.services.other.database.turns import Turn, take_turn
from mlops_backend.services.other.database.wiring import build_database, check_database

__all__ = [
    "Database",
    "ExactText",
    "Hourly",
    "NewerDatabase",
    "NotEmpty",
    "PatientWrites",
    "Prepared",
    "Statements",
    "Turn",
    "UnknownStep",
    "UnusableDatabase",
    "api_key_revision",
    "api_key_secrets",
    "api_keys",
    "build_database",
    "check_database",
    "closed_day_keys",
    "closed_day_latencies",
    "closed_day_sums",
    "closed_days",
    "console_sessions",
    "conversation_owners",
    "conversations",
    "copy_all",
    "current",
    "downgrade",
    "generations",
    "images",
    "insert_into",
    "message_images",
    "messages",
    "responses",
    "run",
    "take_turn",
    "upgrade",
    "usage_daily",
]
