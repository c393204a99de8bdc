"""Decides when the next call may be made, so that there are so many a second at most.

A token bucket: it fills at `rate` tokens a second up to `burst`, and each call takes some. Those who wait have reserved
theirs, so nobody overtakes them. The rate gives way to trouble and comes back (additive increase, multiplicative
decrease, as TCP does it):

| event          | when                                                    | the rate                                    |
|----------------|---------------------------------------------------------|---------------------------------------------|
| slow_down      | the first one within `INTERVAL`                         | halves, but not below the floor             |
| slow_down      | another one within `INTERVAL`                           | stays                                       |
| tokens taken   | `INTERVAL` without trouble is over, and it was needed   | grows by a tenth of the full one, up to that |
| tokens taken   | otherwise                                               | stays                                       |

It was needed if at least half of what it allowed was taken: what the other side can bear is not learnt in idleness.
"""

from __future__ import annotations

import math
from typing import Final

from attrs import frozen

from actorkit.errors import SpecError
from actorkit.policy.checks import check_count, check_number, complaint

LEAST_RATE: Final = 1e-9
"""One token in thirty years."""

INTERVAL: Final = 1.0
"""Seconds between two steps down, or two steps up, at least."""

DECREASE: Final = 0.5
"""What is left of the rate after a step down."""

INCREASE: Final = 0.1
"""A step up, as a share of the full rate."""

NEEDED: Final = 0.5
"""The share of the rate that must have been used for a step up."""

DEFAULT_FLOOR: Final = 0.05
"""The share of its rate that a throttle keeps in any trouble: who gets nothing through learns nothing."""


@frozen(kw_only=True)
class ThrottleSettings:
    """How many calls a second, and how many at once. `Throttle` describes them.

    Raises:
        SpecError: a value is out of range.
        SpecTypeError: a value is of the wrong type.
    """

    rate: float
    burst: int = 1
    floor: float | None = None

    def __attrs_post_init__(self) -> None:
        owner = "Throttle"
        check_number(owner, "rate", self.rate, "calls a second, more than 0", least=LEAST_RATE)
        check_count(owner, "burst", self.burst, 1)
        if self.floor is not None:
            expected = f"None, or calls a second, more than 0 and at most the rate, which is {self.rate:g}"
            check_number(owner, "floor", self.floor, expected, least=0.0, most=self.rate)

    @property
    def least(self) -> float:
        """The rate that trouble cannot go below."""
        return self.rate * DEFAULT_FLOOR if self.floor is None else self.floor

    def check_amount(self, n: int) -> int:
        """How many tokens somebody wants at once.

        Raises:
            SpecError: there are never so many, or it is below 1.
            SpecTypeError: it is no int.
        """
        if check_count("Throttle", "n", n, 1) > self.burst:
            raise SpecError(complaint("Throttle", "n", n, f"at most the burst, which is {self.burst}: there are never more at once"))
        return n


class TokenBucket:
    """One bucket: how full it is, who has reserved, and how fast it fills.

    Every `now` is in seconds; if it goes back, it is another run's, and the bucket is full and nobody waits. An `n` is 1 or
    more, and, except for `take`, at most the burst.

    Attributes:
        rate: tokens a second, for the present.
        reserved: how many tokens those who wait have reserved.
    """

    def __init__(self, settings: ThrottleSettings) -> None:
        self.settings: ThrottleSettings = settings
        self._start_over()

    def _start_over(self) -> None:
        self.rate: float = self.settings.rate
        self.reserved: int = 0
        self._now = -math.inf  # when last asked
        # The one number that says how full it is. Counting tokens instead would let errors add up, and a wait that ends
        # a hair too early would be followed by ever shorter ones.
        self._full_at = -math.inf
        self._slowed_at = -math.inf
        self._quiet_since = -math.inf
        self._taken = 0  # since then

    def tokens(self, now: float) -> float:
        """How many are in the bucket: the burst at most."""
        return self.settings.burst - max(0.0, self._full_at - now) * self.rate

    def try_take(self, n: int, now: float) -> bool:
        """Takes `n` tokens if they are there and nobody waits; says whether."""
        self._look_at_clock(now)
        if self.reserved or self.ready_at(n) > now:
            return False
        self._take(n, now)
        return True

    def take(self, n: int, now: float) -> None:
        """Takes `n` tokens, from the time on at which `ready_at` says so. More than the burst are owed: who comes next waits for them."""
        self._look_at_clock(now)
        self._take(n, now)

    def reserve(self, n: int, now: float) -> float:
        """Waits for `n` tokens, behind those who wait already. Ends with `claim` or `cancel`.

        Returns:
            The time at which its turn comes if the rate stays as it is and nobody cancels; before `now` if it is its turn.
        """
        self.reserved += n
        return max(self._full_at, now) - (self.settings.burst - self.reserved) / self.rate

    def ready_at(self, n: int) -> float:
        """The time from which whoever is first may take `n`, as far as can be told now; perhaps long past.

        For more than the burst, that is when it is full.
        """
        return self._full_at - max(0, self.settings.burst - n) / self.rate

    def claim(self, n: int, now: float) -> None:
        """Takes what was reserved. Only for the first of those who wait.

        Raises:
            ValueError: it is too early, or so much was not reserved.
        """
        if self.ready_at(n) > now:
            raise ValueError(f"{n} tokens are not there before {self.ready_at(n)}, and it is {now}")
        self.cancel(n)
        self._look_at_clock(now)
        self._take(n, now)

    def cancel(self, n: int) -> None:
        """Gives back what was reserved: those behind move up.

        Raises:
            ValueError: so much was not reserved.
        """
        if n > self.reserved:
            raise ValueError(f"{n} tokens were to be given back, but {self.reserved} are reserved")
        self.reserved -= n

    def slow_down(self, now: float) -> None:
        """The other side cannot keep up. Troubles within `INTERVAL` of one that counted are taken for the same one."""
        self._look_at_clock(now)
        if now >= self._slowed_at + INTERVAL:
            self._slowed_at = now
            self._set_rate(max(self.settings.least, self.rate * DECREASE), now)
        self._quiet_since, self._taken = now, 0

    def _look_at_clock(self, now: float) -> None:
        if now < self._now:
            self._start_over()
        self._now = now

    def _take(self, n: int, now: float) -> None:
        quiet = now - self._quiet_since
        if quiet >= INTERVAL:
            if self.rate < self.settings.rate and self._taken >= NEEDED * self.rate * quiet:
                self._set_rate(min(self.settings.rate, self.rate + INCREASE * self.settings.rate), now)
            self._quiet_since, self._taken = now, 0
        self._taken += n
        self._full_at = max(self._full_at, now) + n / self.rate

    def _set_rate(self, rate: float, now: float) -> None:
        missing = max(0.0, self._full_at - now) * self.rate
        self.rate = rate
        self._full_at = now + missing / rate
