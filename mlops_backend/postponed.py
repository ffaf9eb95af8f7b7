"""Parts of libraries that nobody here needs, and that come when somebody does: 6 MB of a process that serves.

Some libraries import parts with themselves that few of their users need: HTTP/2, templates, a debugger, a command line
for settings. In the place of such a module stand those of its names that others import from it. Once one of them is
called, derived from, looked into or asked for an attribute, or the module for any other name, the module is run.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

_TEMPLATING: Final = (
    "DispatchingJinjaLoader",
    "Environment",
    "_default_template_ctx_processor",
    "render_template",
    "render_template_string",
    "stream_template",
    "stream_template_string",
)
_TRACING: Final = (
    "Trace",
    "TraceConfig",
    "TraceConnectionCreateEndParams",
    "TraceConnectionCreateStartParams",
    "TraceConnectionQueuedEndParams",
    "TraceConnectionQueuedStartParams",
    "TraceConnectionReuseconnParams",
    "TraceDnsCacheHitParams",
    "TraceDnsCacheMissParams",
    "TraceDnsResolveHostEndParams",
    "TraceDnsResolveHostStartParams",
    "TraceRequestChunkSentParams",
    "TraceRequestEndParams",
    "TraceRequestExceptionParams",
    "TraceRequestHeadersSentParams",
    "TraceRequestRedirectParams",
    "TraceRequestStartParams",
    "TraceResponseChunkReceivedParams",
)
_COMMAND_LINE: Final = (
    "CLI_SUPPRESS",  # a text, which only the module itself compares
    "CliDualFlag",
    "CliExplicitFlag",
    "CliImplicitFlag",
    "CliMutuallyExclusiveGroup",
    "CliPositionalArg",
    "CliSettingsSource",
    "CliSubCommand",
    "CliSuppress",
    "CliToggleFlag",
    "CliUnknownArgs",
    "CliVariadicArg",
)
# Each saves 0.3 MB or more, some together. A name whose value is compared by those who import it must not stand here.
POSTPONED: Final[Mapping[str, Sequence[str]]] = {
    "aiohttp.tracing": _TRACING,
    "argparse": ("Namespace",),
    "difflib": (),
    "email.policy": ("HTTP",),
    "flask.blueprints": ("Blueprint",),
    "flask.cli": ("AppGroup",),
    "flask.templating": _TEMPLATING,
    "h2.events": (),
    "html.entities": ("html5",),
    "httpx._main": ("main",),
    "hypercorn.protocol.h2": ("H2Protocol",),
    "hypercorn.protocol.ws_stream": ("WSStream",),
    "jinja2": ("BaseLoader", "FileSystemLoader", "Template"),
    "logging.config": ("dictConfig", "fileConfig"),
    "pdb": (),
    "pydantic_settings.sources.providers.cli": _COMMAND_LINE,
    "quart.templating": _TEMPLATING,
    "rich": (),
    "rich.console": ("Console",),
    "rich.pretty": (),
    "rich.traceback": ("Traceback",),
    "werkzeug.serving": ("is_running_from_reloader", "run_simple"),
    "werkzeug.test": ("Client",),
}
# Functions that Quart awaits, as it can tell from what they are.
_COROUTINES: Final = frozenset(f"quart.templating.{name}" for name in _TEMPLATING if name.islower())
_LOCK: Final = threading.RLock()


class _NotYet(ModuleType):
    """A module that has not been run."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(_run(self), name)


class _StandIn:
    """A name of a module that has not been run, in the hands of who imported it."""

    def __init__(self, module: ModuleType, name: str) -> None:
        self._module = module
        self._name = name

    def _meant(self) -> Any:
        return getattr(_run(self._module), self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._meant()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._meant(), name)

    def __getitem__(self, key: Any) -> Any:
        return self._meant()[key]

    def __contains__(self, key: object) -> bool:
        return key in self._meant()

    def __mro_entries__(self, _: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._meant(),)

    def __instancecheck__(self, instance: object) -> bool:
        """Of a class that was never made nothing is an instance."""
        return not isinstance(self._module, _NotYet) and isinstance(instance, self._meant())


def _coroutine(module: ModuleType, name: str) -> Callable[..., Awaitable[Any]]:
    async def later(*args: Any, **kwargs: Any) -> Any:
        return await getattr(_run(module), name)(*args, **kwargs)

    return later


class _Later:
    """A loader that runs nothing; `loader` is the module's own."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Make an empty one."""
        return _NotYet(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Put the names there."""
        for name in POSTPONED[module.__name__]:
            kind = _coroutine if f"{module.__name__}.{name}" in _COROUTINES else _StandIn
            setattr(module, name, kind(module, name))


class Finder:
    """Finds what is postponed before Python finds it."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """A module's specification, or nothing."""
        if name not in POSTPONED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Later(spec.loader)  # type: ignore[assignment]
        return spec


def postpone() -> None:
    """Called before the libraries are imported; a module that is there already stays as it is."""
    if Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)


def _run(module: ModuleType) -> ModuleType:
    """Run a module in its place, unless it was."""
    with _LOCK:
        spec = module.__spec__
        if isinstance(module, _NotYet) and spec is not None and isinstance(spec.loader, _Later):
            module.__loader__ = spec.loader = loader = spec.loader.loader
            module.__class__ = ModuleType
            loader.exec_module(module)
    return module
