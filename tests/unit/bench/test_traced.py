"""What the benchmark makes of the figures of metrics and traces."""

from __future__ import annotations

import asyncio

import pytest

from bench.collector import Collector
from bench.rivals import BEFORE
from bench.traced import METRICS, TRACES, Found, holds, table


def found(call: float, token: float) -> Found:
    """Two rounds, of which the second met a machine that was twice as slow."""
    one, other = {BEFORE: [1000.0, 2000.0], METRICS: [900.0, 1800.0]}, {BEFORE: [40.0, 80.0], METRICS: [40.0, 80.0]}
    return Found(
        {**one, TRACES: [1000 * call, 2000 * call]},
        {BEFORE: [1200.0], METRICS: [1100.0], TRACES: [1300.0]},
        {**other, TRACES: [40 * token, 80 * token]},
    )


def test_each_round_is_compared_with_itself() -> None:
    """A slow one tells as much as a fast one."""
    lines = table("calls", found(1.1, 1.0)).splitlines()
    assert lines[2] == "| CPU per call, µs | 1500.0 | 1350.0, × 0.90 | 1650.0, × 1.10 | ≤ 1.15 × |"
    assert lines[4] == "| CPU per token of 100 streams, µs | 60.0 | 60.0, × 1.00 | 60.0, × 1.00 | ≤ 1.05 × |"


@pytest.mark.parametrize(("call", "token", "whether"), [(1.14, 1.04, True), (1.16, 1.04, False), (1.14, 1.06, False)])
def test_both_bounds_have_to_hold(call: float, token: float, whether: bool) -> None:
    """Of calls and of tokens."""
    assert holds(found(call, token)) is whether


async def test_the_collector_counts_what_it_took() -> None:
    """Each body in whatever pieces it comes."""
    Collector.bodies = 0
    server = await asyncio.get_running_loop().create_server(Collector, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    body = b"POST /v1/traces HTTP/1.1\r\nContent-Length: 5\r\n\r\nspans"
    writer.write(body + body[:-2])
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
    writer.write(body[-2:] + b"GET / HTTP/1.1\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n2")).endswith(b"Content-Length: 1\r\n\r\n2")
    writer.close()
    server.close()
