"""The composition root: the one place that builds services and wires them to routes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any, Final, cast

from quart import Quart
from quart_cors import cors

from mlops_backend import __version__
from mlops_backend.blueprints.anthropic import blueprint as anthropic_blueprint
from mlops_backend.blueprints.docs import blueprint as docs_blueprint
from mlops_backend.blueprints.llm import blueprint as llm_blueprint
from mlops_backend.blueprints.ollama import blueprint as ollama_blueprint
from mlops_backend.blueprints.openai import blueprint as openai_blueprint
from mlops_backend.blueprints.other import blueprint as other_blueprint
from mlops_backend.blueprints.passthrough import passthrough
from mlops_backend.blueprints.root import blueprint as root_blueprint
from mlops_backend.config import Settings, load_settings
from mlops_backend.middleware.access import with_passthrough
from mlops_backend.middleware.asgi import App
from mlops_backend.middleware.auth import Gate, authenticate_with
from mlops_backend.middleware.body_limit import BodyLimit
from mlops_backend.middleware.body_stream import BodyStreams
from mlops_backend.middleware.cors import ALLOWED_HEADERS, EXPOSED_HEADERS, METHODS, PREFLIGHT_LIFE
from mlops_backend.middleware.drain import LiveAnswers
from mlops_backend.middleware.error_handlers import register_error_handlers
from mlops_backend.middleware.json_body import JSONRequest
from mlops_backend.middleware.key_in_url import KeyInUrl
from mlops_backend.middleware.request_context import RequestContext, services_of
from mlops_backend.openapi import add_schema
from mlops_backend.services.llm.admission import Admission
from mlops_backend.services.llm.embedded import EmbeddedEngine
from mlops_backend.services.llm.model_names import ModelRules
from mlops_backend.services.llm.ollama_service import OllamaService
from mlops_backend.services.llm.relay import Clocks
from mlops_backend.services.llm.routing import BackendPool
from mlops_backend.services.llm.startup import EMBEDDED_HOST, choose_backends
from mlops_backend.services.llm.streams import StreamTickets
from mlops_backend.services.llm.upstream import Upstream
from mlops_backend.services.other.api_keys import SettingsKeyStore
from mlops_backend.services.other.file_limit import raise_file_limit
from mlops_backend.services.other.info import InfoService
from mlops_backend.services.registry import Services
from mlops_backend.telemetry.logging import configure_logging

BLUEPRINTS: Final = (
    root_blueprint,
    llm_blueprint,
    other_blueprint,
    ollama_blueprint,
    openai_blueprint,
    anthropic_blueprint,
)


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
    return app


def _add_services(app: Quart, settings: Settings) -> None:
    services = services_of(app.extensions)
    engine = EmbeddedEngine()
    admission = services.add(Admission())
    pool = services.add(BackendPool(timeout=settings.connect_timeout))
    clocks = Clocks(settings.first_byte_timeout, settings.idle_timeout)
    rules = ModelRules(allow_cloud=settings.allow_cloud_models)
    services.add(OllamaService(pool, admission, clocks, settings.default_model, rules))
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
    _add_lifespan(app, settings, upstream, pool, engine)


def _add_lifespan(
    app: Quart, settings: Settings, upstream: Upstream, pool: BackendPool, engine: EmbeddedEngine
) -> None:
    @app.while_serving
    async def lifespan() -> AsyncGenerator[None, None]:
        raise_file_limit(settings.upstream_max_connections)
        await upstream.open()
        try:
            pool.use(await choose_backends(settings, upstream, engine))
            yield
        finally:
            await pool.close()
            await engine.stop()
            await upstream.aclose()


def _add_routes(app: Quart, settings: Settings) -> None:
    add_schema(app, __version__, docs_enabled=settings.docs_enabled)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    if settings.docs_enabled:
        app.register_blueprint(docs_blueprint)
    app.register_blueprint(passthrough(settings.passthrough_routes))


def _add_middleware(app: Quart, settings: Settings) -> None:
    services: Services = services_of(app.extensions)
    keys = SettingsKeyStore(
        settings.api_key.get_secret_value(),
        {name: key.get_secret_value() for name, key in settings.api_keys.items()},
    )
    gate = Gate(
        keys,
        settings.auth_enabled,
        settings.docs_enabled,
        settings.allow_account_routes,
        with_passthrough(settings.passthrough_routes),
    )

    @app.before_request
    async def authenticate() -> None:
        authenticate_with(gate, settings.trusted_proxies)

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
    wrapped: Any = KeyInUrl(RequestContext(limited), enabled=settings.key_in_url)
    app.asgi_app = wrapped  # type: ignore[method-assign]
