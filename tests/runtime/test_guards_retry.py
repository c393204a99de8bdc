"""Calls that are tried again by a schedule: how often, when, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import trio

from actorkit import (
    Actor,
    BulkheadFull,
    CircuitBreaker,
    CircuitOpenError,
    ErrorCategory,
    ExponentialBackoffRetry,
    LinearBackoffRetry,
    NoRetry,
    PermanentError,
    RetryBudget,
    RetryExhausted,
    RetryPolicy,
    SpecError,
    SpecTypeError,
    TransientError,
    ValidationError,
    child,
    in_port,
    open_system,
    supervisor,
)

DOUBLING = ExponentialBackoffRetry(max_retries=3, base_delay=1.0, max_delay=100.0, jitter="none")


class Service:
    """Fails with each of these in turn, and then answers; notes when it was called."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.times: list[float] = []

    async def call(self, value: str = "done") -> str:
        self.times.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop(0)
        return value


def broken(make: Callable[[], Exception] = ConnectionError) -> Service:
    """One that always fails."""
    return Service(*(make() for _ in range(100)))


# How often, and when


async def test_a_call_that_succeeds_is_made_once() -> None:
    service = Service()

    assert await DOUBLING.execute(service.call, "hello") == "hello"
    assert service.times == [0.0]


async def test_a_call_that_fails_is_made_again_after_the_waits_of_the_schedule() -> None:
    service = Service(*[ConnectionError()] * 3)

    assert await DOUBLING.execute(service.call) == "done"
    assert service.times == [0.0, 1.0, 3.0, 7.0]


async def test_the_end_of_all_tries_chains_the_last_error() -> None:
    service = Service(ConnectionError("first"), ConnectionError("second"), ConnectionError("last"))

    with pytest.raises(RetryExhausted) as caught:
        await LinearBackoffRetry(max_retries=2, delay=1.0).execute(service.call)

    assert str(caught.value) == "Service.call failed 3 times in 3 s, as often as it may be tried: ConnectionError: last"
    assert str(caught.value.__cause__) == "last"
    assert caught.value.last_error is caught.value.__cause__
    assert caught.value.attempts == 3
    assert service.times == [0.0, 1.0, 3.0]


@pytest.mark.parametrize("schedule", [NoRetry(), LinearBackoffRetry(max_retries=0), ExponentialBackoffRetry(max_retries=0)])
async def test_without_retries_one_failure_is_the_end(schedule: NoRetry | LinearBackoffRetry | ExponentialBackoffRetry) -> None:
    service = broken()

    with pytest.raises(RetryExhausted, match="failed once in 0 s") as caught:
        await schedule.execute(service.call)

    assert type(caught.value.__cause__) is ConnectionError
    assert len(service.times) == 1


async def test_jitter_spreads_those_who_failed_together() -> None:
    async def second_try(times: list[float]) -> None:
        service = Service(ConnectionError())
        await ExponentialBackoffRetry(base_delay=1.0).execute(service.call)
        times.append(service.times[1])

    times: list[float] = []
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(second_try, times)

    assert len(set(times)) == 50
    assert 0.0 <= min(times) < 0.5 < max(times) <= 1.0


async def test_a_wait_is_as_long_as_the_failure_asks_for() -> None:
    service = Service(TransientError("busy", retry_after=30.0), CircuitOpenError("open", retry_after=60.0), BulkheadFull("full"))

    await DOUBLING.execute(service.call)

    assert service.times == [0.0, 30.0, 90.0, 94.0]


async def test_keywords_go_through_partial() -> None:
    assert await NoRetry().execute(partial(Service().call, value="hello")) == "hello"


async def test_what_a_retry_policy_answers_can_be_executed_as_well() -> None:
    schedule = RetryPolicy().for_category(ErrorCategory.TIMEOUT)
    service = Service(TimeoutError())

    assert isinstance(schedule, LinearBackoffRetry)
    assert await schedule.execute(service.call) == "done"
    assert service.times == [0.0, 1.0]
    assert isinstance(RetryPolicy().for_category(ErrorCategory.PERMANENT), NoRetry)


