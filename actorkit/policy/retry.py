"""Decides how often a failure is tried again, and how long to wait before each retry."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from attrs import Factory, field, frozen

from actorkit.errors import SpecError, SpecTypeError
from actorkit.policy.checks import check_choice, check_count, check_seconds, check_type, complaint
from actorkit.policy.taxonomy import ErrorCategory

if TYPE_CHECKING:
    from random import Random

LONGEST_LINEAR_DELAY = 3600.0
"""Seconds to which a linear schedule grows at most, unless its very first wait is longer."""


@runtime_checkable
class Schedule(Protocol):
    """How often, and after what waits, something is tried again."""

    @property
    def max_retries(self) -> int:
        """How often at most, the first try not counted."""
        ...

    def delay(self, retry: int, rng: Random) -> float:
        """Seconds to wait before `retry`; 1 is the first one."""
        ...


@frozen
class ExponentialBackoffRetry:
    """Waits that double, up to a longest one.

    Full jitter makes each wait uniform between 0 and that, so that many who failed together do not come back
    together; after Brooker, "Exponential Backoff And Jitter" (AWS, 2015).

    Args:
        max_retries: how often at most, the first try not counted.
        base_delay: the first wait in seconds, `max_delay` at most.
        max_delay: the longest wait in seconds.
        jitter: "full" or "none".

    Raises:
        SpecError: a value is out of range.
        SpecTypeError: a value is of the wrong type.
    """

    max_retries: int = 3
    base_delay: float = 0.1
    max_delay: float = 10.0
    jitter: Literal["full", "none"] = "full"

    def __attrs_post_init__(self) -> None:
        owner = type(self).__name__
        check_count(owner, "max_retries", self.max_retries)
        check_seconds(owner, "max_delay", self.max_delay)
        if check_seconds(owner, "base_delay", self.base_delay) > self.max_delay:
            raise SpecError(complaint(owner, "base_delay", self.base_delay, f"seconds, at most max_delay, which is {self.max_delay}"))
        if check_type(owner, "jitter", self.jitter, str, "'full' or 'none'") not in ("full", "none"):
            raise SpecError(complaint(owner, "jitter", self.jitter, "'full' or 'none'"))

    def delay(self, retry: int, rng: Random) -> float:
        """Seconds to wait before `retry`: up to min(max_delay, base_delay * 2 ** (retry - 1)).

        Args:
            retry: 1 is the first one. However large it is, the wait is at most `max_delay`.
            rng: drawn from exactly once with full jitter, so that a seeded run can be repeated; else not at all.

        Raises:
            ValueError: `retry` is below 1.
        """
        _check_retry(retry)
        try:
            ceiling = min(float(self.max_delay), math.ldexp(self.base_delay, retry - 1))
        except OverflowError:
            ceiling = float(self.max_delay)
        return rng.uniform(0.0, ceiling) if self.jitter == "full" else ceiling

    def __str__(self) -> str:
        jitter = ", full jitter" if self.jitter == "full" else ""
        return f"exponential, {_retries(self.max_retries)}, {self.base_delay:g} s to {self.max_delay:g} s{jitter}"


@frozen
class LinearBackoffRetry:
    """Waits that grow by the same step each time: 1 s, 2 s, 3 s.

    Args:
        max_retries: how often at most, the first try not counted.
        delay: the step in seconds, and the first wait. Read back as `step`, since `delay` is the method.

    Raises:
        SpecError: a value is out of range.
        SpecTypeError: a value is of the wrong type.
    """

    max_retries: int = 2
    step: float = field(default=1.0, alias="delay")

    def __attrs_post_init__(self) -> None:
        owner = type(self).__name__
        check_count(owner, "max_retries", self.max_retries)
        check_seconds(owner, "delay", self.step)

    def delay(self, retry: int, rng: Random) -> float:
        """Seconds to wait before `retry`: step * retry, and an hour at most unless the step itself is longer.

        Args:
            retry: 1 is the first one.
            rng: not drawn from.

        Raises:
            ValueError: `retry` is below 1.
        """
        _check_retry(retry)
        return min(float(self.step) * retry, max(float(self.step), LONGEST_LINEAR_DELAY))

    def __str__(self) -> str:
        return f"linear, {_retries(self.max_retries)}, steps of {self.step:g} s"


@frozen
class NoRetry:
    """Nothing is tried again."""

    @property
    def max_retries(self) -> int:
        """0."""
        return 0

    def delay(self, retry: int, rng: Random) -> float:
        """0 seconds, for whoever retries all the same.

        Raises:
            ValueError: `retry` is below 1.
        """
        _check_retry(retry)
        return 0.0

    def __str__(self) -> str:
        return "none"


DEFAULT_SCHEDULES: Mapping[ErrorCategory, Schedule] = {
    ErrorCategory.TRANSIENT: ExponentialBackoffRetry(max_retries=3, base_delay=0.1, max_delay=5.0),
    ErrorCategory.TIMEOUT: LinearBackoffRetry(max_retries=2, delay=1.0),
    ErrorCategory.RESOURCE: ExponentialBackoffRetry(max_retries=5, base_delay=1.0, max_delay=30.0),
    ErrorCategory.COMMUNICATION: ExponentialBackoffRetry(max_retries=5, base_delay=0.1, max_delay=5.0),
    ErrorCategory.DEPENDENCY: ExponentialBackoffRetry(max_retries=5, base_delay=1.0, max_delay=60.0),
}
"""The schedules of the categories that time may cure; the others have none. From the design's section on failures."""

