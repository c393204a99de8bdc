"""Decides which of the priorities that wait is served next: the highest, but nobody starves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

MOST_PASSED: Final = 16
"""Messages of higher priorities that may go first, in a row, while one of a lower priority waits."""


class PriorityTurns:
    """Whose turn it is. The higher priority goes first; one that was passed over `MOST_PASSED` times goes next.

    So the message at the head of the lowest of n priorities waits for at most `MOST_PASSED` + n - 2 messages of higher ones.
    """

    __slots__ = ("_passed",)

    def __init__(self, priorities: Iterable[int]) -> None:
        self._passed = dict.fromkeys(priorities, 0)

    def next(self, waiting: Sequence[int]) -> int:
        """The priority whose turn it is.

        Args:
            waiting: the priorities of which a message waits, the highest first; at least one.
        """
        return next((each for each in waiting if self._passed[each] >= MOST_PASSED), waiting[0])

    def take(self, waiting: Sequence[int]) -> int:
        """The same, and that priority is served now."""
        taken = self.next(waiting)
        for each in waiting:
            if each < taken:
                self._passed[each] += 1
        self._passed[taken] = 0
        return taken
