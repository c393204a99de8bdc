"""What a message has to pass before it is handled: breakers and throttles of ports, and the slow-down of an actor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actorkit import (
    Actor,
    CircuitBreaker,
    CircuitState,
    DeadLetterReason,
    DependencyError,
    ResourceError,
    Throttle,
    ValidationError,
    child,
    in_port,
    open_system,
)
from actorkit.events import CircuitClosed, CircuitOpened


class Caller(Actor):
    """Calls a service that `serve` stands for."""

    def __init__(self, serve: Callable[[int], None], log: list[tuple[float, int]]) -> None:
        self.serve = serve
        self.calls = log

    @in_port(breaker=CircuitBreaker(failure_threshold=3, recovery_timeout=60, half_open_requests=1))
    async def in_call(self, number: int) -> None:
        self.calls.append((trio.current_time(), number))
        self.serve(number)

    @in_port
    def in_other(self, number: int) -> None:
        self.calls.append((trio.current_time(), number))


async def test_a_breaker_makes_messages_wait_in_order_while_it_is_open() -> None:
    log: list[tuple[float, int]] = []

    def serve(number: int) -> None:
        if trio.current_time() < 100:
            raise DependencyError("the service is down")

    async with open_system(child(Caller, serve, log), seed=1) as system:
        ref = system.ref(Caller)
        for number in range(5):
            await ref.send(Caller.in_call, number)
        await ref.send(Caller.in_other, 5)

        await system.settle()

        assert [number for _, number in log if _ >= 100] == [0, 1, 2, 3, 4, 5]
        assert {number for _, number in log if _ < 100} == {0}
        opened = log[2][0]
        assert log[3][0] == pytest.approx(opened + 60)  # the first probe
        assert system.ledger().processed == 6
        assert ref.port(Caller.in_call).breaker.state is CircuitState.CLOSED


async def test_bad_data_does_not_open_a_breaker() -> None:
    def serve(number: int) -> None:
        raise ValidationError("bad")

    async with open_system(child(Caller, serve, [])) as system:
        ref = system.ref(Caller)
        for number in range(20):
            await ref.send(Caller.in_call, number)
        await system.settle()

        assert ref.port(Caller.in_call).breaker.state is CircuitState.CLOSED
        assert system.ledger().dead_lettered_by == {DeadLetterReason.VALIDATION: 20}
        assert trio.current_time() < 1


async def test_a_breaker_says_when_it_opens_and_closes() -> None:
    def serve(number: int) -> None:
        if trio.current_time() < 100:
            raise DependencyError("the service is down")

    async with open_system(child(Caller, serve, []), seed=1) as system:
        events = system.events(CircuitOpened, CircuitClosed)
        ref = system.ref(Caller)
        breaker = ref.port(Caller.in_call).breaker
        for number in range(5):
            await ref.send(Caller.in_call, number)
        await system.settle()
        breaker.isolate()
        breaker.reset()

    port = "root/supervisor/caller.in_call"
    assert [event async for event in events] == [
        CircuitOpened(port, 60),
        CircuitOpened(port, 60),  # the first probe fails
        CircuitClosed(port),
        CircuitOpened(port, None),
        CircuitClosed(port),
    ]


async def test_an_isolated_breaker_holds_messages_until_it_is_reset() -> None:
    log: list[tuple[float, int]] = []
    async with open_system(child(Caller, lambda _: None, log)) as system:
        ref = system.ref(Caller)
        breaker = ref.port(Caller.in_call).breaker
        breaker.isolate()
        await ref.send(Caller.in_call, 1)
        await trio.sleep(1000)
        assert log == []
        assert breaker.state is CircuitState.ISOLATED

        breaker.reset()
        await system.settle()

        assert [number for _, number in log] == [1]


async def test_each_actor_has_a_breaker_of_its_own() -> None:
    def serve(number: int) -> None:
        raise DependencyError("down")

    async with open_system(child(Caller, serve, [])) as first:
        await first.ref(Caller).send(Caller.in_call, 1)
        await trio.sleep(20)
        assert first.ref(Caller).port(Caller.in_call).breaker.state is CircuitState.OPEN

        async with open_system(child(Caller, lambda _: None, [])) as second:
            assert second.ref(Caller).port(Caller.in_call).breaker.state is CircuitState.CLOSED


async def test_a_throttle_sets_the_pace_of_a_port() -> None:
    times: list[float] = []

    class Paced(Actor):
        @in_port(throttle=Throttle(rate=2, burst=1))
        def in_number(self, number: int) -> None:
            times.append(trio.current_time())

    async with open_system(child(Paced).options(shutdown=60)) as system:
        for number in range(5):
            await system.ref(Paced).send(Paced.in_number, number)
        await system.settle()

    assert [round(time - times[0], 6) for time in times] == [0, 0.5, 1.0, 1.5, 2.0]


async def test_what_runs_out_slows_its_actor_down_and_loses_nothing() -> None:
    handled: list[tuple[float, int]] = []

    class Writer(Actor):
        full = True

        @in_port
        async def in_row(self, row: int) -> None:
            if row == 50 and self.full:
                self.full = False
                raise ResourceError("no space left on device")
            await trio.sleep(0.01)
            handled.append((trio.current_time(), row))

    async with open_system(child(Writer).options(shutdown=1000), seed=1) as system:
        for row in range(100):
            await system.ref(Writer).send(Writer.in_row, row)
        await system.settle()

        system.ledger().check()
        assert [row for _, row in handled] == list(range(100))
        assert system.ledger().processed == 100
        before = handled[49][0] - handled[0][0]
        after = handled[99][0] - handled[50][0]
        assert after > 1.5 * before


async def test_a_fast_actor_keeps_the_pace_of_its_slow_down_though_no_timer_is_that_fine(mock_clock: MockClock) -> None:
    class Writer(Actor):
        exhausted = 0

        @in_port(capacity=100_000)
        def in_row(self, row: int) -> None:
            if row == 10_000 and not self.exhausted:
                self.exhausted += 1
                raise ResourceError("no space left on device")

    async def pass_by(seconds: float) -> None:
        for _ in range(round(100 * seconds)):
            mock_clock.jump(0.01)
            await wait_all_tasks_blocked()

    async with open_system(child(Writer), seed=1) as system:
        for row in range(20_000):
            await system.ref(Writer).send(Writer.in_row, row)
        await wait_all_tasks_blocked()  # 10,000 rows a second so far
        slowed_down = system.ledger().processed

        await pass_by(3)

        assert slowed_down == 10_000
        assert system.ledger().processed == 20_000


async def test_the_snapshot_shows_breakers_and_slowed_down_actors() -> None:
    def serve(number: int) -> None:
        raise DependencyError("down")

    async with open_system(child(Caller, serve, [])) as system:
        ref = system.ref(Caller)
        await ref.send(Caller.in_call, 1)
        await trio.sleep(20)

        caller = system.snapshot()["children"][0]["children"][0]

        assert caller["ports"]["in_call"]["breaker"] == "open"
        assert caller["ports"]["in_call"]["queued"] + caller["ports"]["in_call"]["in_flight"] == 1
        assert caller["rate"] is None
