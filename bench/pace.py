"""When a stream speaks; the prompt carries it to the upstream.

Several targets are measured in one run by giving each its turns: with `slot` 1 of 4 and a length of 0.1 s a stream
speaks in every fourth tenth of a second only. Turns are counted on the clock that all processes of a machine share
(`time.monotonic`), so a target has the processors to itself while it is looked at, and a moment later the next one
meets the same machine.
"""

import math
import re
from dataclasses import dataclass
from typing import Self

FORM = re.compile(r"tokens=(\d+) every=([\d.]+) slot=(\d+)/(\d+) length=([\d.]+)")
NUDGE = 1e-6  # a turn's first instant belongs to it, whatever rounding says


@dataclass(frozen=True)
class Pace:
    """So many tokens, one each `every` seconds, while it is one's turn."""

    tokens: int = 8
    every: float = 0.0
    slot: int = 0
    slots: int = 1
    length: float = 1.0

    @classmethod
    def parse(cls, prompt: str) -> Self:
        """Read a pace from a prompt; any other prompt gets a few words at once."""
        found = FORM.search(prompt)
        if not found:
            return cls()
        tokens, every, slot, slots, length = found.groups()
        return cls(int(tokens), float(every), int(slot), int(slots), float(length))

    def prompt(self) -> str:
        """Write the pace as a prompt."""
        return f"tokens={self.tokens} every={self.every:f} slot={self.slot}/{self.slots} length={self.length:f}"

    def turn(self, moment: float) -> float:
        """Return the moment itself when it is in one's turn, else the beginning of the next turn."""
        index = math.floor((moment + NUDGE) / self.length)
        ahead = (self.slot - index) % self.slots
        return (index + ahead) * self.length if ahead else moment

    def after(self, moment: float, phase: float) -> float:
        """Return when to speak after having spoken at a moment; each stream begins its turns with its own phase."""
        due = moment + self.every
        turn = self.turn(due)
        return due if turn == due else turn + phase
