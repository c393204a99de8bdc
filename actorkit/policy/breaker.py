"""Decides when calls that keep failing are no longer made, and when they are tried again.

| state     | event       | when                                    | next      |
|-----------|-------------|-----------------------------------------|-----------|
| CLOSED    | let through | always                                  | CLOSED    |
| CLOSED    | success     |                                         | CLOSED    |
| CLOSED    | failure     | fewer than it takes                     | CLOSED    |
| CLOSED    | failure     | as many as it takes                     | OPEN      |
| CLOSED    | ignored     |                                         | CLOSED    |
| OPEN      | refused     | before `recovery_timeout` is over       | OPEN      |
| OPEN      | let through | after that: the first probe             | HALF_OPEN |
| HALF_OPEN | let through | a probe's place is free                 | HALF_OPEN |
| HALF_OPEN | refused     | all places are taken                    | HALF_OPEN |
| HALF_OPEN | success     | fewer than `half_open_requests`         | HALF_OPEN |
| HALF_OPEN | success     | the last one needed                     | CLOSED    |
| HALF_OPEN | failure     |                                         | OPEN      |
| HALF_OPEN | ignored     | gives its place back                    | HALF_OPEN |
| HALF_OPEN | failure     | of a hung probe, which lost its place   | HALF_OPEN |
| ISOLATED  | refused     | always                                  | ISOLATED  |
| CLOSED    | late result | of a call begun in an earlier generation | CLOSED    |
| OPEN      | late result | of a call begun in an earlier generation | OPEN      |
| HALF_OPEN | late result | of a call begun in an earlier generation | HALF_OPEN |
| ISOLATED  | late result | of a call begun in an earlier generation | ISOLATED  |
| CLOSED    | isolate     | always                                  | ISOLATED  |
| OPEN      | isolate     | always                                  | ISOLATED  |
| HALF_OPEN | isolate     | always                                  | ISOLATED  |
| ISOLATED  | isolate     | always                                  | ISOLATED  |
| CLOSED    | reset       | always                                  | CLOSED    |
| OPEN      | reset       | always                                  | CLOSED    |
| HALF_OPEN | reset       | always                                  | CLOSED    |
| ISOLATED  | reset       | always                                  | CLOSED    |

Each change of state, each `isolate` and each `reset` begins a new generation, with all counts at nothing. So does a
clock that goes back, which is that of another run: the breaker closes, unless it is isolated.

A probe that takes longer than `recovery_timeout` is taken for hung and loses its place to the next one. If it fails
after all, that is old news. If it succeeds, it counts: otherwise a breaker whose calls are all that slow would stay
half-open for ever.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

from attrs import define, frozen

from actorkit.errors import CallRejected
from actorkit.policy.checks import check_count, check_exception_type, check_number, check_seconds
from actorkit.policy.windows import SHORTEST_WINDOW, SlidingCount
from actorkit.policy.wording import leaves

SOON: Final = 1.0
"""Seconds after which to ask a half-open breaker again whose probes are all under way: one of them may have answered."""


class CircuitState(Enum):
    """What a circuit breaker does with calls."""

    CLOSED = "closed"
    """They are made."""
    OPEN = "open"
    """They are refused, since too many have failed."""
    HALF_OPEN = "half_open"
    """A few are made, to see whether they succeed again."""
    ISOLATED = "isolated"
    """They are refused, since a person has said so."""


class Outcome(Enum):
    """What a call came to, for the guards around it."""

    SUCCESS = "success"
    """It returned."""
    FAILURE = "failure"
    """It raised."""
    IGNORED = "ignored"
    """It says nothing: it was cancelled, refused by another guard, or raised what doesn't count."""


@frozen(kw_only=True)
class BreakerSettings:
    """When a breaker opens and closes. `CircuitBreaker` describes them.

    Raises:
        SpecError: a value is out of range.
        SpecTypeError: a value is of the wrong type.
    """

    failure_threshold: int = 5
    recovery_timeout: float = 60.0
    half_open_requests: int = 3
    failure_rate: float | None = None
    min_calls: int = 10
    window: float = 60.0
    slow_after: float | None = None
    ignore: type[Exception] | tuple[type[Exception], ...] = ()

    def __attrs_post_init__(self) -> None:
        owner = "CircuitBreaker"
        check_count(owner, "failure_threshold", self.failure_threshold, 1)
        check_seconds(owner, "recovery_timeout", self.recovery_timeout, positive=True)
        check_count(owner, "half_open_requests", self.half_open_requests, 1)
        if self.failure_rate is not None:
            check_number(owner, "failure_rate", self.failure_rate, "None, or a share of all calls, more than 0 and at most 1", most=1.0)
        check_count(owner, "min_calls", self.min_calls, 1)
        check_seconds(owner, "window", self.window, minimum=SHORTEST_WINDOW)
        if self.slow_after is not None:
            check_seconds(owner, "slow_after", self.slow_after, positive=True)
        for one in self.ignore if isinstance(self.ignore, tuple) else (self.ignore,):
            check_exception_type(owner, "ignore", one, "an exception class, or a tuple of them")

    def outcome(self, error: BaseException) -> Outcome:
        """What a call came to that raised this. A group counts unless everything in it is to be ignored."""
        if not isinstance(error, Exception):
            return Outcome.IGNORED  # a cancellation, an interrupt, an exit
        ignored = self.ignore if isinstance(self.ignore, tuple) else (self.ignore,)
        if isinstance(error, ignored) or all(isinstance(one, (CallRejected, *ignored)) for one in leaves(error)):
            return Outcome.IGNORED
        return Outcome.FAILURE


