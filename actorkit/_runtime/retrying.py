"""Makes a call, and makes it again after a failure: the part of a retry that waits. policy/retry.py decides."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

import trio

from actorkit._runtime.waits import acting
from actorkit.errors import RetryExhausted
from actorkit.policy.retry import RetryTerms, Schedule, wait_before
from actorkit.policy.wording import one_line, only_member, text_of

if TYPE_CHECKING:
    from actorkit.policy.retry_budget import RetryBudget

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_OUTSIDE: Final = Random()


async def execute(schedule: Schedule, fn: Callable[[*Ts], Awaitable[T]], args: tuple[*Ts], terms: RetryTerms) -> T:
    """Calls `fn(*args)` until it returns or the retries end. `Executable.execute` describes it."""
    started = trio.current_time()
    end = math.inf if terms.timeout is None else started + terms.timeout
    if terms.budget is not None:
        terms.budget.count_first_try(started)
    attempts = 0
    while True:
        attempts += 1
        limit = end if terms.attempt_timeout is None else min(end, trio.current_time() + terms.attempt_timeout)
        try:
            if limit == math.inf:
                return await fn(*args)  # without a scope of ours, so that an ask in a handler can park
            with trio.fail_at(limit):
                return await fn(*args)
        except Exception as error:
            if not terms.wants_retry(error):
                raise
            if attempts > schedule.max_retries:
                raise _exhausted(fn, attempts, started, "as often as it may be tried", error) from error
            at = trio.current_time() + wait_before(schedule, attempts, error, _chance())
            if not await _wait_for_turn(at, end, terms.budget):
                raise _exhausted(
                    fn, attempts, started, f"and is not tried again beyond its timeout of {terms.timeout:g} s", error
                ) from error


async def _wait_for_turn(at: float, end: float, budget: RetryBudget | None) -> bool:
    """Waits for the time of a retry, and until its budget has room. False, at once, when it would begin after the end."""
    if at >= end:
        return False
    await trio.sleep_until(at)
    if budget is None:
        return True
    turn = budget.reserve(trio.current_time())
    has_turn = False
    try:
        if turn < end:
            await trio.sleep_until(turn)
            has_turn = True
    finally:
        if not has_turn:
            budget.give_back(turn)
    return has_turn


def _chance() -> Random:
    """Inside an actor the system's, so that a seeded run can be repeated."""
    cell = acting.get()
    return _OUTSIDE if cell is None else cell.kernel.rng


def _exhausted(fn: Callable[..., object], attempts: int, started: float, why: str, error: Exception) -> RetryExhausted:
    call = getattr(fn, "__qualname__", None) or repr(fn)
    times = "once" if attempts == 1 else f"{attempts} times"
    name, text = type(only_member(error)).__name__, text_of(error)
    last = name if text == name else f"{name}: {text}"
    told = f"{call} failed {times} in {trio.current_time() - started:.3g} s, {why}: {last}"
    return RetryExhausted(one_line(told), attempts=attempts)
