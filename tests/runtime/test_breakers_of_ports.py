"""Breakers of ports: what waits behind one, and what restarts, stops and the end of a run mean for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from attrs import frozen

from actorkit import (
    Actor,
    ActorRef,
    AskFailed,
    CircuitBreaker,
    CircuitState,
    DeadLetterReason,
    DependencyError,
    ErrorCategory,
    OutPort,
    RecoveryAction,
    RecoveryPolicy,
    Rule,
    Shutdown,
    Strategy,
    SupervisorSpec,
    System,
    UnknownActor,
    ValidationError,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import CircuitClosed, CircuitOpened
from tests.runs import run_inside

BREAKER = CircuitBreaker(failure_threshold=1, recovery_timeout=60, half_open_requests=1)


@frozen
class Service:
    """What actors call: down until a moment, and slow."""

    down_until: float = 0.0
    takes: float = 0.0

    async def answer(self) -> None:
        """Takes its time, and fails while it is down."""
        await trio.sleep(self.takes)
        if trio.current_time() < self.down_until:
            raise DependencyError("the service is down")


class Caller(Actor):
    """Calls the service."""

    def __init__(self, service: Service, calls: list[tuple[float, int]]) -> None:
        self.service = service
        self.calls = calls

    @in_port(breaker=BREAKER)
    async def in_call(self, number: int) -> int:
        return await self.call(number)

    @in_port(breaker=BREAKER, capacity=1, block_timeout=5)
    async def in_narrow(self, number: int) -> int:
        return await self.call(number)

    async def call(self, number: int) -> int:
        """Calls the service, and answers with the number."""
        self.calls.append((trio.current_time(), number))
        await self.service.answer()
        return number

    @in_port
    def in_other(self, number: int) -> None:
        self.calls.append((trio.current_time(), number))

    @in_port
    def in_bug(self, error: Exception) -> None:
        raise error


class Neighbour(Actor):
    """Crashes on demand."""

    @in_port
    def in_crash(self, number: int) -> None:
        raise KeyError(number)


def tree(service: Service, calls: list[tuple[float, int]], **options: Any) -> SupervisorSpec:
    """One caller."""
    return supervisor(child(Caller, service, calls).options(**options), name="top")


def state(system: System) -> CircuitState:
    """The state of the caller's breaker."""
    return system.ref(Caller).port(Caller.in_call).breaker.state


async def open_breaker(system: System, *numbers: int) -> ActorRef[Caller]:
    """Sends numbers, the first of which fails, and waits until the breaker is open."""
    ref = system.ref(Caller)
    for number in numbers:
        await ref.send(Caller.in_call, number)
    await trio.sleep(1)
    assert ref.port(Caller.in_call).breaker.state is CircuitState.OPEN
    system.ledger().check()
    return ref


async def test_a_restart_leaves_the_breaker_open() -> None:
    calls: list[tuple[float, int]] = []

    async with open_system(tree(Service(down_until=50), calls)) as system:
        ref = await open_breaker(system, 1, 2)
        await system.supervisor("root/top").stop_child("caller")
        await system.supervisor("root/top").restart_child("caller")
        assert ref.port(Caller.in_call).breaker.state is CircuitState.OPEN
        assert system.ledger().queued + system.ledger().in_flight == 2

        await system.settle()

        assert calls == [(0, 1), (60, 1), (60, 2)]
        assert ref.port(Caller.in_call).breaker.state is CircuitState.CLOSED


async def test_a_stopped_actor_keeps_what_its_breaker_held_and_one_deleted_gives_it_up() -> None:
    calls: list[tuple[float, int]] = []

    async with open_system(tree(Service(down_until=50), calls)) as system:
        await open_breaker(system, 1, 2)
        await system.supervisor("root/top").stop_child("caller")
        await trio.sleep(200)
        assert system.ledger().queued == 2
        assert calls == [(0, 1)]

        await system.supervisor("root/top").delete_child("caller")

        letters = await system.dead_letters.inspect()
        assert [(letter.message, letter.reason) for letter in letters] == [(n, DeadLetterReason.RECEIVER_STOPPED) for n in (1, 2)]
        system.ledger().check()


