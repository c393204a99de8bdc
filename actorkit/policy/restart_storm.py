"""Decides how fast a whole system restarts, when very much of it fails at once.

What all depend on goes down, and a thousand actors fail in one moment, each within its supervisor's budget. To start all
of them again at once makes a second wave: of connections, of reads, of what `on_start` does. So all restarts of a system
take from one bucket of tokens. None is refused; those that find it empty wait, in the order in which they came.

What a supervisor may do is its own affair, so the bucket is never tighter than that: one supervisor that uses up its
budget, while all others are quiet, never waits. A bucket that holds `max_restarts` tokens and gets `max_restarts` more
`within` seconds never runs dry in such a case: of a budget, no more than `max_restarts * (1 + t / within)` restarts fit
into any t seconds. It therefore holds

    burst = max(30, 3 x children, the largest max_restarts)

so each child may be restarted three times at once, as a supervisor bears by default, and fills at

    rate = max(burst / 60, the largest max_restarts / within)

tokens a second: the burst anew each minute. A child waits for its restart before it can fail again, so no more restarts
than children ever wait, and none of them longer than 20 s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from actorkit.policy.throttle import ThrottleSettings, TokenBucket

LEAST_BURST: Final = 30
"""Restarts at once that even the smallest system bears."""

PER_CHILD: Final = 3
"""Restarts at once for each child."""

REFILL: Final = 60.0
"""Seconds in which an empty bucket fills, at the latest."""


class RestartPace:
    """How fast a system restarts.

    Every `now` is in seconds, on a clock that never goes back.

    Args:
        children: how many the whole system has.
        budgets: `max_restarts` and `within` of each budget in it. Of one that counts for each child by itself, take
            `max_restarts` times the number of children. One without limit is no budget.
    """

    def __init__(self, children: int, budgets: Iterable[tuple[int, float]] = ()) -> None:
        self._bucket = TokenBucket(_settings(children, budgets))

    @property
    def burst(self) -> int:
        """Restarts that are made at once if there were none lately."""
        return self._bucket.settings.burst

    @property
    def rate(self) -> float:
        """Restarts a second after that."""
        return self._bucket.rate

    def admit(self, now: float) -> float:
        """Counts a restart. A group that is restarted together is one.

        Returns:
            The seconds to wait before it is made; 0.0: it is made at once.
        """
        wait = max(0.0, self._bucket.ready_at(1) - now)
        self._bucket.take(1, now)
        return wait

    def resize(self, now: float, children: int, budgets: Iterable[tuple[int, float]] = ()) -> None:
        """The tree has grown or shrunk. What was taken stays taken, but for what a tree of this size could not have taken."""
        taken = math.ceil(self.burst - self._bucket.tokens(now))
        self._bucket = TokenBucket(_settings(children, budgets))
        if taken:
            self._bucket.take(min(taken, self.burst + children), now)


def _settings(children: int, budgets: Iterable[tuple[int, float]]) -> ThrottleSettings:
    known = list(budgets)
    burst = max([LEAST_BURST, PER_CHILD * children, *(max_restarts for max_restarts, _ in known)])
    rate = max([burst / REFILL, *(max_restarts / within for max_restarts, within in known)])
    return ThrottleSettings(rate=rate, burst=burst)