_NO_RETRY = NoRetry()


def _completed(schedules: Mapping[ErrorCategory, Schedule] | None) -> Mapping[ErrorCategory, Schedule]:
    owner = "RetryPolicy"
    if schedules is None:
        return dict(DEFAULT_SCHEDULES)
    try:
        given = dict(schedules)
    except (TypeError, ValueError):
        raise SpecTypeError(complaint(owner, "schedules", schedules, "a mapping of ErrorCategory to schedule")) from None
    for category, schedule in given.items():
        check_choice(owner, "category", category, ErrorCategory)
        _check_schedule(owner, category, schedule)
    return {**DEFAULT_SCHEDULES, **given}


def _check_schedule(owner: str, category: ErrorCategory, schedule: object) -> None:
    # A class has what its instances have, so forgetting the parentheses would go unnoticed.
    if isinstance(schedule, type) or not isinstance(schedule, Schedule):
        expected = "a schedule such as ExponentialBackoffRetry(), LinearBackoffRetry() or NoRetry()"
        raise SpecTypeError(complaint(owner, str(category), schedule, expected))
    check_count(f"{owner}: {category}", "max_retries", schedule.max_retries)


def _find_retried(policy: RetryPolicy) -> tuple[ErrorCategory, ...]:
    return tuple(category for category, schedule in policy.schedules.items() if schedule.max_retries > 0)


@frozen
class RetryPolicy:
    """Which schedule each category of failures is retried by.

    Args:
        schedules: those that differ from `DEFAULT_SCHEDULES`; `NoRetry()` takes one away. Read back complete.

    Raises:
        SpecTypeError: a key is no `ErrorCategory`, or a value no schedule.
    """

    # Left out of the hash, since a mapping has none: policies stay hashable, and equal ones still hash equal.
    schedules: Mapping[ErrorCategory, Schedule] = field(default=None, converter=_completed, hash=False)

    # Asked at every failure, where hashing an enum's member would take longer than going through a few of them.
    _retried: tuple[ErrorCategory, ...] = field(init=False, repr=False, eq=False, default=Factory(_find_retried, takes_self=True))

    def retries(self, category: ErrorCategory) -> bool:
        """Whether failures of this category are tried again at all."""
        return category in self._retried

    def for_category(self, category: ErrorCategory) -> Schedule:
        """The schedule of this category, `NoRetry()` when it has none."""
        return self.schedules.get(category, _NO_RETRY)

    def __str__(self) -> str:
        return "\n".join(f"{category.name}: {schedule}" for category, schedule in self.schedules.items())


def _check_retry(retry: int) -> None:
    if retry < 1:
        raise ValueError(f"retry = {retry}: expected 1 or more; 1 is the first retry")


def _retries(count: int) -> str:
    return "1 retry" if count == 1 else f"{count} retries"