@pytest.mark.parametrize("shutdown", [5.0, Shutdown.KILL])
async def test_the_end_of_a_system_does_not_wait_for_a_breaker_longer_than_the_shutdown_time(shutdown: float | Shutdown) -> None:
    async with open_system(tree(Service(down_until=1000), [], shutdown=shutdown)) as system:
        await open_breaker(system, 1, 2)

    assert trio.current_time() == (6 if shutdown == 5.0 else 1)
    assert system.ledger().dead_lettered_by == {"shutdown": 2}
    system.ledger().check()


async def test_a_run_waits_for_an_open_breaker() -> None:
    class Source(Actor):
        out_number = OutPort(int)

        async def run(self) -> None:
            for number in range(3):
                await self.out_number.send(number)

    calls: list[tuple[float, int]] = []
    wires = [Source.out_number >> Caller.in_call]

    report = await run_inside(supervisor(child(Source), child(Caller, Service(down_until=50), calls), wires=wires))

    assert [number for _, number in calls] == [0, 0, 1, 2]
    assert (report.outcome, report.ledger.processed) == ("completed", 3)


async def test_a_run_does_not_wait_for_an_isolated_breaker() -> None:
    class Source(Actor):
        out_number = OutPort(int)

        async def run(self) -> None:
            self.system.ref(Caller).port(Caller.in_call).breaker.isolate()
            for number in range(3):
                await self.out_number.send(number)

    wires = [Source.out_number >> Caller.in_call]

    report = await run_inside(supervisor(child(Source), child(Caller, Service(), []), wires=wires))

    assert report.outcome == "completed, but 3 messages could not be handled any more"
    assert report.ledger.dead_lettered_by == {"shutdown": 3}
    report.ledger.check()


async def test_an_ask_waits_while_its_message_is_held_and_ends_at_its_deadline() -> None:
    async with open_system(tree(Service(down_until=50), [])) as system:
        ref = await open_breaker(system, 1)

        with pytest.raises(trio.TooSlowError):
            await ref.ask(Caller.in_call, 2, timeout=10)
        assert await ref.ask(Caller.in_call, 3, timeout=100) == 3

        assert system.ledger().skipped_by == {"asker_gone": 1}
        system.ledger().check()


async def test_an_ask_that_is_held_fails_when_the_actor_is_stopped() -> None:
    async with open_system(tree(Service(down_until=50), [])) as system, trio.open_nursery() as nursery:
        ref = await open_breaker(system, 1)

        async def ask() -> None:
            with pytest.raises(AskFailed, match="the actor was stopped"):
                await ref.ask(Caller.in_call, 2, timeout=100)
            assert trio.current_time() == 11

        nursery.start_soon(ask)
        await trio.sleep(10)
        await system.supervisor("root/top").stop_child("caller")


async def test_messages_at_other_ports_wait_in_order() -> None:
    calls: list[tuple[float, int]] = []

    async with open_system(tree(Service(down_until=50), calls)) as system:
        ref = await open_breaker(system, 1)
        await ref.send(Caller.in_other, 2)
        await ref.send(Caller.in_call, 3)
        await ref.send(Caller.in_other, 4)
        await system.settle()

        assert calls == [(0, 1), (60, 1), (60, 2), (60, 3), (60, 4)]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_a_probe_cut_short_by_a_neighbour_s_restart_counts_as_neither(strategy: Strategy) -> None:
    calls: list[tuple[float, int]] = []
    service = Service(down_until=50, takes=5)

    async with open_system(
        supervisor(child(Neighbour), child(Caller, service, calls).options(shutdown=0.5), strategy=strategy, name="top")
    ) as system:
        told = system.events(CircuitOpened, CircuitClosed)
        ref = system.ref(Caller)
        await ref.send(Caller.in_call, 1)
        await trio.sleep(67)  # the probe began at 65
        assert state(system) is CircuitState.HALF_OPEN
        with trio.move_on_after(0.6):
            await system.ref(Neighbour).send(Neighbour.in_crash, 1)
            await trio.sleep_forever()
        assert state(system) is CircuitState.HALF_OPEN
        assert system.ledger().in_flight == 1

        await system.settle()

        assert state(system) is CircuitState.CLOSED
        assert [number for _, number in calls][:3] == [1, 1, 1]
        system.ledger().check()
    assert [type(event) for event in [each async for each in told]] == [CircuitOpened, CircuitClosed]


