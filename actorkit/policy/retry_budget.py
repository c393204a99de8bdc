"""Decides how many retries a destination bears, so that retries don't make a bad moment worse."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort

from actorkit.policy.checks import check_count, check_number, check_seconds
from actorkit.policy.windows import SHORTEST_WINDOW, SlidingCount


class RetryBudget:
    """How many retries there may be lately: a share of all first tries, and a few in any case.

    Share one among all who call the same service. When it is spent, retries are put off until it has room; none is ever
    forbidden. Use it with `execute(…, budget=budget)`.

    Args:
        ratio: retries for each first try, more than 0 and at most 1.
        window: the seconds that "lately" means, 0.001 or more.
        minimum: retries within a window that are fine however few first tries there are; 1 or more.

    Raises:
        SpecError: a value is out of range.
        SpecTypeError: a value is of the wrong type.
    """

    # Every `now` is in seconds; if it goes back, it is another run's, and nothing has been counted.

    def __init__(self, ratio: float = 0.2, *, window: float = 10.0, minimum: int = 10) -> None:
        owner = "RetryBudget"
        self.ratio: float = check_number(owner, "ratio", ratio, "a share, more than 0 and at most 1", most=1.0)
        self.window: float = check_seconds(owner, "window", window, minimum=SHORTEST_WINDOW)
        self.minimum: int = check_count(owner, "minimum", minimum, 1)
        self._now = -math.inf  # when last asked
        self._first_tries = SlidingCount(window)
        self._retries: list[float] = []  # when, in order; those that were put off lie ahead

    def count_first_try(self, now: float, count: int = 1) -> None:
        """Something is tried for the first time, or `count` things."""
        self._look_at_clock(now)
        self._first_tries.add(now, count)

    def allowance(self, now: float) -> int:
        """How many retries there may be within a window."""
        return max(self.minimum, int(self.ratio * self._first_tries.total(now)))

    def reserve(self, now: float, *, at: float | None = None) -> float:
        """Puts a retry down for the earliest time that the budget has room for it; returns that time.

        Args:
            now: the present time.
            at: when the retry is to be made at the earliest; by default now.
        """
        self._look_at_clock(now)
        retries = self._retries
        del retries[: bisect_right(retries, now - self.window)]
        allowance = self.allowance(now)
        at = now if at is None else max(now, at)
        # Those within a window before it count, and those after it: what was to wait for longer, or was put off.
        while (end := bisect_left(retries, at + self.window)) - bisect_right(retries, at, key=self._leaves_window) >= allowance:
            at = self._leaves_window(retries[end - allowance])
        insort(retries, at)
        return at

    def give_back(self, at: float) -> None:
        """The retry put down for that time is not made after all. If that is long past, it makes no difference."""
        if at in self._retries:
            self._retries.remove(at)

    def _leaves_window(self, retry: float) -> float:
        return retry + self.window  # always in this direction: back again, rounding might never let it leave

    def _look_at_clock(self, now: float) -> None:
        if now < self._now:
            self._first_tries.clear()
            self._retries.clear()
        self._now = now
