"""The way of spans to a collector: written, counted, and told of in the log once, not for each batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from mlops_backend.telemetry.logging import mask_url
from mlops_backend.telemetry.otlp_spans import Ended, Writer
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


class Sender(OTLPSpanExporter):
    """The library's way to a collector, with its variables, tries and certificates, for what is written already."""

    def send(self, written: bytes) -> bool:
        """Send the body of a request; whether the collector took it."""
        return self._client.export(written).success


class Exporter(SpanExporter):
    """Writes and sends spans, counts them, and says once that the collector is away, and once that it is back.

    Args:
        writer: writes.
        sender: sends.
        url: of the collector, for the log.
        words: what the library says.
    """

    def __init__(self, writer: Writer, sender: Sender, url: str, words: Words) -> None:
        self._writer, self._sender = writer, sender
        self._inner: SpanExporter = sender
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
            sent = self._sender.send(self._writer.written([span for span in spans if isinstance(span, Ended)]))
        except Exception as error:
            self._words.text, sent = type(error).__name__, False
        if sent:
            self.exported += len(spans)
            self._note_back()
            return SpanExportResult.SUCCESS
        self.failed += len(spans)
        self._note_away()
        return SpanExportResult.FAILURE

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
