"""Exceptions as the log tells them: where they came from and of what kind they are, and nothing of a request.

A parser's message quotes what it was given, and that may be a key or a prompt. So a message is told only where its kind
quotes nothing of others.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from ssl import SSLError
from types import TracebackType
from typing import Any, Final

from mlops_backend.telemetry.redaction import redact

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_MOST: Final = 10
_FRAMES: Final = 30
_LONGEST: Final = 500
# What Python says of a program's own mistakes, and what the system says of files and connections.
_TELLING: Final = (OSError, ImportError, AttributeError, TypeError, NameError, RuntimeError, MemoryError)
_QUOTING: Final = (UnicodeError, KeyError)
_OURS: Final = "mlops_backend."

log: Final = logging.getLogger("mlops_backend.unhandled")


def told(error: BaseException) -> str:
    """An exception and those behind it, the one that was raised last first."""
    parts = []
    for each in _chain(error):
        frames = traceback.format_tb(each.__traceback__, -_FRAMES)
        parts.append("".join((*frames, named(each))))
    return "\nbecause of:\n".join(parts)


def named(error: BaseException) -> str:
    """Its kind, and its message where that quotes nothing of a request."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    telling = isinstance(error, _TELLING) or kind.__module__.startswith(_OURS)
    if not telling or isinstance(error, _QUOTING) or not str(error):
        return name
    return f"{name}: {redact(str(error))[:_LONGEST]}"  # a secret is looked for before it may be cut in two


def formatted(exc_info: ExcInfo) -> str:
    """What structlog asks for."""
    return told(exc_info[1])


def log_unhandled() -> None:
    """Send what nobody handled to the log, not to standard error: a thread's end, an error in a destructor."""
    sys.unraisablehook = lambda unraisable: _log("an error was ignored", unraisable.exc_value)
    threading.excepthook = lambda args: _log("a thread has failed", args.exc_value)
    logging.captureWarnings(True)


def log_of_loop(loop: AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's exception handler: asyncio's own would write the arguments of callbacks."""
    if isinstance(context.get("exception"), SSLError):
        return  # a handshake that failed is the other side's affair
    what = str(context.get("message", "an error in the event loop"))
    _log(what.partition("callback ")[0] + "callback" if "callback " in what else what, context.get("exception"))


def _log(what: str, error: BaseException | None) -> None:
    log.error(what, exc_info=None if error is None else (type(error), error, error.__traceback__))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left and len(seen) < _MOST:
        each = left.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        left.append(each.__cause__ or (None if each.__suppress_context__ else each.__context__))
        left.extend(each.exceptions if isinstance(each, BaseExceptionGroup) else ())
