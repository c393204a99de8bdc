"""What the type checkers accept and reject around a guarded call: its arguments and its answer. Checked, not run."""

from __future__ import annotations

from typing import assert_type

from actorkit import (
    Bulkhead,
    CircuitBreaker,
    CircuitState,
    ExponentialBackoffRetry,
    LinearBackoffRetry,
    NoRetry,
    RetryBudget,
    RetryExhausted,
    Throttle,
)


async def balance(account: str, currency: str = "EUR") -> int:
    return len(account + currency)


def plain(account: str) -> int:
    return len(account)


async def calls(breaker: CircuitBreaker, bulkhead: Bulkhead, throttle: Throttle) -> None:
    # A guarded call takes what the function takes, and answers what it answers.
    assert_type(await breaker.call(balance, "Ada"), int)
    assert_type(await breaker.call(balance, "Ada", "SEK"), int)
    assert_type(await bulkhead.execute(balance, "Ada"), int)
    await breaker.call(balance, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await bulkhead.execute(balance)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await breaker.call(plain, "Ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await breaker.call(balance, account="Ada")  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]

    assert_type(breaker.state, CircuitState)
    assert_type(bulkhead.utilization, float)
    assert_type(await throttle.acquire(), None)
    assert_type(throttle.try_acquire(3), bool)
    async with breaker, bulkhead:
        pass


async def retries(budget: RetryBudget) -> None:
    for retry in (ExponentialBackoffRetry(jitter="decorrelated"), LinearBackoffRetry(), NoRetry()):
        assert_type(await retry.execute(balance, "Ada", timeout=1.0, attempt_timeout=0.5, budget=budget), int)
    assert_type(await NoRetry().execute(balance, "Ada", retry_on=(ConnectionError, TimeoutError)), int)
    await NoRetry().execute(balance, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await NoRetry().execute(balance, "Ada", times=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ExponentialBackoffRetry(jitter="half")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(RetryExhausted().last_error, BaseException | None)
