"""The guards around one call, nested as guards.py says, and cancelled at every moment."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
from attrs import frozen

from actorkit import (
    Bulkhead,
    BulkheadFull,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ExponentialBackoffRetry,
    RetryBudget,
    RetryExhausted,
    Throttle,
)


@frozen
class Guarded:
    """A service behind all guards. It takes a second for each call."""

    breaker: CircuitBreaker
    bulkhead: Bulkhead
    throttle: Throttle
    retry: ExponentialBackoffRetry
    budget: RetryBudget
    fails: Callable[[float], bool]
    calls: list[float]

    async def fetch(self, value: int) -> int:
        self.calls.append(trio.current_time())
        await trio.sleep(1.0)
        if self.fails(self.calls[-1]):
            raise ConnectionError("refused")
        return value

    async def attempt(self, value: int) -> int:
        async with self.breaker:
            await self.throttle.acquire()
            with trio.fail_after(2.0):
                return await self.fetch(value)

    async def call(self, value: int) -> int:
        with trio.fail_after(30.0):
            async with self.bulkhead:
                return await self.retry.execute(self.attempt, value, budget=self.budget)


def guarded(fails: Callable[[float], bool] = lambda _: False) -> Guarded:
    return Guarded(
        breaker=CircuitBreaker(2, recovery_timeout=5.0, half_open_requests=1),
        bulkhead=Bulkhead(2, 3),
        throttle=Throttle(rate=2, burst=1),
        retry=ExponentialBackoffRetry(max_retries=4, base_delay=1.0, jitter="none"),
        budget=RetryBudget(minimum=2, window=4.0),
        fails=fails,
        calls=[],
    )


async def test_all_guards_together_let_a_healthy_service_answer() -> None:
    service, answers = guarded(), list[int]()

    async def caller(value: int) -> None:
        answers.append(await service.call(value))

    async with trio.open_nursery() as nursery:
        for value in range(5):
            nursery.start_soon(caller, value)

    assert sorted(answers) == [0, 1, 2, 3, 4]
    assert service.calls == [0.0, 0.5, 1.0, 1.5, 2.0]


async def test_the_breaker_hears_of_each_try_and_one_that_it_refuses_is_made_later() -> None:
    service = guarded(fails=lambda now: now < 5.0)

    assert await service.call(1) == 1

    assert service.calls == [0.0, 2.0, 9.0]  # at 5.0 the breaker was open, and the next wait is of 4 s


async def bother(service: Guarded, value: int) -> None:
    with suppress(BulkheadFull, CircuitOpenError, RetryExhausted, trio.TooSlowError):
        await service.call(value)


@pytest.mark.parametrize("moment", [step / 4 for step in range(40)])
async def test_whenever_some_are_cancelled_nothing_stays_taken(moment: float) -> None:
    service = guarded(fails=lambda now: 1.0 <= now < 4.0)

    async with trio.open_nursery() as nursery:
        for value in range(6):
            nursery.start_soon(bother, service, value)
        async with trio.open_nursery() as hasty:
            hasty.cancel_scope.deadline = trio.current_time() + moment
            for value in range(6):
                hasty.start_soon(bother, service, value)
                nursery.start_soon(bother, service, value)

    assert (service.bulkhead.in_flight, service.bulkhead.waiting) == (0, 0)
    await trio.sleep(5.0)
    assert service.throttle.try_acquire()
    assert await service.call(7) == 7
    assert service.breaker.state is CircuitState.CLOSED
