"""A circuit breaker around calls: what it lets through, and what counts."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actorkit import (
    Actor,
    BulkheadFull,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    SpecError,
    SpecTypeError,
    child,
    in_port,
    open_system,
    supervisor,
)


async def answer(value: int = 42) -> int:
    await trio.lowlevel.checkpoint()
    return value


async def refuse() -> None:
    await trio.lowlevel.checkpoint()
    raise ConnectionError("refused")


async def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(ConnectionError):
            await breaker.call(refuse)


async def opened(recovery_timeout: float = 10.0, half_open_requests: int = 1) -> CircuitBreaker:
    """A breaker that opens at the first failure, and has just done so."""
    breaker = CircuitBreaker(1, recovery_timeout, half_open_requests, name="the bank")
    await fail(breaker)
    assert breaker.state is CircuitState.OPEN
    return breaker


async def hold(breaker: CircuitBreaker, until: trio.Event, ending: Callable[[], Any] = lambda: None) -> None:
    """A call that lasts until the event, and then ends like `ending`."""

    async def call() -> None:
        await until.wait()
        ending()

    with suppress(ConnectionError):
        await breaker.call(call)


def disconnect() -> None:
    raise ConnectionError("lost")


# Calls


async def test_it_answers_what_the_call_answers() -> None:
    breaker = CircuitBreaker()

    assert await breaker.call(answer, 7) == 7


async def test_it_raises_what_the_call_raises_as_it_was_raised() -> None:
    breaker, error = CircuitBreaker(), KeyError("x")

    async def raising() -> None:
        await trio.lowlevel.checkpoint()
        raise error

    with pytest.raises(KeyError) as caught:
        await breaker.call(raising)

    assert caught.value is error


async def test_open_it_makes_no_call_and_says_when_to_come_back() -> None:
    breaker = await opened(recovery_timeout=10.0)
    calls: list[int] = []

    async def call() -> None:
        calls.append(1)

    await trio.sleep(4.0)
    with pytest.raises(CircuitOpenError, match="the bank is open: calls are refused for another 6 s") as caught:
        await breaker.call(call)

    assert caught.value.retry_after == 6.0
    assert calls == []


async def test_after_the_recovery_timeout_it_closes_once_enough_calls_have_succeeded() -> None:
    breaker = await opened(recovery_timeout=10.0, half_open_requests=2)
    await trio.sleep(10.0)
    states = [breaker.state]

    for _ in range(2):
        await breaker.call(answer)
        states.append(breaker.state)

    assert states == [CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.CLOSED]


async def test_half_open_it_opens_again_at_the_first_failure() -> None:
    breaker = await opened(recovery_timeout=10.0, half_open_requests=3)
    await trio.sleep(10.0)
    await breaker.call(answer)

    await fail(breaker)

    assert breaker.state is CircuitState.OPEN
    with pytest.raises(CircuitOpenError) as caught:
        await breaker.call(answer)
    assert caught.value.retry_after == 10.0


async def test_of_a_hundred_callers_only_the_probes_get_through() -> None:
    breaker = await opened(recovery_timeout=10.0, half_open_requests=3)
    await trio.sleep(10.0)
    let_through, refused = list[int](), list[float | None]()

    async def probe(number: int) -> None:
        await trio.sleep(1.0)
        let_through.append(number)

    async def caller(number: int) -> None:
        try:
            await breaker.call(probe, number)
        except CircuitOpenError as error:
            refused.append(error.retry_after)

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(caller, number)

    assert (len(let_through), len(refused)) == (3, 97)
    assert all(seconds is not None and seconds > 0 for seconds in refused)
    assert breaker.state is CircuitState.CLOSED


async def test_who_sleeps_as_long_as_it_is_told_gets_through() -> None:
    breaker = await opened(recovery_timeout=0.3, half_open_requests=1)
    slept: list[float] = []

    while breaker.state is not CircuitState.CLOSED:
        try:
            await breaker.call(answer)
        except CircuitOpenError as error:
            slept.append(error.retry_after or 0.0)
            await trio.sleep(slept[-1])

    assert sum(slept) == pytest.approx(0.3)


async def test_a_rate_window_opens_it_by_the_share_of_failures() -> None:
    breaker = CircuitBreaker(failure_rate=0.5, min_calls=4, window=10.0)

    for call in (answer, refuse, answer):
        with suppress(ConnectionError):
            await breaker.call(call)
    state = breaker.state
    await fail(breaker)

    assert (state, breaker.state) == (CircuitState.CLOSED, CircuitState.OPEN)


async def test_a_call_that_returns_too_late_counts_as_failed() -> None:
    breaker = CircuitBreaker(1, slow_after=1.0)

    await breaker.call(trio.sleep, 1.0)
    state = breaker.state
    await breaker.call(trio.sleep, 1.5)

    assert (state, breaker.state) == (CircuitState.CLOSED, CircuitState.OPEN)


# What counts


async def test_a_cancelled_call_is_neither_a_failure_nor_a_success() -> None:
    breaker = CircuitBreaker(2)
    await fail(breaker)

    with trio.move_on_after(1.0) as scope:
        await breaker.call(trio.sleep_forever)
    with trio.move_on_after(1.0):
        async with breaker:
            await trio.sleep_forever()
    state = breaker.state
    await fail(breaker)

    assert scope.cancelled_caught
    assert (state, breaker.state) == (CircuitState.CLOSED, CircuitState.OPEN)


async def test_a_time_out_inside_is_a_failure_and_one_outside_is_not() -> None:
    breaker = CircuitBreaker(1)

    async def impatient() -> None:
        with trio.fail_after(1.0):
            await trio.sleep_forever()

    with pytest.raises(trio.TooSlowError), trio.fail_after(0.5):
        await breaker.call(impatient)
    state = breaker.state
    with pytest.raises(trio.TooSlowError):
        await breaker.call(impatient)

    assert (state, breaker.state) == (CircuitState.CLOSED, CircuitState.OPEN)


async def test_what_an_inner_guard_refuses_or_is_to_be_ignored_does_not_count() -> None:
    breaker = CircuitBreaker(1, ignore=KeyError)

    for error in (BulkheadFull("full"), CircuitOpenError("open"), KeyError("x"), ExceptionGroup("both", [KeyError("x")])):
        with pytest.raises(type(error)):
            async with breaker:
                raise error

    assert breaker.state is CircuitState.CLOSED


# The four holes


@pytest.mark.parametrize("ending", [lambda: None, disconnect], ids=["success", "failure"])
async def test_a_result_from_before_it_opened_does_not_count_for_the_probes(ending: Callable[[], Any]) -> None:
    breaker, late = CircuitBreaker(1, 10.0, 1), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, breaker, late, ending)
        await wait_all_tasks_blocked()
        await fail(breaker)
        await trio.sleep(10.0)
        probe = trio.Event()
        nursery.start_soon(hold, breaker, probe)
        await wait_all_tasks_blocked()

        late.set()
        await wait_all_tasks_blocked()
        state = breaker.state
        probe.set()

    assert (state, breaker.state) == (CircuitState.HALF_OPEN, CircuitState.CLOSED)


async def test_a_probe_that_is_cancelled_gives_its_place_back_at_once() -> None:
    breaker = await opened(recovery_timeout=10.0, half_open_requests=1)
    await trio.sleep(10.0)

    with trio.move_on_after(1.0):
        await breaker.call(trio.sleep_forever)
    state = breaker.state
    await breaker.call(answer)

    assert (state, breaker.state) == (CircuitState.HALF_OPEN, CircuitState.CLOSED)


async def test_a_probe_that_hangs_loses_its_place_after_the_recovery_timeout() -> None:
    breaker = await opened(recovery_timeout=10.0, half_open_requests=1)
    await trio.sleep(10.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(breaker.call, trio.sleep_forever)
        await trio.sleep(9.5)
        with pytest.raises(CircuitOpenError) as caught:
            await breaker.call(answer)
        await trio.sleep(0.5)

        await breaker.call(answer)

        assert caught.value.retry_after == pytest.approx(0.5)
        assert breaker.state is CircuitState.CLOSED
        nursery.cancel_scope.cancel()
    assert breaker.state is CircuitState.CLOSED


@pytest.mark.parametrize("ending", [lambda: None, disconnect], ids=["success", "failure"])
async def test_a_call_under_way_when_someone_steps_in_does_not_count(ending: Callable[[], Any]) -> None:
    breaker, over = CircuitBreaker(1), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, breaker, over, ending)
        await wait_all_tasks_blocked()
        breaker.isolate()
        with pytest.raises(CircuitOpenError, match="circuit breaker is isolated: calls are refused until someone resets it") as caught:
            await breaker.call(answer)
        breaker.reset()
        over.set()

    assert caught.value.retry_after is None
    assert breaker.state is CircuitState.CLOSED


# `async with`


async def test_the_block_form_counts_like_a_call() -> None:
    breaker = CircuitBreaker(1)

    async with breaker:
        await answer()
    with pytest.raises(ConnectionError):
        async with breaker:
            await refuse()
    with pytest.raises(CircuitOpenError):
        async with breaker:
            await answer()

    assert breaker.state is CircuitState.OPEN


async def test_each_task_in_the_block_form_has_a_call_of_its_own() -> None:
    breaker = await opened(recovery_timeout=10.0, half_open_requests=1)
    breaker.reset()

    async def first() -> None:
        async with breaker:
            await trio.sleep(1.0)  # began before it opened, so this success is old news

    async def second() -> None:
        await trio.sleep(0.5)
        with pytest.raises(ConnectionError):
            async with breaker:
                await refuse()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        nursery.start_soon(second)

    assert breaker.state is CircuitState.OPEN


async def test_blocks_of_one_breaker_may_be_nested() -> None:
    breaker = CircuitBreaker(1)

    async with breaker:
        breaker.reset()  # from here on only the inner one counts
        with pytest.raises(ConnectionError):
            async with breaker:
                await refuse()

    assert breaker.state is CircuitState.OPEN


async def test_a_block_that_is_left_elsewhere_than_entered_says_so() -> None:
    breaker = CircuitBreaker(name="the bank")
    elsewhere = contextvars.copy_context()
    await breaker.__aenter__()

    leaving = breaker.__aexit__(None, None, None)
    with pytest.raises(RuntimeError, match="the bank: left in another task than entered; `call` works anywhere"):
        elsewhere.run(leaving.send, None)

    await breaker.__aexit__(None, None, None)


# Outside trio, and in actors


def test_it_can_be_made_looked_at_and_set_outside_trio() -> None:
    breaker = CircuitBreaker()
    states = [breaker.state]
    breaker.isolate()
    states.append(breaker.state)
    breaker.reset()

    assert [*states, breaker.state] == [CircuitState.CLOSED, CircuitState.ISOLATED, CircuitState.CLOSED]
    assert repr(breaker) == "<CircuitBreaker 'circuit breaker', closed>"


def test_it_may_be_used_in_one_run_after_another() -> None:
    breaker = CircuitBreaker(1)

    async def late() -> None:
        await trio.sleep(10_000.0)
        await fail(breaker)

    async def soon() -> int:
        return await breaker.call(answer)

    trio.run(late, clock=MockClock(autojump_threshold=0))

    assert breaker.state is CircuitState.OPEN
    assert trio.run(soon, clock=MockClock(autojump_threshold=0)) == 42


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"failure_threshold": 0}, SpecError, "CircuitBreaker: failure_threshold = 0"),
        ({"recovery_timeout": -1}, SpecError, "CircuitBreaker: recovery_timeout = -1"),
        ({"half_open_requests": 1.0}, SpecTypeError, "CircuitBreaker: half_open_requests = 1.0"),
        ({"failure_rate": 2}, SpecError, "CircuitBreaker: failure_rate = 2"),
        ({"name": 3}, SpecTypeError, "CircuitBreaker: name = 3: expected a text"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(values: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        CircuitBreaker(**values)


class Bank(Actor):
    @in_port
    async def in_balance(self, account: str) -> int:
        await trio.sleep(1.0)
        return len(account)


class Teller(Actor):
    """Asks the bank through a breaker: while it waits it is parked, and may go on in another task."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self.breaker = breaker

    @in_port
    async def in_ask(self, account: str) -> int:
        async with self.breaker:
            return await self.system.ref(Bank).ask(Bank.in_balance, account)


async def test_in_a_handler_it_may_be_held_across_an_ask() -> None:
    breaker = CircuitBreaker(1)
    tellers = [child(Teller, breaker).options(name=name) for name in ("ada", "bo")]
    answers: list[int] = []

    async with open_system(supervisor(child(Bank), *tellers)) as system:

        async def customer(name: str) -> None:
            answers.append(await system.ref(f"root/supervisor/{name}", Teller).ask(Teller.in_ask, name))

        async with trio.open_nursery() as nursery:
            for name in ("ada", "bo", "ada"):
                nursery.start_soon(customer, name)

    assert sorted(answers) == [2, 3, 3]
    assert breaker.state is CircuitState.CLOSED