# What is tried again


@pytest.mark.parametrize(
    "error", [PermanentError("gone"), ValidationError("bad"), ExceptionGroup("both", [TimeoutError(), PermanentError("gone")])]
)
async def test_what_says_that_trying_again_is_no_use_is_raised_as_it_is(error: Exception) -> None:
    service = Service(error)

    with pytest.raises(type(error)) as caught:
        await DOUBLING.execute(service.call)

    assert caught.value is error
    assert len(service.times) == 1


async def test_only_what_is_named_is_tried_again() -> None:
    service = Service(ConnectionError(), ExceptionGroup("one", [TimeoutError()]), KeyError("a bug"))

    with pytest.raises(KeyError, match="a bug"):
        await DOUBLING.execute(service.call, retry_on=(ConnectionError, TimeoutError))

    assert service.times == [0.0, 1.0, 3.0]


async def test_what_is_named_is_tried_again_whatever_it_says() -> None:
    service = Service(PermanentError("gone"))

    assert await DOUBLING.execute(service.call, retry_on=PermanentError) == "done"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_ends_it_at_once(stop: type[BaseException]) -> None:
    service = Service(stop())

    with pytest.raises(stop):
        await DOUBLING.execute(service.call)

    assert len(service.times) == 1


# Cancelled


async def test_cancelled_during_a_try_it_tries_no_more() -> None:
    tries: list[float] = []

    async def hang() -> None:
        tries.append(trio.current_time())
        await trio.sleep_forever()

    with trio.move_on_after(5.0) as scope:
        await DOUBLING.execute(hang)

    assert scope.cancelled_caught
    assert tries == [0.0]
    assert trio.current_time() == 5.0


async def test_cancelled_during_a_wait_it_tries_no_more() -> None:
    service = broken()

    with trio.move_on_after(2.0) as scope:
        await DOUBLING.execute(service.call)

    assert scope.cancelled_caught
    assert service.times == [0.0, 1.0]
    assert trio.current_time() == 2.0


async def test_in_a_cancelled_scope_a_call_is_made_once_at_most() -> None:
    service = broken()

    with trio.CancelScope() as scope:
        scope.cancel()
        await DOUBLING.execute(service.call)

    assert scope.cancelled_caught
    assert len(service.times) == 1


# Deadlines


async def test_a_try_that_takes_too_long_is_cut_short_and_made_again() -> None:
    waits = [5.0, 5.0, 0.5]
    ends: list[float] = []

    async def slow() -> str:
        await trio.sleep(waits.pop(0))
        ends.append(trio.current_time())
        return "done"

    assert await LinearBackoffRetry(max_retries=2, delay=1.0).execute(slow, attempt_timeout=2.0) == "done"
    assert ends == [2.0 + 1.0 + 2.0 + 2.0 + 0.5]


async def test_the_last_try_that_takes_too_long_is_the_end() -> None:
    with pytest.raises(RetryExhausted, match="sleep_forever failed once in 2 s, as often as it may be tried: TooSlowError") as caught:
        await NoRetry().execute(trio.sleep_forever, attempt_timeout=2.0)

    assert type(caught.value.__cause__) is trio.TooSlowError


async def test_a_retry_that_would_begin_after_the_end_is_not_waited_for() -> None:
    service = broken()

    with pytest.raises(RetryExhausted, match="failed 2 times in 1 s, and is not tried again beyond its timeout of 2 s"):
        await DOUBLING.execute(service.call, timeout=2.0)

    assert service.times == [0.0, 1.0]
    assert trio.current_time() == 1.0


async def test_a_try_under_way_at_the_end_is_cut_short() -> None:
    with pytest.raises(RetryExhausted) as caught:
        await DOUBLING.execute(trio.sleep_forever, timeout=7.0, attempt_timeout=4.0)

    assert type(caught.value.__cause__) is trio.TooSlowError
    assert caught.value.attempts == 2  # from 0 to 4, and from 5 to 7
    assert trio.current_time() == 7.0


