"""Puts around the application what every request passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from quart import Quart, Response

from mlops_backend.config import Settings
from mlops_backend.end_users import EndUsers
from mlops_backend.middleware.access import with_passthrough
from mlops_backend.middleware.asgi import App, Scope
from mlops_backend.middleware.audit import begin_audited, end_audited
from mlops_backend.middleware.auth import Gate, authenticate_with
from mlops_backend.middleware.body_limit import BodyLimit
from mlops_backend.middleware.body_stream import BodyStreams
from mlops_backend.middleware.console_session import Sessions
from mlops_backend.middleware.cors import allow_pages
from mlops_backend.middleware.detached import DetachedRequests
from mlops_backend.middleware.drain import LiveAnswers
from mlops_backend.middleware.early_refusal import refuse_early
from mlops_backend.middleware.error_handlers import register_error_handlers
from mlops_backend.middleware.guess_guard import GuessGuard
from mlops_backend.middleware.idempotency import answer_detached
from mlops_backend.middleware.key_in_url import KeyInUrl
from mlops_backend.middleware.request_context import RequestContext, at_hand, record_of, services_of
from mlops_backend.middleware.response_cache import answer_kept
from mlops_backend.middleware.root_path import CONFIGURED, RootPath
from mlops_backend.principal import ANONYMOUS
from mlops_backend.services.other.audit import AuditLog
from mlops_backend.services.other.journals import Journals, most_of_whole
from mlops_backend.services.other.keys import KeyStores
from mlops_backend.services.other.limits import ByteBudget, build_failed_keys
from mlops_backend.services.other.response_cache import ResponseCache
from mlops_backend.services.other.usage import Ledger
from mlops_backend.services.registry import Services
from mlops_backend.shared import Shared
from mlops_backend.telemetry.generation_metrics import GenerationMetrics
from mlops_backend.telemetry.metrics import Metrics
from mlops_backend.telemetry.traces import Traces


def add_middleware(app: Quart, settings: Settings, shared: Shared | None = None) -> None:
    """Key, errors and CORS within Quart; beneath it a proxy's path, key in the URL, record, bodies, live answers."""
    services = services_of(app.extensions)
    gate = Gate(
        services.get(KeyStores),
        settings.auth_enabled,
        settings.docs_enabled,
        settings.allow_account_routes,
        replace(ANONYMOUS, limits=settings.default_limits),
        with_passthrough(settings.passthrough_routes),
        settings.console_enabled,
        sessions_in(services) if settings.console_enabled else None,
    )
    services.add(gate)
    audit = services.get(AuditLog)
    guard = GuessGuard(build_failed_keys(settings, shared))
    cache = services.get(ResponseCache) if settings.response_cache != "off" else None

    @app.before_request
    async def authenticate() -> Response | None:
        asked = at_hand()
        noted = record_of(cast(Scope, asked.scope))
        await authenticate_with(asked, noted, gate, settings.trusted_proxies, guard)
        await refuse_early(asked, noted)
        await begin_audited(audit, noted)
        if (answer := await answer_detached(asked, noted)) is not None or cache is None:
            return answer
        return await answer_kept(cache, asked, noted)

    register_error_handlers(app)
    allow_pages(app, settings.allowed_origins)
    live = services.add(LiveAnswers(cast(App, app.asgi_app)))
    limited = BodyStreams(BodyLimit(live, settings.max_body_bytes, services.get(ByteBudget)))
    recorded = RequestContext(
        limited,
        services.get(Ledger).note,
        services.get(GenerationMetrics).note,
        lambda noted, _: end_audited(audit, noted),
        end_users=services.get(EndUsers),
        traces=services.get(Traces),
    )
    journals = services.get(Journals)  # type: ignore[type-abstract]
    detached = services.add(DetachedRequests(recorded, journals, settings.stream_grace, most_of_whole(settings)))
    streams = "Generations that outlive their connection, and run now."
    services.get(Metrics).gauge("streams_running", streams, lambda: len(detached))
    wrapped: Any = KeyInUrl(recorded, enabled=settings.key_in_url)
    app.config[CONFIGURED] = settings.root_path
    if settings.root_path:
        wrapped = RootPath(wrapped, settings.root_path)
    app.asgi_app = wrapped  # type: ignore[method-assign]


def sessions_in(services: Services) -> Sessions:
    """The sessions of browsers; nothing of the console is imported before."""
    from mlops_backend.services.other.console import ConsoleSessions

    return services.get(ConsoleSessions)
