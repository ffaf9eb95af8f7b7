"""The load generator, one process a run: `python -m bench.load JOB`; job and result (on stdout) are JSON.

Each scenario takes the addresses of the targets; `pid` says whose processor time and memory to read.
"""

import asyncio
import contextlib
import gc
import json
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from bench.call_client import Caller
from bench.machine import cpu_seconds, raise_open_files, resident_bytes
from bench.stream_client import Tally, finish, open_stream
from bench.wire import Address

Result = dict[str, Any]
SETTLE = 0.2  # seconds of steady streaming, once the last stream speaks, before anything is recorded
SLACK = 0.6  # how much later than it was asked for the last stream may speak
PATIENCE = 60.0
AFTERMATH = 0.005  # what a server still does when its last answer has left is part of the price


def milliseconds(values: Sequence[int], name: str) -> Result:
    """Return the median and the 99th percentile of nanoseconds."""
    if len(values) < 2:
        return {}
    hundredths = statistics.quantiles(values, n=100)
    return {f"{name}_p50_ms": statistics.median(values) / 1e6, f"{name}_p99_ms": hundredths[98] / 1e6}


def outcome(tally: Tally, expected: int) -> Result:
    """Return what every run of streams reports."""
    failed = expected - tally.completed
    return milliseconds(tally.first, "first_token") | {"errors": failed, "error_texts": dict(tally.errors)}


async def spoken(tally: Tally, timeout: float) -> None:
    """Wait until every stream has spoken; those that never do are counted at the end."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(tally.all_spoke.wait(), timeout)


async def steady(address: Address, streams: int, every: float, ramp: float, window: float) -> Result:
    """Start streams one after the other, then measure while all of them speak."""
    tally = Tally(expected=streams)
    tokens = round((ramp + SLACK + SETTLE + window) / every)
    request = address.stream_request(tokens, every)
    running = []
    begun = time.monotonic()
    for number in range(streams):
        await asyncio.sleep(begun + ramp * number / streams - time.monotonic())
        running.append(asyncio.create_task(open_stream(address, request, tally)))
    await spoken(tally, PATIENCE)
    await asyncio.sleep(SETTLE)
    counted, used = tally.tokens, cpu_seconds(address.pid)
    tally.recording = True
    await asyncio.sleep(window)
    tally.recording = False
    counted, used = tally.tokens - counted, cpu_seconds(address.pid) - used
    await finish(running, tally, PATIENCE)
    measured = {"tokens": counted, "cpu_per_token_us": used / max(counted, 1) * 1e6}
    return outcome(tally, streams) | milliseconds(tally.late, "late") | measured


async def burst(address: Address, streams: int, every: float, tokens: int) -> Result:
    """Start all streams at once; look at the target's memory while all of them wait for a token."""
    tally = Tally(expected=streams)
    before = resident_bytes(address.pid)
    request = address.stream_request(tokens, every)
    running = [asyncio.create_task(open_stream(address, request, tally)) for _ in range(streams)]
    await spoken(tally, every * tokens)
    spoke = len(tally.first)
    open_now = spoke - tally.completed
    resident = resident_bytes(address.pid)
    await finish(running, tally, PATIENCE)
    figures = {"spoke": spoke, "open_at_once": open_now, "resident_before": before, "resident_during": resident}
    return outcome(tally, streams) | figures


def calls(addresses: Sequence[Address], count: int, block: int) -> dict[str, Result]:
    """Call the targets in turn, a block of calls each."""
    taken: dict[str, list[int]] = {address.name: [] for address in addresses}
    used = dict.fromkeys(taken, 0.0)
    callers = {address.name: Caller(address) for address in addresses}
    for number in range(count // block):
        turn = number % len(addresses)
        for address in [*addresses[turn:], *addresses[:turn]]:
            before = cpu_seconds(address.pid)
            taken[address.name] += [callers[address.name].call() for _ in range(block)]
            time.sleep(AFTERMATH)
            used[address.name] += cpu_seconds(address.pid) - before
    for caller in callers.values():
        caller.close()
    return {
        name: milliseconds(values, "call") | {"cpu_per_call_us": used[name] / len(values) * 1e6}
        for name, values in taken.items()
    }


def run(job: dict[str, Any]) -> Result:
    """Run one job."""
    addresses = [Address(**fields) for fields in job["addresses"]]
    options = job["options"]
    match job["scenario"]:
        case "calls":
            return calls(addresses, **options)
        case "steady":
            return {addresses[0].name: asyncio.run(steady(addresses[0], **options))}
        case "burst":
            return {addresses[0].name: asyncio.run(burst(addresses[0], **options))}
        case other:
            raise ValueError(other)


def main() -> None:
    """Run from the command line."""
    raise_open_files()
    gc.disable()
    print(json.dumps(run(json.loads(sys.argv[1]))))


if __name__ == "__main__":
    main()