@define(eq=False)
class Token:
    """One call that was let through. It is released once."""

    generation: int
    started: float
    released: bool = False


class Breaker:
    """One breaker's state, and how it changes.

    Every `now` is in seconds.

    Attributes:
        state: what it does with calls. An open breaker is half-open once the first probe has been let through.
        generation: how often the state has changed, by itself or by hand.
    """

    def __init__(self, settings: BreakerSettings) -> None:
        self.settings: BreakerSettings = settings
        self.state: CircuitState = CircuitState.CLOSED
        self.generation: int = 0
        self._now = -math.inf  # when last asked
        self._until = 0.0  # when open: from then on a probe is let through
        self._probes: dict[Token, float] = {}  # when half-open: those under way, and when they lose their places
        self._succeeded = 0  # when half-open: probes
        self._in_a_row = 0  # when closed: failures
        self._calls = SlidingCount(settings.window)
        self._failures = SlidingCount(settings.window)

    def acquire(self, now: float) -> Token | None:
        """Lets a call through, whose token is to be released; or refuses it, with None."""
        self._look_at_clock(now)
        if self.retry_after(now) != 0:
            return None
        if self.state is CircuitState.OPEN:
            self._become(CircuitState.HALF_OPEN)
        token = Token(self.generation, now)
        if self.state is CircuitState.HALF_OPEN:
            self._probes[token] = now + self.settings.recovery_timeout
        return token

    def retry_after(self, now: float) -> float | None:
        """Seconds until a call may be let through: 0 means now, None that nobody can tell. Looking changes nothing."""
        match self.state:
            case CircuitState.CLOSED:
                return 0.0
            case CircuitState.OPEN:
                return max(0.0, self._until - now)
            case CircuitState.HALF_OPEN:
                taken = [until for until in self._probes.values() if until > now]
                if self._succeeded + len(taken) < self.settings.half_open_requests:
                    return 0.0
                return min(SOON, *(until - now for until in taken))
            case CircuitState.ISOLATED:
                return None

    def release(self, token: Token, outcome: Outcome, now: float) -> None:
        """Says what a call came to. Of a call begun in an earlier generation it changes nothing.

        Raises:
            ValueError: the token has been released already.
        """
        if token.released:
            raise ValueError("a call's token is released once, and this one has been")
        token.released = True
        self._look_at_clock(now)
        if token.generation != self.generation:
            return
        is_hung = self._probes.pop(token, now) <= now
        if outcome is Outcome.IGNORED:
            return
        slow_after = self.settings.slow_after
        failed = outcome is Outcome.FAILURE or (slow_after is not None and now - token.started > slow_after)
        if self.state is CircuitState.CLOSED:
            self._count(now, failed=failed)
        elif not failed:
            self._succeeded += 1
            if self._succeeded >= self.settings.half_open_requests:
                self._become(CircuitState.CLOSED)
        elif not is_hung:
            self._open(now)

    def isolate(self) -> None:
        """Refuses all calls until `reset`."""
        self._become(CircuitState.ISOLATED)

    def reset(self) -> None:
        """Closes, with nothing remembered."""
        self._become(CircuitState.CLOSED)

    def _look_at_clock(self, now: float) -> None:
        if now < self._now and self.state is not CircuitState.ISOLATED:
            self._become(CircuitState.CLOSED)
        self._now = now

    def _count(self, now: float, *, failed: bool) -> None:
        settings = self.settings
        if settings.failure_rate is None:
            self._in_a_row = self._in_a_row + 1 if failed else 0
            if self._in_a_row >= settings.failure_threshold:
                self._open(now)
            return
        self._calls.add(now)
        self._failures.add(now, failed)
        calls = self._calls.total(now)
        if failed and calls >= settings.min_calls and self._failures.total(now) >= settings.failure_rate * calls:
            self._open(now)

    def _open(self, now: float) -> None:
        self._become(CircuitState.OPEN)
        self._until = now + self.settings.recovery_timeout

    def _become(self, state: CircuitState) -> None:
        self.state = state
        self.generation += 1
        self._probes.clear()
        self._succeeded = self._in_a_row = 0
        self._calls.clear()
        self._failures.clear()
