"""What ties a worker to its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from typing import Final

# Linux's name for "have me killed when my parent has died".
_PDEATHSIG: Final = 1


def die_with_parent(parent: int) -> None:
    """Have the system end this process with its parent, also while it starts and when its loop stands still.

    Elsewhere than on Linux the channel's end does it, once the loop sees that.

    Args:
        parent: its process id; should it have died already, so does this process.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
