"""The composition root: calls the houses' builders in their order."""

from __future__ import annotations

from collections.abc import Sequence

from quart import Quart

from mlops_backend import __version__
from mlops_backend.blueprints import add_routes
from mlops_backend.cli import COMMANDS
from mlops_backend.config import Settings, load_settings
from mlops_backend.days import Calendar
from mlops_backend.end_users import EndUsers
from mlops_backend.lifespan import Part, live_with
from mlops_backend.middleware.application import Application
from mlops_backend.middleware.request_context import services_of
from mlops_backend.middleware.wiring import add_middleware
from mlops_backend.services.llm.generation import Admission
from mlops_backend.services.llm.wiring import build_llm
from mlops_backend.services.other.audit import AuditLog
from mlops_backend.services.other.conversations import build_conversations
from mlops_backend.services.other.database import build_database
from mlops_backend.services.other.info import InfoService
from mlops_backend.services.other.journals import Journals, build_journals
from mlops_backend.services.other.keys import build_keys
from mlops_backend.services.other.limits import build_limits
from mlops_backend.services.other.log_level import LogLevel
from mlops_backend.services.other.response_cache import build_response_cache
from mlops_backend.services.other.responses import build_responses
from mlops_backend.services.other.usage import GenerationMeter, Usage, build_usage
from mlops_backend.services.other.whole import State, Whole
from mlops_backend.services.registry import Services
from mlops_backend.shared import Shared
from mlops_backend.telemetry.generation_metrics import GenerationMetrics
from mlops_backend.telemetry.logging import configure_logging, lines_dropped
from mlops_backend.telemetry.loop_lag import LoopLag
from mlops_backend.telemetry.metrics import Metrics
from mlops_backend.telemetry.traces import Traces
from mlops_backend.telemetry.tracing import build_traces


def create_app(settings: Settings | None = None, shared: Shared | None = None) -> Quart:
    """Build the application; nothing is opened before it is served.

    Args:
        settings: read from the environment and `.env` when left out.
        shared: its place among several workers, of which it is one.

    Raises:
        ConfigError: a setting that cannot be used.
    """
    settings = settings or load_settings()
    configure_logging(settings)
    app = Application(__name__)
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        MAX_JSON_VALUES=settings.max_json_values,
        PROPAGATE_EXCEPTIONS=False,
        PROVIDE_AUTOMATIC_OPTIONS=True,
        RESPONSE_TIMEOUT=None,  # a client that takes nothing is seen by `connections/`
    )
    app.url_map.merge_slashes = False
    add_services(app, settings, shared)
    add_routes(app, settings)
    add_middleware(app, settings, shared)
    for command in COMMANDS:
        app.cli.add_command(command)
    return app


def add_services(app: Quart, settings: Settings, shared: Shared | None = None) -> None:
    """Build every service; those that hold something are opened in the order of the last line."""
    services = services_of(app.extensions)
    metrics = services.add(Metrics())
    services.add(GenerationMetrics(metrics))
    metrics.labelled("build_info", "Which version it is.", ("version",), lambda: {(__version__,): 1}, of_all="least")
    metrics.counter("log_lines_dropped", "Log lines that could not be written.", lines_dropped)
    services.add(EndUsers(settings.end_user_key))
    services.add(Calendar(settings.timezone))
    traces = services.add(build_traces(settings, metrics), Traces)
    database = build_database(services, settings)
    keys = build_keys(services, settings, shared)
    ledger, retention = build_usage(services, settings, shared)
    limiter = build_limits(services, settings, services.get(Usage), shared)
    meter = GenerationMeter(limiter, metrics)
    journals = services.add(build_journals(settings, shared), Journals)
    upstream, inference = build_llm(services, settings, meter, shared)
    replies = build_conversations(services, settings)
    cache = [build_response_cache(services, settings)] if settings.response_cache != "off" else []
    responses = build_responses(services, settings, shared)
    console = [add_console_services(services, settings, shared)] if settings.console_enabled else []
    features = {"auth": settings.auth_enabled, "docs": settings.docs_enabled, "console": settings.console_enabled}
    services.add(InfoService(__version__, features))
    audit = services.add(AuditLog(settings.audit_log))
    log_level = services.add(LogLevel(settings.log_level, shared))
    admission = services.get(Admission)
    services.add(Whole(metrics, lambda: State(admission.stopping, degraded=not database.up), shared))
    lag = LoopLag(metrics)
    kept: Sequence[Part] = (traces, audit, log_level, database, keys, journals)
    parts = (*kept, upstream, limiter, ledger, *retention, replies, *responses, inference, *cache, *console, lag)
    live_with(app, parts)


def add_console_services(services: Services, settings: Settings, shared: Shared | None) -> Part:
    """Build what the console needs; nothing of it is imported before."""
    from mlops_backend.services.other.console import build_console
    from mlops_backend.services.other.live import build_live

    build_console(services, settings)
    return build_live(services, shared)
