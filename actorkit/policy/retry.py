"""Decides how often a failure is tried again, and how long to wait before each retry."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Protocol, TypeVar, TypeVarTuple, runtime_checkable

from attrs import Factory, field, frozen

from actorkit.errors import PermanentError, PoisonMessageError, SpecError, SpecTypeError, ValidationError
from actorkit.policy.checks import check_choice, check_count, check_exception_type, check_seconds, check_type, complaint
from actorkit.policy.classifier import retry_after
from actorkit.policy.retry_budget import RetryBudget
from actorkit.policy.taxonomy import ErrorCategory
from actorkit.policy.wording import leaves

if TYPE_CHECKING:
    from random import Random

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LONGEST_LINEAR_DELAY = 3600.0
"""Seconds to which a linear schedule grows at most, unless its very first wait is longer."""

MOST_DRAWS: Final = 100
"""Waits that decorrelated jitter draws for one: by then, more would not change its distribution noticeably."""


HOPELESS: Final = (PermanentError, PoisonMessageError, ValidationError)
"""Exceptions that say themselves that trying again won't help."""


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


@frozen(kw_only=True)
class RetryTerms:
    """What `execute` goes by, beside its schedule; it describes them.

    Raises:
        SpecError: a value is out of range.
        SpecTypeError: a value is of the wrong type.
    """

    timeout: float | None = None
    attempt_timeout: float | None = None
    budget: RetryBudget | None = None
    retry_on: type[Exception] | tuple[type[Exception], ...] | None = None

    def __attrs_post_init__(self) -> None:
        owner = "execute"
        if self.timeout is not None:
            check_seconds(owner, "timeout", self.timeout, positive=True)
        if self.attempt_timeout is not None:
            check_seconds(owner, "attempt_timeout", self.attempt_timeout, positive=True)
        if self.budget is not None:
            check_type(owner, "budget", self.budget, RetryBudget, "None or a RetryBudget")
        if self.retry_on is not None:
            for one in self.retry_on if isinstance(self.retry_on, tuple) else (self.retry_on,):
                check_exception_type(owner, "retry_on", one, "None, an exception class, or a tuple of them")

    def wants_retry(self, error: Exception) -> bool:
        """Whether a failure is one of those that are tried again. A group is if all that is in it is."""
        if self.retry_on is None:
            return not any(isinstance(one, HOPELESS) for one in leaves(error))
        retry_on = self.retry_on
        return isinstance(error, retry_on) or all(isinstance(one, retry_on) for one in leaves(error))


class Executor(Protocol):
    """What makes calls by a schedule, and waits in between."""

    async def __call__(self, schedule: Schedule, fn: Callable[[*Ts], Awaitable[T]], args: tuple[*Ts], terms: RetryTerms) -> T:
        """Calls `fn(*args)` until it returns or the retries end."""
        ...


class Executable:
    """What the schedules have in common: each can make a call by itself.

    The waiting is the runtime's, which puts its `executor` here: so the schedules stay plain values, and what a
    `RetryPolicy` answers is of the very class that a user imports.
    """

    __slots__ = ()
    executor: ClassVar[Executor]

    async def execute(
        self: Schedule,
        fn: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        budget: RetryBudget | None = None,
        retry_on: type[Exception] | tuple[type[Exception], ...] | None = None,
    ) -> T:
        """Calls `fn(*args)`, and again when it fails, as this schedule says; answers what it returns.

        A wait is never less than the failure's `retry_after`. A cancellation is no failure, and ends it all.

        Args:
            fn: an async function.
            args: what it is called with; keywords go through `functools.partial`.
            timeout: seconds for all tries and waits together. A try that is under way then fails with
                `trio.TooSlowError`; a retry that would begin later is not waited for.
            attempt_timeout: seconds for each try, which then fails with `trio.TooSlowError`.
            budget: limits the retries of all who share it.
            retry_on: the failures after which it is tried again. None: all but `PermanentError`, `PoisonMessageError` and
                `ValidationError`. An exception group counts if all that is in it does.

        Raises:
            RetryExhausted: it failed too often, or for too long. Its `__cause__` is the last failure.
            Exception: a failure that is not tried again, as it was raised.
        """
        terms = RetryTerms(timeout=timeout, attempt_timeout=attempt_timeout, budget=budget, retry_on=retry_on)
        return await Executable.executor(self, fn, args, terms)


