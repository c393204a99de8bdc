"""Throttles of ports and slow-downs of actors: the pace, what waits for it, and how full speed comes back."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from actorkit import (
    Actor,
    AskFailed,
    OutPort,
    ResourceError,
    Shutdown,
    SupervisorSpec,
    Throttle,
    child,
    in_port,
    open_system,
    supervisor,
)
from tests.runs import run_inside

PACE = Throttle(rate=0.5, burst=1)  # one in two seconds


class Paced(Actor):
    """Writes down when it handles what."""

    def __init__(self, times: list[tuple[float, int]]) -> None:
        self.times = times

    @in_port(throttle=PACE)
    async def in_number(self, number: int) -> int:
        self.times.append((trio.current_time(), number))
        return number

    @in_port(throttle=PACE, capacity=1, block_timeout=1)
    def in_narrow(self, number: int) -> None:
        self.times.append((trio.current_time(), number))

    @in_port(throttle=Throttle(rate=1, burst=3))
    def in_burst(self, number: int) -> None:
        self.times.append((trio.current_time(), number))

    @in_port
    def in_other(self, number: int) -> None:
        self.times.append((trio.current_time(), number))
        if number < 0:
            raise KeyError(number)


def tree(times: list[tuple[float, int]], **options: Any) -> SupervisorSpec:
    """One paced actor."""
    return supervisor(child(Paced, times).options(**options), name="top")


async def test_a_burst_passes_at_once_and_then_the_pace_holds() -> None:
    times: list[tuple[float, int]] = []

    async with open_system(tree(times)) as system:
        for number in range(6):
            await system.ref(Paced).send(Paced.in_burst, number)
        await system.settle()

    assert [time for time, _ in times] == [0, 0, 0, 1, 2, 3]


async def test_messages_at_other_ports_wait_in_order() -> None:
    times: list[tuple[float, int]] = []

    async with open_system(tree(times)) as system:
        ref = system.ref(Paced)
        await ref.send(Paced.in_number, 1)
        await ref.send(Paced.in_number, 2)
        await ref.send(Paced.in_other, 3)
        await ref.send(Paced.in_number, 4)
        await system.settle()

    assert times == [(0, 1), (2, 2), (2, 3), (4, 4)]


async def test_a_restart_does_not_give_a_new_burst() -> None:
    times: list[tuple[float, int]] = []

    async with open_system(tree(times)) as system:
        ref = system.ref(Paced)
        await ref.send(Paced.in_number, 1)
        await trio.sleep(0.5)
        await system.supervisor("root/top").stop_child("paced")
        await system.supervisor("root/top").restart_child("paced")
        await ref.send(Paced.in_number, 2)
        await system.settle()

    assert times == [(0, 1), (2, 2)]


async def test_an_ask_waits_for_its_turn_and_ends_when_the_actor_is_stopped() -> None:
    async with open_system(tree([])) as system, trio.open_nursery() as nursery:
        ref = system.ref(Paced)
        assert await ref.ask(Paced.in_number, 1) == 1
        assert await ref.ask(Paced.in_number, 2) == 2
        assert trio.current_time() == 2

        async def ask() -> None:
            with pytest.raises(AskFailed, match="the actor was stopped"):
                await ref.ask(Paced.in_number, 3)
            assert trio.current_time() == 3

        nursery.start_soon(ask)
        await trio.sleep(1)
        assert system.ledger().queued == 1
        await system.supervisor("root/top").stop_child("paced")
        system.ledger().check()


async def test_what_waits_for_its_pace_does_not_count_for_block_timeout() -> None:
    times: list[tuple[float, int]] = []

    async with open_system(tree(times)) as system:
        for number in range(5):
            await system.ref(Paced).send(Paced.in_narrow, number)
        await system.settle()

        assert system.ledger().dead_lettered == 0
    assert times == [(0, 0), (2, 1), (4, 2), (6, 3), (8, 4)]


@pytest.mark.parametrize(("shutdown", "handled"), [(5.0, 3), (60.0, 10), (Shutdown.KILL, 1)])
async def test_the_end_of_a_system_keeps_the_pace_within_the_shutdown_time(shutdown: float | Shutdown, handled: int) -> None:
    times: list[tuple[float, int]] = []

    async with open_system(tree(times, shutdown=shutdown)) as system:
        for number in range(10):
            await system.ref(Paced).send(Paced.in_number, number)
        await trio.testing.wait_all_tasks_blocked()

    assert len(times) == handled
    assert system.ledger().dead_lettered_by == ({"shutdown": 10 - handled} if handled < 10 else {})
    system.ledger().check()


async def test_a_run_waits_for_the_pace() -> None:
    class Source(Actor):
        out_number = OutPort(int)

        async def run(self) -> None:
            for number in range(5):
                await self.out_number.send(number)

    times: list[tuple[float, int]] = []

    report = await run_inside(supervisor(child(Source), child(Paced, times), wires=[Source.out_number >> Paced.in_number]))

    assert (report.outcome, report.duration, len(times)) == ("completed", 8, 5)


async def test_a_failing_message_takes_its_turn_again() -> None:
    times: list[tuple[float, int]] = []

    async with open_system(tree(times, max_restarts=10, within=1.0)) as system:
        ref = system.ref(Paced)
        await ref.send(Paced.in_number, 1)
        await ref.send(Paced.in_other, -1)  # crashes the actor three times, and is poison
        await ref.send(Paced.in_number, 2)
        await system.settle()

        assert times == [(0, 1), (0, -1), (0, -1), (0, -1), (2, 2)]
        assert system.ledger().dead_lettered_by == {"poison": 1}


class Writer(Actor):
    """Runs out of something at some rows, once each."""

    def __init__(self, times: list[tuple[float, int]], exhausted: set[int]) -> None:
        self.times = times
        self.exhausted = exhausted

    @in_port(capacity=10_000)
    async def in_row(self, row: int) -> None:
        if row in self.exhausted:
            self.exhausted.remove(row)
            raise ResourceError("no space left on device", retry_after=1.0)
        await trio.sleep(0.1)
        self.times.append((trio.current_time(), row))


def pace(times: list[tuple[float, int]], first: int, last: int) -> float:
    """Rows a second between two rows."""
    moments = {row: time for time, row in times}
    return (last - first) / (moments[last] - moments[first])


async def test_a_slow_down_halves_the_pace_and_comes_back_by_a_tenth_a_second() -> None:
    times: list[tuple[float, int]] = []

    async with open_system(child(Writer, times, {100}).options(shutdown=100.0), seed=1) as system:
        for row in range(300):
            await system.ref(Writer).send(Writer.in_row, row)
        await trio.sleep(13)
        assert system.snapshot()["children"][0]["children"][0]["rate"] == pytest.approx(5, abs=1.5)
        await system.settle()

        assert [row for _, row in times] == list(range(300))
        assert system.snapshot()["children"][0]["children"][0]["rate"] is None
        system.ledger().check()
    assert pace(times, 0, 99) == pytest.approx(10, rel=0.01)
    assert pace(times, 101, 105) == pytest.approx(5, rel=0.2)
    assert pace(times, 280, 299) == pytest.approx(10, rel=0.02)


async def test_trouble_again_while_it_is_slow_halves_the_pace_again_and_another_actor_is_not_slowed() -> None:
    times: list[tuple[float, int]] = []
    others: list[tuple[float, int]] = []
    slow, fast = child(Writer, times, {100, 108}).options(name="slow"), child(Writer, others, set[int]()).options(name="fast")

    async with open_system(supervisor(slow, fast, name="top"), seed=1) as system:
        for name in ("slow", "fast"):
            for row in range(150):
                await system.ref(f"root/top/{name}", Writer).send(Writer.in_row, row)
        await system.settle()

        assert system.ledger().processed == 300
    assert pace(times, 109, 111) < 0.7 * pace(times, 101, 105)
    assert pace(others, 0, 149) == pytest.approx(10, rel=0.01)


async def test_a_slow_down_outlives_a_restart() -> None:
    times: list[tuple[float, int]] = []

    async with open_system(supervisor(child(Writer, times, {100}).options(shutdown=100.0), name="top"), seed=1) as system:
        for row in range(120):
            await system.ref(Writer).send(Writer.in_row, row)
        await trio.sleep(12)
        await system.supervisor("root/top").stop_child("writer")
        await system.supervisor("root/top").restart_child("writer")
        assert system.snapshot()["children"][0]["children"][0]["rate"] is not None
        await system.settle()

    assert [row for _, row in times] == list(range(120))
    assert min(later - earlier for (earlier, _), (later, _) in pairwise(times[102:110])) > 0.1
