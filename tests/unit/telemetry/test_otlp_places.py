"""The places of new spans."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, DEFAULT_OFF, DEFAULT_ON, Sampler
from opentelemetry.trace import INVALID_SPAN_CONTEXT, get_current_span

from mlops_backend.telemetry.otlp_places import NOWHERE, Places, context_in

KEPT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LEFT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        ("always_on", ALWAYS_ON),
        ("always_off", ALWAYS_OFF),
        ("parentbased_always_on", DEFAULT_ON),
        ("parentbased_always_off", DEFAULT_OFF),
    ],
)
@pytest.mark.parametrize("parent", [None, KEPT, LEFT])
def test_a_place_is_the_one_that_the_sdk_chooses(name: str, sampler: Sampler, parent: bytes | None) -> None:
    """With a client's trace before it, that is kept or is not, and without one."""
    context = context_in([(b"traceparent", parent)]) if parent else NOWHERE
    before = get_current_span(context).get_span_context() if parent else INVALID_SPAN_CONTEXT
    tracer = TracerProvider(sampler=sampler, shutdown_on_exit=False).get_tracer("sdk")
    theirs = tracer.start_span("x", context).get_span_context()
    place = Places(name, 1.0).placed(context, before)
    assert place.flags == theirs.trace_flags
    assert place.trace == (before.trace_id or place.trace) != 0
    assert place.kept == theirs.trace_flags.sampled


def test_of_traces_that_begin_here_as_many_are_kept_as_were_asked_for() -> None:
    """By their ids."""
    places = Places("parentbased_traceidratio", 0.25)
    kept = sum(places.placed(NOWHERE, INVALID_SPAN_CONTEXT).kept for _ in range(2000))
    assert 300 < kept < 700
