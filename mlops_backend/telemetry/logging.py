"""Logs: structured, one line an event, on standard output."""

from __future__ import annotations

import atexit
import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from pydantic_core import to_json

from mlops_backend.config import Settings
from mlops_backend.telemetry.exceptions import formatted, log_unhandled
from mlops_backend.telemetry.log_writer import Sink, StreamSink, sink_for
from mlops_backend.telemetry.redaction import know, redact, redact_event, redact_request, secrets_of

_LAST_LINES: Final = 1.0
_FAILED: Final = 500


class _Output:
    """The process's one log, wherever it goes at present: standard output, once it is configured."""

    def __init__(self) -> None:
        self._sink: Sink = StreamSink(None)
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many lines were lost since the process began."""
        return self._dropped + self._sink.dropped

    def replace(self, sink: Sink) -> None:
        """Write to another sink from now on."""
        self._sink.close(_LAST_LINES)
        self._dropped += self._sink.dropped
        self._sink = sink

    def finish(self) -> None:
        """Write what waits."""
        self._sink.finish(_LAST_LINES)

    def write(self, text: str) -> None:
        """Take a line."""
        self._sink.write(text)

    def flush(self) -> None:
        """Do nothing: what takes this for a file asks for it."""


_output: Final = _Output()


class _Handler(logging.Handler):
    """Takes the entries of libraries."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write an entry; one that cannot be formatted is told by its logger and level alone."""
        try:
            line = self.format(record)
        except Exception as error:
            line = f"{record.levelname} of {record.name} cannot be formatted: {type(error).__name__}"
        _output.write(line + "\n")


def configure_logging(settings: Settings) -> None:
    """Send our events and those of the libraries to standard output in one format.

    `LOG_FORMAT=auto` is readable text on a terminal and JSON elsewhere. `LOG_LEVEL` is for our own events: of the
    libraries only warnings are told, since some write what they are given at lower levels. Secrets are taken out of all
    of it.
    """
    know(secrets_of(settings))
    _Silent.is_on = False
    level = logging.getLevelNamesMapping()[settings.log_level]
    shared, renderer = _shared_processors(), _renderer(settings.log_format)
    processors = [*shared, *renderer]
    _requests.configure(level, processors)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(_output),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    _output.replace(sink_for(sys.stdout, lambda lost, reason: _loss([*shared, *renderer], lost, reason)))
    handler = _Handler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.WARNING))
    log_unhandled()
    atexit.register(finish_log)


def use_level(name: str) -> None:
    """Log our own events from this level on, whatever was configured; of libraries nothing below a warning."""
    level = logging.getLevelNamesMapping()[name]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    _requests.level = level
    logging.getLogger().setLevel(max(level, logging.WARNING))


def finish_log() -> None:
    """Write what waits, for a second at most."""
    _output.finish()


def lines_dropped() -> int:
    """How many lines of this process's log were lost: nobody read them, or they could not be written."""
    return _output.dropped


def say(text: str) -> None:
    """Write text for people where the log goes; never waits, never raises."""
    _output.write(redact(text) + "\n")


def silence() -> None:
    """Log nothing from here on: for commands, whose output is their result."""
    _Silent.is_on = True
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    _requests.configure(logging.CRITICAL, structlog.get_config()["processors"])
    logging.getLogger().handlers = [logging.NullHandler()]


def _shared_processors() -> list[structlog.typing.Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _renderer(log_format: str) -> list[structlog.typing.Processor]:
    """What writes an event: it has its exception as text by then, and no secret."""
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(separators=(",", ":"))
    if log_format == "console" or (log_format == "auto" and _is_terminal()):
        shown = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=_is_terminal(), exception_formatter=shown)
    return [structlog.processors.ExceptionRenderer(formatted), redact_event, renderer]


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _loss(processors: list[structlog.typing.Processor], lost: int, reason: str) -> str:
    """The line that tells of lost ones; made by hand, since it is written past the queue."""
    return _rendered(processors, "error", {"event": "log lines are lost", "lost": lost, "reason": reason})


def _rendered(processors: list[structlog.typing.Processor], level: str, event: Any) -> str:
    for process in processors:
        event = process(None, level, event)
    return f"{event}\n"


def mask_url(url: str) -> str:
    """The same address without user name and password: `http://user:pw@host/` becomes `http://***@host/`."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if "@" not in authority:
        return url
    return f"{scheme}{separator}***@{authority.rpartition('@')[2]}{slash}{path}"


def log_request(fields: dict[str, Any]) -> None:
    """Write the one line of a finished request; its `fields` are used up."""
    _requests.write(fields)


def log_audit(entry: dict[str, Any]) -> None:
    """Write what an administrator did, whatever the level is; nothing after `silence`."""
    if not _Silent.is_on:
        event = {name: value for name, value in entry.items() if value not in ("", (), None)}
        _output.write(_rendered(structlog.get_config()["processors"], "info", {"event": "audit", **event}))


class _Silent:
    """Whether nothing is to be logged."""

    is_on = False


class _RequestLines:
    """The lines that there are most of: as structlog would write them, at a tenth of its cost where they are JSON."""

    def __init__(self) -> None:
        self.level = logging.CRITICAL
        self._processors: list[structlog.typing.Processor] = []
        self._renderer: structlog.typing.Processor | None = None

    def configure(self, level: int, processors: list[structlog.typing.Processor]) -> None:
        """Write those of `level` and above, in structlog's stead while its `processors` end with JSON's."""
        self.level, self._processors = level, processors
        self._renderer = processors[-1] if isinstance(processors[-1], structlog.processors.JSONRenderer) else None

    def write(self, fields: dict[str, Any]) -> None:
        """Write one; a warning where the service, or what stands behind it, failed."""
        level = logging.WARNING if fields["status"] >= _FAILED else logging.INFO
        if level < self.level:
            return
        name = "warning" if level == logging.WARNING else "info"
        if self._renderer is None or self._processors[-1] is not self._renderer:
            getattr(structlog.get_logger(), name)("request", **fields)
            return
        redact_request(fields)
        fields["event"], fields["level"] = "request", name
        fields["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        _output.write(_json_of(fields) + "\n")


def _json_of(fields: dict[str, Any]) -> str:
    try:
        return to_json(fields).decode()
    except ValueError:  # half a character, which UTF-8 cannot tell
        return json.dumps(fields)


_requests: Final = _RequestLines()
