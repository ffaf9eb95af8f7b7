"""What every driver of a loop of tools in Python shares: the tools, and how the loop's end is told."""

import asyncio
import os
import re

from steps import attempt

URL, MODEL, KEY = (os.environ.get(name, "") for name in ("URL", "MODEL", "KEY"))
HEADERS = {"X-API-Key": KEY}
TASK = "Look up the weather, tell the time, and keep a note."
CALLS = []


def lookup(city: str) -> str:
    """Look up the weather of a city.

    Args:
        city: The city's name.
    """
    CALLS.append(["lookup", {"city": city}])
    return f"rain in {city}"


def clock() -> str:
    """Tell the time."""
    CALLS.append(["clock", {}])
    return "half past twelve"


def keep(text: str) -> str:
    """Keep a note.

    Args:
        text: The note.
    """
    CALLS.append(["keep", {"text": text}])
    return f"kept {len(text)} letters"


FUNCTIONS = [lookup, clock, keep]
BY_NAME = {function.__name__: function for function in FUNCTIONS}


def _object(**properties):
    return {"type": "object", "properties": properties, "required": list(properties)}


PARAMETERS = {
    "lookup": _object(city={"type": "string", "description": "The city's name."}),
    "clock": {"type": "object", "properties": {}},
    "keep": _object(text={"type": "string", "description": "The note."}),
}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": BY_NAME[name].__doc__, "parameters": parameters}}
    for name, parameters in PARAMETERS.items()
]


def loop(**modes):
    """Go through the loop in the way that is asked for; a coroutine is waited for."""
    mode = os.environ["MODE"]
    act = modes[re.sub(r"\W+", "_", mode)]
    attempt(mode, lambda: {"text": waited(act), "calls": list(CALLS)})


def waited(act):
    """What a function or a coroutine's function gives."""
    said = act()
    return asyncio.run(said) if asyncio.iscoroutine(said) else said
