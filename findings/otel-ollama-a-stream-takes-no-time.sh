#!/usr/bin/env bash
# opentelemetry-instrumentation-ollama measures a stream before it is asked for: each lasts some microseconds.
#
# `gen_ai.client.operation.duration` is taken when the client's method returns. Of a stream that method returns a
# generator which has not sent the request yet. So the histogram says microseconds for streams, however long they last,
# and mixes them with whole answers under the same labels: its percentiles and means say nothing. The span has the true time.
# A stream whose reader stops at its last line, `done: true`, counts no tokens besides: they are recorded
# behind the end of the loop, which `break` never reaches.
#
# For whom: dashboards and alerts on how long calls take or what they use, which are compared with a gateway's own numbers.
# Versions: opentelemetry-instrumentation-ollama 0.62.4, ollama 0.6.3, opentelemetry-sdk 1.45.2, the newest on 2026-11-30;
# Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install -q --disable-pip-version-check \
    opentelemetry-instrumentation-ollama==0.62.4 ollama==0.6.3 opentelemetry-sdk==1.45.2
timeout 60 "$folder/venv/bin/python" - <<'PY'
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import ollama
from opentelemetry.instrumentation.ollama import OllamaInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

SECONDS = 0.6


class Server(BaseHTTPRequestHandler):
    """An Ollama that takes its time for each answer and counts 11 and 7 tokens."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        shared = {"model": asked["model"], "created_at": "2026-01-01T00:00:00Z"}
        end = {"done": True, "done_reason": "stop", "prompt_eval_count": 11, "eval_count": 7}
        first, last = ({"message": {"role": "assistant", "content": text}} for text in ("Hello", ""))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson" if asked["stream"] else "application/json")
        self.end_headers()
        if asked["stream"]:
            self.wfile.write(json.dumps(shared | first | {"done": False}).encode() + b"\n")
            self.wfile.flush()
        time.sleep(SECONDS)
        self.wfile.write(json.dumps(shared | (last if asked["stream"] else first) | end).encode() + b"\n")

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
spans = InMemorySpanExporter()
tracer = TracerProvider()
tracer.add_span_processor(SimpleSpanProcessor(spans))
metrics = InMemoryMetricReader()
OllamaInstrumentor().instrument(tracer_provider=tracer, meter_provider=MeterProvider(metric_readers=[metrics]))
client = ollama.Client(host=f"http://127.0.0.1:{server.server_port}")


def counted():
    """What the metrics hold: calls, their seconds, tokens."""
    calls, seconds, tokens = 0, 0.0, 0
    data = metrics.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    if metric.name == "gen_ai.client.operation.duration":
                        calls, seconds = calls + point.count, seconds + point.sum
                    elif metric.name == "gen_ai.client.token.usage":
                        tokens += point.sum
    return calls, seconds, tokens


def measured(call):
    """Calls, seconds and tokens that a call adds to the metrics, and its span's seconds and tokens."""
    spans.clear()
    before = counted()
    call()
    after = counted()
    (span,) = spans.get_finished_spans()
    added = [new - old for new, old in zip(after, before)]
    return *added, (span.end_time - span.start_time) / 1e9, span.attributes.get("gen_ai.usage.output_tokens")


def whole():
    client.chat("m", messages=[{"role": "user", "content": "Hello?"}])


def streamed():
    for _ in client.chat("m", messages=[{"role": "user", "content": "Hello?"}], stream=True):
        pass


def streamed_to_its_last_line():
    for part in client.chat("m", messages=[{"role": "user", "content": "Hello?"}], stream=True):
        if part.done:
            break


for name in ("opentelemetry-instrumentation-ollama", "ollama", "opentelemetry-sdk"):
    print(name, version(name), end=", ")
print("Python", sys.version.split()[0], f"; each answer takes {SECONDS} s and counts 18 tokens")
seen = {call.__name__: measured(call) for call in (whole, streamed, streamed_to_its_last_line)}
for name, (calls, seconds, tokens, of_span, output) in seen.items():
    print(f"{name}: metrics {calls} call, {seconds:.6f} s, {tokens} tokens; span {of_span:.2f} s, output tokens {output}")
assert all(row[0] == 1 and row[3] >= SECONDS for row in seen.values()), "spans are short too; look at this script"
assert seen["whole"][1] >= SECONDS and seen["whole"][2] == 18, "whole answers are not measured either; look at this script"
assert seen["streamed"][2] == 18, "a stream that is read out counts no tokens either; look at this script"
if seen["streamed"][1] > SECONDS / 10:
    sys.exit("no longer so: the duration of a stream is the stream's.")
if seen["streamed_to_its_last_line"][2] or seen["streamed_to_its_last_line"][4] is not None:
    sys.exit("no longer so: a stream that is left at its last line counts its tokens.")
PY

# Seen on 2026-11-30:
#   opentelemetry-instrumentation-ollama 0.62.4, ollama 0.6.3, opentelemetry-sdk 1.45.2, Python 3.11.7 ; each answer takes 0.6 s and counts 18 tokens
#   whole: metrics 1 call, 0.607616 s, 18 tokens; span 0.61 s, output tokens 7
#   streamed: metrics 1 call, 0.000004 s, 18 tokens; span 0.61 s, output tokens 7
#   streamed_to_its_last_line: metrics 1 call, 0.000005 s, 0 tokens; span 0.61 s, output tokens None
