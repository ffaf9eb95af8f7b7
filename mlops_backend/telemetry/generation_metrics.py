"""What is counted of each request at its end: by OpenTelemetry's names for generations, and by ours.

The names and buckets are those of the semantic conventions for generative AI
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/), as Prometheus writes them.
"""

from __future__ import annotations

from typing import Final

from mlops_backend.telemetry.gen_ai import operation_of
from mlops_backend.telemetry.metrics import OTHER, Bounded, Metrics
from mlops_backend.telemetry.record import RequestRecord

# So many models and keys have labels of their own, of each process.
MOST_MODELS: Final = 100
MOST_KEYS: Final = 1000
_MOST_ROUTES: Final = 300
_MOST_CODES: Final = 100
_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST: Final = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    30.0,
    120.0,
)
_EACH: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
_WAITS: Final = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_OF_GENERATION: Final = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class GenerationMetrics:
    """Counts requests, and of generations what they took.

    Args:
        metrics: where the numbers are told.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._models, self._keys = Bounded(MOST_MODELS), Bounded(MOST_KEYS)
        self._routes, self._codes = Bounded(_MOST_ROUTES), Bounded(_MOST_CODES)
        self._durations = metrics.histogram(
            "gen_ai_server_request_duration_seconds",
            "From a generation's request to its end.",
            (*_OF_GENERATION, "error_type"),
            _SECONDS,
        )
        self._firsts = metrics.histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From a streamed generation's request to its first piece, the queue included.",
            _OF_GENERATION,
            _FIRST,
        )
        self._each = metrics.histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Between two tokens of a stream behind its first one, where the backend tells how many there were.",
            _OF_GENERATION,
            _EACH,
        )
        kinds = (*_OF_GENERATION, "gen_ai_token_type")
        self._usage = metrics.histogram("gen_ai_client_token_usage", "Tokens of a generation.", kinds, _TOKENS)
        self._waits = metrics.histogram("mlops_queue_seconds", "Until a generation was sent to a backend.", (), _WAITS)
        self._generations = metrics.count("generations", "Generations that have ended.", ("model", "outcome"))
        self._tokens = metrics.count("tokens", "Tokens, as the ledger has them.", ("model", "type"))
        self._key_generations = metrics.count("key_generations", "Generations of a key.", ("key_id", "outcome"))
        self._key_tokens = metrics.count("key_tokens", "Tokens of a key.", ("key_id", "type"))
        self._tries = metrics.count("retries", "Backends that were passed over for another one.")
        self._requests = metrics.count("requests", "Requests that were answered.", ("route", "method", "status"))
        self._errors = metrics.count("errors", "Requests that this service refused or failed, by code.", ("code",))

    def note(self, record: RequestRecord, now: float) -> None:
        """Count a request that has ended; `now` is `perf_counter()` seconds.

        One that goes on without its client is the generation of a request that is counted itself.
        """
        if record.admitted is None:
            method = record.method if record.method in _METHODS else OTHER
            self._requests[self._routes.of(record.route), method, str(record.status)] += 1
        if record.error:
            self._errors[(self._codes.of(record.error),)] += 1
        if record.generates:
            self._note_generation(record, now)

    def _note_generation(self, record: RequestRecord, now: float) -> None:
        model = self._models.of(record.model, proven=record.outcome == "done")
        key = self._keys.of(record.caller.id if record.caller is not None else "")
        labels = operation_of(record.asked_path, record.route), record.provider, model
        self._generations[model, record.outcome] += 1
        self._key_generations[key, record.outcome] += 1
        if record.cached:  # the times are those of backends
            return
        error = "" if record.outcome == "done" else record.error or record.outcome
        code, example = self._codes.of(error) if error else "", record.trace.example
        self._durations.observe(now - record.started, (*labels, code), example)
        if record.sent_upstream is not None:
            self._waits.observe(record.sent_upstream - record.started)
        if record.passed_over:
            self._tries[()] += len(record.passed_over)
        for kind, short, tokens in (
            ("input", "prompt", record.prompt_tokens),
            ("output", "completion", record.completion_tokens),
        ):
            if tokens:
                self._tokens[model, short] += tokens
                self._key_tokens[key, short] += tokens
                self._usage.observe(tokens, (*labels, kind))
        if record.streams and record.first_byte is not None:
            self._firsts.observe(record.first_byte - record.started, labels, example)
            behind = (record.completion_tokens or 0) - 1
            if behind > 0 and not record.estimated and record.outcome == "done":
                self._each.observe((now - record.first_byte) / behind, labels)
