"""The composition root: the one place that builds services and wires them to routes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Protocol, cast

from quart import Quart
from quart_cors import cors

from mlops_backend import __version__
from mlops_backend.blueprints.admin_keys import blueprint as admin_keys_blueprint
from mlops_backend.blueprints.anthropic import blueprint as anthropic_blueprint
from mlops_backend.blueprints.conversation_files import blueprint as conversation_files_blueprint
from mlops_backend.blueprints.database import admin_blueprint as admin_database_blueprint
from mlops_backend.blueprints.database import blueprint as database_blueprint
from mlops_backend.blueprints.docs import blueprint as docs_blueprint
from mlops_backend.blueprints.llm import blueprint as llm_blueprint
from mlops_backend.blueprints.metrics import blueprint as metrics_blueprint
from mlops_backend.blueprints.ollama import blueprint as ollama_blueprint
from mlops_backend.blueprints.openai import blueprint as openai_blueprint
from mlops_backend.blueprints.other import blueprint as other_blueprint
from mlops_backend.blueprints.own_key import blueprint as own_key_blueprint
from mlops_backend.blueprints.passthrough import passthrough
from mlops_backend.blueprints.replies import blueprint as replies_blueprint
from mlops_backend.blueprints.root import blueprint as root_blueprint
from mlops_backend.blueprints.usage import blueprint as usage_blueprint
from mlops_backend.cli import COMMANDS
from mlops_backend.config import Settings, load_settings
from mlops_backend.middleware.access import with_passthrough
from mlops_backend.middleware.asgi import App
from mlops_backend.middleware.auth import Gate, authenticate_with
from mlops_backend.middleware.body_limit import BodyLimit
from mlops_backend.middleware.body_stream import BodyStreams
from mlops_backend.middleware.cors import ALLOWED_HEADERS, EXPOSED_HEADERS, METHODS, PREFLIGHT_LIFE
from mlops_backend.middleware.drain import LiveAnswers
from mlops_backend.middleware.error_handlers import register_error_handlers
from mlops_backend.middleware.guess_guard import GuessGuard
from mlops_backend.middleware.json_body import JSONRequest
from mlops_backend.middleware.key_in_url import KeyInUrl
from mlops_backend.middleware.request_context import RequestContext, services_of
from mlops_backend.openapi import add_schema
from mlops_backend.principal import ANONYMOUS
from mlops_backend.services.llm.admission import Admission
from mlops_backend.services.llm.embedded import EmbeddedEngine
from mlops_backend.services.llm.model_names import ModelRules
from mlops_backend.services.llm.ollama_service import OllamaService
from mlops_backend.services.llm.relay import Clocks
from mlops_backend.services.llm.routing import BackendPool
from mlops_backend.services.llm.startup import EMBEDDED_HOST, choose_backends
from mlops_backend.services.llm.streams import StreamTickets
from mlops_backend.services.llm.upstream import Upstream
from mlops_backend.services.other.api_keys import KeyStores, SettingsKeyStore
from mlops_backend.services.other.conversation_bounds import Bounds
from mlops_backend.services.other.conversation_export import Exports
from mlops_backend.services.other.conversation_import import Imports
from mlops_backend.services.other.conversation_turns import Turns
from mlops_backend.services.other.conversations import Conversations
from mlops_backend.services.other.database import Database
from mlops_backend.services.other.file_limit import raise_file_limit
from mlops_backend.services.other.info import InfoService
from mlops_backend.services.other.kept_replies import KeptReplies
from mlops_backend.services.other.key_cache import KeyCache
from mlops_backend.services.other.keys import ApiKeys
from mlops_backend.services.other.ledger import Ledger
from mlops_backend.services.other.limits.failed_keys import FailedKeys
from mlops_backend.services.other.limits.limiter import Limiter
from mlops_backend.services.other.limits.memory import MemoryLimiter
from mlops_backend.services.other.limits.routes import RouteLimiter
from mlops_backend.services.other.meter import GenerationMeter
from mlops_backend.services.other.prices import PriceList
from mlops_backend.services.other.replies import Replies
from mlops_backend.services.other.retention import Retention
from mlops_backend.services.other.usage import Usage
from mlops_backend.services.registry import Services
from mlops_backend.telemetry.logging import configure_logging
from mlops_backend.telemetry.metrics import Metrics

BLUEPRINTS: Final = (
    root_blueprint,
    llm_blueprint,
    other_blueprint,
    ollama_blueprint,
    openai_blueprint,
    anthropic_blueprint,
    metrics_blueprint,
    own_key_blueprint,
    usage_blueprint,
    admin_keys_blueprint,
    database_blueprint,
    conversation_files_blueprint,
    admin_database_blueprint,
    replies_blueprint,
)


class _Part(Protocol):
    async def open(self) -> None: ...

    async def aclose(self) -> None: ...


def create_app(settings: Settings | None = None) -> Quart:
    """Build the application; nothing is opened before it is served.

    Args:
        settings: read from the environment and `.env` when left out.

    Raises:
        ConfigError: a setting that cannot be used.
    """
    settings = settings or load_settings()
    configure_logging(settings)
    app = Quart(__name__, static_folder=None)
    app.request_class = JSONRequest
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_body_bytes, PROPAGATE_EXCEPTIONS=False, PROVIDE_AUTOMATIC_OPTIONS=True
    )
    app.url_map.merge_slashes = False
    _add_services(app, settings)
    _add_routes(app, settings)
    _add_middleware(app, settings)
    for command in COMMANDS:
        app.cli.add_command(command)
    return app


def _add_services(app: Quart, settings: Settings) -> None:
    services = services_of(app.extensions)
    database = services.add(Database(settings.database_url.get_secret_value()))
    cache = services.add(KeyCache(database, settings.default_limits))
    services.add(ApiKeys(database, cache.changed))
    engine = EmbeddedEngine()
    admission = services.add(Admission())
    pool = services.add(BackendPool(timeout=settings.connect_timeout))
    clocks = Clocks(settings.first_byte_timeout, settings.idle_timeout)
    rules = ModelRules(allow_cloud=settings.allow_cloud_models)
    prices = PriceList(settings.prices)
    ledger = services.add(Ledger(database, prices, settings.usage_buffer))
    usage = services.add(Usage(database, ledger, prices))
    retention = Retention(database, settings.usage_retention_days)
    limiter = _limiter(settings, usage)
    services.add(RouteLimiter(limiter))
    door = services.add(OllamaService(pool, admission, GenerationMeter(limiter), clocks, settings.default_model, rules))
    replies = _conversations(services, settings, database, door)
    services.add(_metrics(admission, database, ledger, limiter, replies))
    services.add(StreamTickets())
    services.add(InfoService(__version__, {"auth": settings.auth_enabled, "docs": settings.docs_enabled}))
    upstream = services.add(
        Upstream(
            max_connections=settings.upstream_max_connections,
            connect_timeout=settings.connect_timeout,
            user_agent=f"mlops_backend/{__version__}",
            unix_sockets={EMBEDDED_HOST: engine.socket_path},
        )
    )
    _add_lifespan(app, settings, engine, (database, cache, upstream, limiter, ledger, retention, replies))


def _conversations(services: Services, settings: Settings, database: Database, door: OllamaService) -> KeptReplies:
    bounds = Bounds(
        settings.conversations_per_key,
        settings.conversation_messages,
        settings.conversation_bytes,
        settings.conversation_bytes_per_key,
    )
    conversations = services.add(Conversations(database, bounds))
    services.add(Exports(database))
    services.add(Imports(conversations, bounds))
    turns = services.add(Turns(conversations, bounds))
    kept = services.add(KeptReplies(turns))
    services.add(Replies(database, kept, door, settings.default_context))
    return kept


def _metrics(
    admission: Admission, database: Database, ledger: Ledger, limiter: Limiter, replies: KeptReplies
) -> Metrics:
    metrics = Metrics()
    metrics.gauge("generations_running", "Generations that run now.", lambda: admission.running)
    metrics.gauge("database_up", "1 while the database answers.", lambda: database.up)
    metrics.gauge("ledger_waiting", "Generations that are not in the database yet.", lambda: ledger.waiting)
    metrics.counter("ledger_written", "Generations that were written into the ledger.", lambda: ledger.written)
    metrics.counter("ledger_dropped", "Generations that the ledger lost.", lambda: ledger.dropped)
    metrics.gauge("replies_waiting", "Replies that are not in their conversations yet.", lambda: replies.waiting)
    metrics.counter("replies_lost", "Replies that could not be kept.", lambda: replies.lost)
    metrics.gauge("redis_up", "1 while Redis answers, or none is used.", lambda: limiter.redis_up)
    metrics.counter("limits_unchecked", "Generations let through without Redis.", lambda: limiter.failed_open)
    metrics.counter("limits_refused", "Generations refused without Redis.", lambda: limiter.failed_closed)
    metrics.gauge("settlements_waiting", "Ends that Redis does not know yet.", lambda: limiter.pending_settlements)
    metrics.counter("settlements_dropped", "Ends that Redis never heard of.", lambda: limiter.dropped_settlements)
    return metrics


def _limiter(settings: Settings, usage: Usage) -> Limiter:
    choices: dict[str, Any] = {
        "default_reserve": settings.token_reserve,
        "budgets_fail_open": settings.budgets_fail_open,
    }
    if not (address := settings.redis_url.get_secret_value()):
        return MemoryLimiter(usage, **choices)
    # Redis's client is 8 MB, which most installations need not spend.
    from mlops_backend.services.other.limits.redis_limiter import RedisLimiter

    return RedisLimiter(address, usage, **choices)


def _add_lifespan(app: Quart, settings: Settings, engine: EmbeddedEngine, parts: Sequence[_Part]) -> None:
    """Open `parts` in their order, then the backends; close everything in the opposite order."""
    services = services_of(app.extensions)
    upstream, pool = services.get(Upstream), services.get(BackendPool)

    @app.while_serving
    async def lifespan() -> AsyncGenerator[None, None]:
        raise_file_limit(settings.upstream_max_connections)
        async with AsyncExitStack() as opened:
            for part in parts:
                opened.push_async_callback(part.aclose)
                await part.open()
            opened.push_async_callback(engine.stop)
            opened.push_async_callback(pool.close)
            opened.push_async_callback(services.get(OllamaService).aclose)
            pool.use(await choose_backends(settings, upstream, engine))
            yield


def _add_routes(app: Quart, settings: Settings) -> None:
    add_schema(app, __version__, docs_enabled=settings.docs_enabled)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    if settings.docs_enabled:
        app.register_blueprint(docs_blueprint)
    app.register_blueprint(passthrough(settings.passthrough_routes))


def _add_middleware(app: Quart, settings: Settings) -> None:
    services: Services = services_of(app.extensions)
    configured = SettingsKeyStore(
        settings.api_key.get_secret_value(),
        {name: key.get_secret_value() for name, key in settings.api_keys.items()},
        settings.default_limits,
    )
    gate = Gate(
        KeyStores(configured, services.get(KeyCache)),
        settings.auth_enabled,
        settings.docs_enabled,
        settings.allow_account_routes,
        replace(ANONYMOUS, limits=settings.default_limits),
        with_passthrough(settings.passthrough_routes),
    )

    guard = GuessGuard(FailedKeys(settings.auth_failure_limit) if settings.auth_failure_limit else None)

    @app.before_request
    async def authenticate() -> None:
        authenticate_with(gate, settings.trusted_proxies, guard)

    register_error_handlers(app)
    cors(
        app,
        allow_origin=settings.allowed_origins,
        allow_headers=ALLOWED_HEADERS,
        allow_methods=METHODS,
        expose_headers=EXPOSED_HEADERS,
        max_age=timedelta(seconds=PREFLIGHT_LIFE),
    )
    live = services.add(LiveAnswers(cast(App, app.asgi_app)))
    limited = BodyStreams(BodyLimit(live, settings.max_body_bytes))
    wrapped: Any = KeyInUrl(RequestContext(limited, services.get(Ledger).note), enabled=settings.key_in_url)
    app.asgi_app = wrapped  # type: ignore[method-assign]
