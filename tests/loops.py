"""The event loop that tests run on, and the services that they start: `EVENT_LOOP`, as the service itself reads it."""

from __future__ import annotations

import os
from typing import cast

from mlops_backend.event_loop import Choice, chosen, factory_of

CHOICE = cast("Choice", os.environ.get("EVENT_LOOP") or "auto")
LOOP = chosen(CHOICE)

new_event_loop = factory_of(CHOICE)
