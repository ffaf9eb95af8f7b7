"""Many streams that arrive at once and then say little."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from bench.conversations import stream_requests
from bench.figures import Figures, Round, outcome
from bench.machine import resident_bytes
from bench.pace import Pace
from bench.stream_client import Tally, finish, open_stream
from bench.wire import Address

PATIENCE = 60.0


async def burst(addresses: Sequence[Address], **options: Any) -> dict[str, list[Round]]:
    """Return one round, the targets one after the other."""
    return {"burst": [{address.name: await _burst(address, **options) for address in addresses}]}


async def _burst(address: Address, streams: int, every: float, tokens: int) -> Figures:
    """Start all streams; look at the target's memory while all of them wait for their next token."""
    tally = Tally(expected=streams)
    requests = stream_requests(address, [Pace(tokens, every)] * streams)
    before = resident_bytes(address.pid)
    running = [asyncio.create_task(open_stream(address, request, tally)) for request in requests]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(tally.all_answered.wait(), PATIENCE)
    spoke, completed, resident = len(tally.first), tally.completed, resident_bytes(address.pid)
    await finish(running, tally, PATIENCE)
    memory = {"resident_before": before, "resident_during": resident}
    return outcome(tally, streams) | {"spoke": spoke, "open_at_once": spoke - completed} | memory
