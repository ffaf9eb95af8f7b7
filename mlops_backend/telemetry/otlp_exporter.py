"""The way of spans to a collector: counted, and told of in the log once, not for each batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from mlops_backend.telemetry.logging import mask_url
from mlops_backend.telemetry.record import without_keys

_LIBRARY: Final = "opentelemetry"
_LONGEST_CAUSE: Final = 200


class Words(logging.Handler):
    """Keeps the first thing that the library says of what it sends: it repeats itself, and may show a header."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def listen(self) -> None:
        """Take all that the library says from here on."""
        logger = logging.getLogger(_LIBRARY)
        logger.handlers, logger.propagate = [self], False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the end of it, which tells the cause, without what may be a key."""
        if record.name.startswith(f"{_LIBRARY}.exporter.") and not self.text:
            with suppress(Exception):
                self.text = without_keys(record.getMessage()[-_LONGEST_CAUSE:])


class Exporter(SpanExporter):
    """Counts what goes through it, and says once that the collector is away, and once that it is back.

    Args:
        inner: sends.
        url: of the collector, for the log.
        words: what the library says.
    """

    def __init__(self, inner: SpanExporter, url: str, words: Words) -> None:
        self._inner = inner
        self._url = mask_url(url)
        self._words = words
        self._away = False
        self.exported = self.failed = 0

    @property
    def taken(self) -> int:
        """How many spans do not wait any more."""
        return self.exported + self.failed

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them; called in the library's thread."""
        self._words.text = ""
        try:
            result = self._inner.export(spans)
        except Exception as error:
            self._words.text = type(error).__name__
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
            self._note_back()
        else:
            self.failed += len(spans)
            self._note_away()
        return result

    def shutdown(self) -> None:
        """Send no more."""
        self._inner.shutdown()

    def stop(self) -> None:
        """Give up what is being sent; that has been said."""
        self._away = True
        with suppress(Exception):
            self._inner.shutdown()

    def _note_away(self) -> None:
        if not self._away:
            self._away = True
            structlog.get_logger().warning(
                "traces cannot be exported", collector=self._url, reason=self._words.text, lost=self.failed
            )

    def _note_back(self) -> None:
        if self._away:
            self._away = False
            structlog.get_logger().info("traces are exported again", collector=self._url, lost=self.failed)