async def test_when_time_is_up_what_is_not_to_be_tried_again_is_raised_as_it_is() -> None:
    with pytest.raises(trio.TooSlowError):
        await DOUBLING.execute(trio.sleep_forever, timeout=10.0, retry_on=ConnectionError)

    assert trio.current_time() == 10.0


# The budget


async def spend(budget: RetryBudget, callers: int, times: list[float]) -> None:
    """So many callers at once, each of which has to try twice; notes when the second tries are made."""

    async def caller() -> None:
        service = Service(ConnectionError())
        await LinearBackoffRetry(max_retries=1, delay=0.0).execute(service.call, budget=budget)
        times.append(service.times[1])

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(caller)


async def test_a_spent_budget_puts_retries_off_and_forbids_none() -> None:
    times: list[float] = []

    await spend(RetryBudget(0.2, window=10.0, minimum=3), 10, times)

    assert times == [0.0] * 3 + [10.0] * 3 + [20.0] * 3 + [30.0]


async def test_many_first_tries_bear_many_retries() -> None:
    times: list[float] = []

    await spend(RetryBudget(0.5, window=10.0, minimum=1), 100, times)

    assert times.count(0.0) == 50


async def test_a_retry_that_the_budget_puts_off_beyond_the_end_is_not_waited_for() -> None:
    budget, service = RetryBudget(minimum=1), broken()
    await spend(budget, 1, [])

    with pytest.raises(RetryExhausted, match="beyond its timeout of 5 s"):
        await DOUBLING.execute(service.call, timeout=5.0, budget=budget)

    assert service.times == [0.0]
    assert budget.reserve(trio.current_time()) == 10.0  # what it had reserved is free again


async def test_a_retry_that_is_cancelled_while_the_budget_puts_it_off_gives_its_room_back() -> None:
    budget, service = RetryBudget(minimum=1), broken()
    await spend(budget, 1, [])

    with trio.move_on_after(5.0):
        await DOUBLING.execute(service.call, budget=budget)

    assert budget.reserve(trio.current_time()) == 10.0


# Outside trio, and in actors


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"timeout": 0}, SpecError, "execute: timeout = 0: expected seconds, more than 0"),
        ({"timeout": "5"}, SpecTypeError, "execute: timeout = '5'"),
        ({"attempt_timeout": -1.0}, SpecError, "execute: attempt_timeout = -1.0"),
        ({"budget": 0.2}, SpecTypeError, "execute: budget = 0.2: expected None or a RetryBudget"),
        ({"retry_on": "ConnectionError"}, SpecTypeError, "execute: retry_on = 'ConnectionError'"),
        ({"retry_on": (KeyError, 1)}, SpecTypeError, "execute: retry_on = 1"),
    ],
)
async def test_a_wrong_term_is_named_with_its_value_before_any_try(values: Any, error: type[Exception], text: str) -> None:
    service = Service()

    with pytest.raises(error, match=text):
        await NoRetry().execute(service.call, **values)

    assert service.times == []


class Caller(Actor):
    """Calls a service that fails a few times."""

    def __init__(self, times: list[float]) -> None:
        self.times = times

    @in_port
    async def in_call(self, failures: int) -> str:
        service = Service(*[ConnectionError()] * failures)
        answer = await ExponentialBackoffRetry(base_delay=1.0).execute(service.call)
        self.times += service.times
        return answer


async def waits_in_an_actor(seed: int) -> Sequence[float]:
    times: list[float] = []
    start = trio.current_time()
    async with open_system(supervisor(child(Caller, times)), seed=seed) as system:
        await system.ref(Caller).ask(Caller.in_call, 3, timeout=100)
    return [round(time - start, 9) for time in times]


async def test_in_an_actor_a_seeded_run_waits_the_same_again() -> None:
    first, again, other = await waits_in_an_actor(1), await waits_in_an_actor(1), await waits_in_an_actor(2)

    assert first == again != other


async def test_a_breaker_that_opens_meanwhile_is_waited_for() -> None:
    breaker, service = CircuitBreaker(2, recovery_timeout=60.0), Service(*[ConnectionError()] * 2)

    await DOUBLING.execute(partial(breaker.call, service.call))

    assert service.times == [0.0, 1.0, 61.0]
