"""Counts what happened lately, in a few numbers however much it was."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from attrs import define

SLOTS: Final = 10
"""Parts that a window is counted in."""

SHORTEST_WINDOW: Final = 0.001
"""Seconds that a window has at least."""


@define
class Slot:
    """What was counted in one part of a window."""

    number: int
    amount: int = 0


class SlidingCount:
    """How much happened within the last `window` seconds.

    What lies nine tenths of the window back is counted for certain, what lies a whole one back no more.

    Args:
        window: seconds, `SHORTEST_WINDOW` or more. Taken as it is: the settings it comes from have checked it.
    """

    def __init__(self, window: float) -> None:
        self._width = window / SLOTS
        self._slots: deque[Slot] = deque()
        self._total = 0

    def add(self, now: float, amount: int = 1) -> None:
        """So much happened at `now`.

        Args:
            now: seconds, on a clock that never goes back.
            amount: 0 or more.
        """
        number = self._forget(now)
        if not self._slots or self._slots[-1].number != number:
            self._slots.append(Slot(number))
        self._slots[-1].amount += amount
        self._total += amount

    def total(self, now: float) -> int:
        """How much has happened, as seen at `now`."""
        self._forget(now)
        return self._total

    def clear(self) -> None:
        """Nothing has happened."""
        self._slots.clear()
        self._total = 0

    def _forget(self, now: float) -> int:
        number = math.floor(now / self._width)
        while self._slots and self._slots[0].number <= number - SLOTS:
            self._total -= self._slots.popleft().amount
        return number
