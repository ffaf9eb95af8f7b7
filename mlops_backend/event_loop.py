"""Which event loop runs the service: uvloop where it is installed, else asyncio's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.util import find_spec
from typing import Final, Literal

Choice = Literal["auto", "asyncio", "uvloop"]
Name = Literal["asyncio", "uvloop"]

_LIBRARY: Final = "uvloop"


def chosen(choice: Choice) -> Name:
    """What `EVENT_LOOP` stands for on this machine.

    Raises:
        ValueError: it names a loop that is not installed.
    """
    if choice == "asyncio":
        return "asyncio"
    if find_spec(_LIBRARY) is not None:
        return "uvloop"
    if choice == "uvloop":
        raise ValueError("uvloop is not installed; it is for CPython on Linux and macOS: write auto or asyncio")
    return "asyncio"


def factory_of(choice: Choice) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop."""
    if chosen(choice) == "asyncio":
        return asyncio.SelectorEventLoop
    import uvloop

    return uvloop.new_event_loop