async def test_the_clock_of_block_timeout_stands_still_while_the_breaker_is_open() -> None:
    async with open_system(tree(Service(down_until=50), [])) as system:
        ref = system.ref(Caller)
        for number in (1, 2, 3):
            await ref.send(Caller.in_narrow, number)  # one in hand, one queued, one waits for room

        assert trio.current_time() == 60
        assert system.ledger().dead_lettered == 0
        await system.settle()
        assert system.ledger().processed == 3


async def test_a_failing_probe_opens_it_again_and_a_message_has_ten_tries() -> None:
    calls: list[tuple[float, int]] = []

    async with open_system(tree(Service(down_until=1e6), calls)) as system:
        await system.ref(Caller).send(Caller.in_call, 1)
        await system.settle()
        (letter,) = await system.dead_letters.inspect()

        assert [time for time, _ in calls] == [60.0 * n for n in range(10)]
        assert (letter.reason, letter.attempts) == (DeadLetterReason.RETRIES_EXHAUSTED, 10)


async def test_reset_lets_what_waits_go_on_at_once_and_what_fails_then_opens_it_again() -> None:
    calls: list[tuple[float, int]] = []

    async with open_system(tree(Service(down_until=50), calls)) as system:
        ref = await open_breaker(system, 1, 2)
        breaker = ref.port(Caller.in_call).breaker
        breaker.reset()
        await trio.testing.wait_all_tasks_blocked()
        assert calls == [(0, 1), (1, 1)]
        assert state(system) is CircuitState.OPEN

        await trio.sleep(50)
        breaker.reset()
        await system.settle()

        assert calls[2:] == [(51, 1), (51, 2)]
        assert state(system) is CircuitState.CLOSED


async def test_a_breaker_may_be_worked_while_its_actor_is_stopped() -> None:
    calls: list[tuple[float, int]] = []

    async with open_system(tree(Service(down_until=50), calls)) as system:
        ref = await open_breaker(system, 1)
        await system.supervisor("root/top").stop_child("caller")
        ref.port(Caller.in_call).breaker.reset()
        await trio.sleep(100)
        assert calls == [(0, 1)]  # it is stopped all the same

        ref.port(Caller.in_call).breaker.isolate()
        await system.supervisor("root/top").restart_child("caller")
        await trio.sleep(100)
        assert calls == [(0, 1)]
        ref.port(Caller.in_call).breaker.reset()
        await system.settle()

        assert calls == [(0, 1), (201, 1)]


@pytest.mark.parametrize("error", [lambda: ValidationError("bad"), lambda: KeyError("bug")], ids=["bad data", "a bug"])
async def test_failures_at_another_port_do_not_open_it(error: Callable[[], Exception]) -> None:
    async with open_system(tree(Service(), [])) as system:
        ref = system.ref(Caller)
        await ref.send(Caller.in_bug, error())
        await system.wait()

        assert ref.port(Caller.in_call).breaker.state is CircuitState.CLOSED


async def test_a_rule_that_asks_for_the_breaker_makes_any_failure_count() -> None:
    calls: list[float] = []

    class Strict(Actor):
        @in_port(breaker=BREAKER)
        def in_number(self, number: int) -> None:
            calls.append(trio.current_time())
            if len(calls) == 1:
                raise ValidationError("their data has gone bad")

    policy = RecoveryPolicy(rules=(Rule(RecoveryAction.CIRCUIT_BREAK, category=ErrorCategory.VALIDATION),))
    async with open_system(child(Strict).options(recovery=policy)) as system:
        await system.ref(Strict).send(Strict.in_number, 1)
        await system.settle()

    assert calls == [0, 60]


async def test_a_port_without_a_breaker_says_so() -> None:
    async with open_system(tree(Service(), [])) as system:
        with pytest.raises(UnknownActor, match=r"root/top/caller\.in_other has no breaker; declare one"):
            _ = system.ref(Caller).port(Caller.in_other).breaker