def wait_before(schedule: Schedule, retry: int, error: Exception, rng: Random) -> float:
    """Seconds to wait after `error` before `retry`: what the schedule says, but not less than the error's `retry_after`."""
    # A schedule of the user's may answer anything; comparing in this order makes 0 of NaN as well.
    return max(0.0, schedule.delay(retry, rng), retry_after(error) or 0.0)


@frozen
class ExponentialBackoffRetry(Executable):
    """Waits that double, up to a longest one.

    Full jitter makes each wait uniform between 0 and that, so that many who failed together do not come back
    together. Decorrelated jitter makes it uniform between `base_delay` and three times the wait before it: a little more
    work for who is called, and no retry at once. Both after Brooker, "Exponential Backoff And Jitter" (AWS, 2015).

    Args:
        max_retries: how often at most, the first try not counted.
        base_delay: the first wait in seconds, `max_delay` at most.
        max_delay: the longest wait in seconds.
        jitter: "full", "decorrelated" or "none".

    Raises:
        SpecError: a value is out of range.
        SpecTypeError: a value is of the wrong type.
    """

    max_retries: int = 3
    base_delay: float = 0.1
    max_delay: float = 10.0
    jitter: Literal["full", "decorrelated", "none"] = "full"

    def __attrs_post_init__(self) -> None:
        owner = type(self).__name__
        check_count(owner, "max_retries", self.max_retries)
        check_seconds(owner, "max_delay", self.max_delay)
        if check_seconds(owner, "base_delay", self.base_delay) > self.max_delay:
            raise SpecError(complaint(owner, "base_delay", self.base_delay, f"seconds, at most max_delay, which is {self.max_delay}"))
        jitters = "'full', 'decorrelated' or 'none'"
        if check_type(owner, "jitter", self.jitter, str, jitters) not in ("full", "decorrelated", "none"):
            raise SpecError(complaint(owner, "jitter", self.jitter, jitters))

    def delay(self, retry: int, rng: Random) -> float:
        """Seconds to wait before `retry`: up to min(max_delay, base_delay * 2 ** (retry - 1)).

        Args:
            retry: 1 is the first one. However large it is, the wait is at most `max_delay`.
            rng: drawn from exactly once with full jitter, so that a seeded run can be repeated. With decorrelated jitter
                the waits before this one are drawn as well, at most `MOST_DRAWS` times; with none, nothing is.

        Raises:
            ValueError: `retry` is below 1.
        """
        _check_retry(retry)
        if self.jitter == "decorrelated":
            return self._decorrelated(retry, rng)
        try:
            ceiling = min(float(self.max_delay), math.ldexp(self.base_delay, retry - 1))
        except OverflowError:
            ceiling = float(self.max_delay)
        return rng.uniform(0.0, ceiling) if self.jitter == "full" else ceiling

    def _decorrelated(self, retry: int, rng: Random) -> float:
        # A schedule keeps no state, so the waits that led here are drawn anew: each is distributed as it should be.
        wait = self.base_delay
        for _ in range(min(retry, MOST_DRAWS)):
            wait = min(self.max_delay, rng.uniform(self.base_delay, wait * 3))
        return float(wait)

    def __str__(self) -> str:
        jitter = "" if self.jitter == "none" else f", {self.jitter} jitter"
        return f"exponential, {_retries(self.max_retries)}, {self.base_delay:g} s to {self.max_delay:g} s{jitter}"


@frozen
class LinearBackoffRetry(Executable):
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
class NoRetry(Executable):
    """Nothing is tried again. Executed, it raises `RetryExhausted` like the others, after one try."""

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
        """The schedule of this category, `NoRetry()` when it has none.

        Raises:
            SpecTypeError: `category` is no `ErrorCategory`.
        """
        check_choice("RetryPolicy", "category", category, ErrorCategory)
        return self.schedules.get(category, _NO_RETRY)

    def __str__(self) -> str:
        return "\n".join(f"{category.name}: {schedule}" for category, schedule in self.schedules.items())


def _check_retry(retry: int) -> None:
    if retry < 1:
        raise ValueError(f"retry = {retry}: expected 1 or more; 1 is the first retry")


def _retries(count: int) -> str:
    return "1 retry" if count == 1 else f"{count} retries"
