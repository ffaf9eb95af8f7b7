"""Builds the services of inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from mlops_backend import __version__
from mlops_backend.config import Settings
from mlops_backend.services.llm.aliases import Aliases
from mlops_backend.services.llm.backends import (
    BackendBuilder,
    BackendDesk,
    BackendPool,
    Described,
    Known,
    Lookout,
    NamedBackends,
    OwnNews,
    WorkersNews,
)
from mlops_backend.services.llm.embedded import EmbeddedEngine, Engine, EngineOfParent
from mlops_backend.services.llm.generation import (
    Admission,
    Breakers,
    BreakersOfWorkers,
    Clocks,
    Meter,
    Running,
    RunningEverywhere,
    RunningOfWorkers,
)
from mlops_backend.services.llm.leases import Lessor, build_leases
from mlops_backend.services.llm.model_names import ModelRules, allowed_default
from mlops_backend.services.llm.ollama_service import OllamaService
from mlops_backend.services.llm.pins import Pins
from mlops_backend.services.llm.routing import Breaker
from mlops_backend.services.llm.startup import EMBEDDED_HOST, choose_backends
from mlops_backend.services.llm.upstream import Upstream
from mlops_backend.services.registry import Services
from mlops_backend.shared import Bus, Shared
from mlops_backend.telemetry.metrics import Labelled, Metrics

# A circuit breaker as a number: the larger, the less comes through.
_TRIPS: Final[Mapping[str, int]] = {"closed": 0, "half-open": 1, "open": 2}


class Inference:
    """The part of the lifespan that chooses the backends, and lets go of them."""

    def __init__(self, settings: Settings, engine: Engine, leases: Lessor, bus: Bus | None, services: Services) -> None:
        self._settings = settings
        self._engine = engine
        self._leases = leases
        self._bus = bus
        self._services = services

    async def open(self) -> None:
        """Choose the backends, and start the embedded engine if it is one of them.

        Raises:
            EngineUnavailable: the engine was demanded and cannot start.
            UnusableFile: the file of backends cannot be used.
        """
        await self._leases.open()
        if self._bus is not None:
            await self._bus.open()
        following = self._services.get(NamedBackends)
        named = await following.first()
        chosen = await choose_backends(self._settings, named, self._services.get(Upstream), self._engine)
        self._services.get(BackendPool).use(chosen)
        self._services.get(Lookout).start()
        following.follow([each for each in chosen if each not in named])

    async def aclose(self) -> None:
        """Close what asks the backends first, the engine last."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._engine.stop)
            stack.push_async_callback(self._leases.aclose)
            if self._bus is not None:
                stack.push_async_callback(self._bus.aclose)
            stack.push_async_callback(self._services.get(BackendPool).close)
            stack.push_async_callback(self._services.get(OllamaService).aclose)
            stack.push_async_callback(self._services.get(Lookout).aclose)
            await self._services.get(NamedBackends).aclose()


def _bound(leases: Lessor, settings: Settings, backends: Sequence[Described]) -> None:
    """Give each backend as many slots as its operator says."""
    leases.use({each.name: settings.max_concurrency if each.most is None else each.most for each in backends})


def _bus(settings: Settings) -> Bus | None:
    """What leads to the processes of other machines."""
    if not (address := settings.redis_url.get_secret_value()):
        return None
    # See the limits' wiring.
    from mlops_backend.redis_bus import RedisBus

    return RedisBus(address)


def _measure(
    services: Services, leases: Lessor, pool: BackendPool, upstream: Upstream, admission: Admission, breakers: Breakers
) -> None:
    """Tell monitoring how backends and generations are; a backend's name is the operator's."""
    metrics = services.get(Metrics)
    metrics.gauge("generations_running", "Generations that run now.", lambda: admission.running)
    metrics.gauge("generations_waiting", "Generations that wait for a backend.", lambda: len(leases))
    metrics.gauge("upstream_requests", "Requests to backends that are open.", lambda: upstream.active)

    def of_each(read: Callable[[Known], float]) -> Callable[[], Labelled]:
        return lambda: {(each.described.name,): read(each) for each in pool.known()}

    up = of_each(lambda each: each.probe is None or each.probe.reachable)
    metrics.labelled("backend_up", "1 while it answers looks.", ("backend",), up, of_all="most")
    drained = of_each(lambda each: each.drained)
    metrics.labelled("backend_drained", "1 while it gets nothing new.", ("backend",), drained, of_all="most")
    trips = of_each(lambda each: _trips(breakers.find(each.described.name)))
    metrics.labelled("backend_breaker", "0 closed, 1 half-open, 2 open.", ("backend",), trips, of_all="most")
    held = of_each(lambda each: leases.taken(each.described.name))
    metrics.labelled("backend_leases", "Generations that have a slot of it.", ("backend",), held)
    slots = of_each(lambda each: leases.most(each.described.name) or 0)
    metrics.labelled("backend_slots", "How many there may be; 0: no bound.", ("backend",), slots, of_all="most")


def _trips(breaker: Breaker | None) -> int:
    return 0 if breaker is None else _TRIPS[breaker.state]


def build_llm(
    services: Services, settings: Settings, meter: Meter, shared: Shared | None = None
) -> tuple[Upstream, Inference]:
    """The one door to the models; both that come back are opened by the lifespan, `Inference` last.

    Args:
        services: where they go.
        settings: backends, clocks, names of models.
        meter: reserves before a generation, and settles after it.
        shared: its place among several workers, whose parent has the embedded engine.
    """
    engine = EngineOfParent(shared) if shared is not None and shared.engine else EmbeddedEngine()
    admission = services.add(Admission())
    bus = _bus(settings)
    near = Running(admission) if shared is None else RunningOfWorkers(admission, shared)
    services.add(near if bus is None else RunningEverywhere(admission, near, bus), Running)
    workers = [] if shared is None else [BreakersOfWorkers(shared)]
    breakers = services.add(Breakers([*workers, *([] if bus is None else [bus])]))
    clocks = Clocks(settings.first_byte_timeout, settings.idle_timeout)
    rules = ModelRules(allow_cloud=settings.allow_cloud_models)
    model = allowed_default(settings.default_model, allow_cloud=settings.allow_cloud_models)
    leases = services.add(build_leases(settings, services.get(Metrics), shared), Lessor)
    pool = services.add(BackendPool(timeout=settings.connect_timeout, told=partial(_bound, leases, settings)))
    aliases = Aliases(settings.model_aliases, allow_cloud=settings.allow_cloud_models)
    pins = Pins(settings.pin_num_ctx, settings.pin_keep_alive)
    services.add(OllamaService(pool, leases, admission, meter, clocks, model, rules, aliases, pins, breakers))
    upstream = services.add(
        Upstream(
            max_connections=settings.upstream_max_connections,
            connect_timeout=settings.connect_timeout,
            user_agent=f"mlops_backend/{__version__}",
            unix_sockets={EMBEDDED_HOST: engine.socket_path},
        )
    )
    news = OwnNews(pool) if shared is None else WorkersNews(pool, shared)
    builder = BackendBuilder(upstream, settings.model_capabilities)
    named = services.add(NamedBackends(settings.backends_file, settings.named_backends, builder, pool, news))
    services.add(Lookout(pool, settings.probe_interval))
    services.add(BackendDesk(pool, news, named, breakers.find))
    _measure(services, leases, pool, upstream, admission, breakers)
    return upstream, Inference(settings, engine, leases, bus, services)
