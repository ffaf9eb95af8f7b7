"""The HTTP edge: each blueprint parses, calls a service and answers."""

from __future__ import annotations

from typing import Final

from quart import Quart

from mlops_backend import __version__
from mlops_backend.blueprints.backends import blueprint as admin_backends_blueprint
from mlops_backend.blueprints.conversations.conversations import admin_blueprint as admin_conversations_blueprint
from mlops_backend.blueprints.conversations.conversations import blueprint as conversations_blueprint
from mlops_backend.blueprints.conversations.files import blueprint as conversation_files_blueprint
from mlops_backend.blueprints.conversations.replies import blueprint as replies_blueprint
from mlops_backend.blueprints.dialects.anthropic import blueprint as anthropic_blueprint
from mlops_backend.blueprints.dialects.ollama import blueprint as ollama_blueprint
from mlops_backend.blueprints.dialects.openai import blueprint as openai_blueprint
from mlops_backend.blueprints.dialects.passthrough import passthrough
from mlops_backend.blueprints.dialects.responses import admin_blueprint as admin_responses_blueprint
from mlops_backend.blueprints.dialects.responses import blueprint as responses_blueprint
from mlops_backend.blueprints.docs import blueprint as docs_blueprint
from mlops_backend.blueprints.generations import blueprint as generations_blueprint
from mlops_backend.blueprints.keys.admin import blueprint as admin_keys_blueprint
from mlops_backend.blueprints.keys.own import blueprint as own_key_blueprint
from mlops_backend.blueprints.llm import blueprint as llm_blueprint
from mlops_backend.blueprints.log_level import blueprint as log_level_blueprint
from mlops_backend.blueprints.metrics import blueprint as metrics_blueprint
from mlops_backend.blueprints.other import blueprint as other_blueprint
from mlops_backend.blueprints.queue import blueprint as queue_blueprint
from mlops_backend.blueprints.root import blueprint as root_blueprint
from mlops_backend.blueprints.streams import blueprint as streams_blueprint
from mlops_backend.blueprints.usage import blueprint as usage_blueprint
from mlops_backend.config import Settings
from mlops_backend.openapi import add_schema

BLUEPRINTS: Final = (
    root_blueprint,
    llm_blueprint,
    streams_blueprint,
    queue_blueprint,
    generations_blueprint,
    other_blueprint,
    ollama_blueprint,
    openai_blueprint,
    responses_blueprint,
    admin_responses_blueprint,
    anthropic_blueprint,
    metrics_blueprint,
    own_key_blueprint,
    usage_blueprint,
    admin_keys_blueprint,
    admin_backends_blueprint,
    log_level_blueprint,
    conversations_blueprint,
    conversation_files_blueprint,
    admin_conversations_blueprint,
    replies_blueprint,
)


def add_routes(app: Quart, settings: Settings) -> None:
    """Register every blueprint, and the API's description."""
    add_schema(app, __version__, docs_enabled=settings.docs_enabled)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    if settings.docs_enabled:
        app.register_blueprint(docs_blueprint)
    if settings.console_enabled:
        add_console(app)
    app.register_blueprint(passthrough(settings.passthrough_routes))


def add_console(app: Quart) -> None:
    """Register what the console needs; nothing of it is imported before."""
    from mlops_backend.blueprints.console import events, pages, session

    for blueprint in (pages.blueprint, events.blueprint, session.blueprint, session.admin_blueprint):
        app.register_blueprint(blueprint)
