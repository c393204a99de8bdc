"""A throttle before calls: how many a second, and in what order."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actorkit import SpecError, SpecTypeError, Throttle


class Callers:
    """Callers of one throttle, and the times at which they got through."""

    def __init__(self, throttle: Throttle, nursery: trio.Nursery) -> None:
        self.throttle, self.nursery = throttle, nursery
        self.through: list[tuple[str, float]] = []
        self.scopes: dict[str, trio.CancelScope] = {}

    async def come(self, *names: str, n: int = 1) -> None:
        for name in names:
            self.nursery.start_soon(self._call, name, n)
            await wait_all_tasks_blocked()

    async def _call(self, name: str, n: int) -> None:
        with trio.CancelScope() as self.scopes[name]:
            await self.throttle.acquire(n)
            self.through.append((name, trio.current_time()))


async def test_calls_get_through_at_the_rate_after_a_burst() -> None:
    throttle, times = Throttle(rate=4, burst=2), list[float]()

    for _ in range(6):
        await throttle.acquire()
        times.append(trio.current_time())

    assert times == [0.0, 0.0, 0.25, 0.5, 0.75, 1.0]


async def test_a_pause_saves_up_no_more_than_the_burst() -> None:
    throttle, times = Throttle(rate=4, burst=2), list[float]()
    await throttle.acquire(2)
    await trio.sleep(100.0)

    for _ in range(3):
        await throttle.acquire()
        times.append(trio.current_time())

    assert times == [100.0, 100.0, 100.25]


async def test_callers_get_through_in_the_order_in_which_they_came_however_much_they_want() -> None:
    async with trio.open_nursery() as nursery:
        callers = Callers(Throttle(rate=1, burst=3), nursery)
        await callers.come("a", n=3)
        await callers.come("b", n=3)
        await callers.come("c", "d")

    assert callers.through == [("a", 0.0), ("b", 3.0), ("c", 4.0), ("d", 5.0)]


async def test_who_does_not_wait_does_not_overtake_either() -> None:
    async with trio.open_nursery() as nursery:
        throttle = Throttle(rate=1, burst=2)
        callers = Callers(throttle, nursery)
        assert throttle.try_acquire(2)
        assert not throttle.try_acquire()
        await callers.come("a", n=2)
        await trio.sleep(1.5)  # there is a token, but it is reserved

        assert not throttle.try_acquire()

    assert callers.through == [("a", 2.0)]


@pytest.mark.parametrize(("gone", "through"), [("a", [("b", 1.0), ("c", 2.0)]), ("b", [("a", 1.0), ("c", 2.0)])])
async def test_those_behind_one_that_is_cancelled_move_up(gone: str, through: list[tuple[str, float]]) -> None:
    async with trio.open_nursery() as nursery:
        throttle = Throttle(rate=1)
        await throttle.acquire()
        callers = Callers(throttle, nursery)
        await callers.come("a", "b", "c")
        await trio.sleep(0.5)

        callers.scopes[gone].cancel()

    assert callers.through == through


async def test_one_that_is_cancelled_already_takes_nothing() -> None:
    throttle = Throttle(rate=1)

    with trio.CancelScope() as scope:
        scope.cancel()
        await throttle.acquire()

    assert scope.cancelled_caught
    assert throttle.try_acquire()


async def test_slowed_down_it_lets_half_as_many_through_those_who_wait_included() -> None:
    async with trio.open_nursery() as nursery:
        throttle = Throttle(rate=2, burst=1)
        await throttle.acquire()
        callers = Callers(throttle, nursery)
        await callers.come("a", "b")

        throttle.slow_down()

        assert throttle.rate == 1.0
    assert callers.through == [("a", 1.0), ("b", 2.0)]


async def test_in_use_it_comes_back_to_its_full_rate() -> None:
    throttle = Throttle(rate=10, burst=1)
    for _ in range(10):
        throttle.slow_down()
        await trio.sleep(1.0)
    floor = throttle.rate

    while throttle.rate < 10:
        await throttle.acquire()

    assert floor == 0.5
    assert 9.0 < trio.current_time() - 10.0 < 15.0


async def test_more_at_once_than_the_burst_is_an_error_and_no_endless_wait() -> None:
    throttle = Throttle(rate=1, burst=2)

    with pytest.raises(SpecError, match="Throttle: n = 3: expected at most the burst, which is 2: there are never more at once"):
        await throttle.acquire(3)
    with pytest.raises(SpecError, match="n = 0"):
        throttle.try_acquire(0)


def test_it_can_be_made_and_looked_at_outside_trio() -> None:
    throttle = Throttle(50, burst=10)

    assert throttle.rate == 50
    assert repr(throttle) == "<Throttle 50 a second>"


def test_it_may_be_used_in_one_run_after_another() -> None:
    throttle = Throttle(rate=1)

    async def late() -> float:
        await trio.sleep(10_000.0)
        return await soon()

    async def soon() -> float:
        await throttle.acquire()
        return trio.current_time()

    assert trio.run(late, clock=MockClock(autojump_threshold=0)) == 10_000.0
    assert trio.run(soon, clock=MockClock(autojump_threshold=0)) == 0.0


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"rate": 0}, SpecError, "Throttle: rate = 0"),
        ({"rate": None}, SpecTypeError, "Throttle: rate = None"),
        ({"rate": 1, "burst": 0}, SpecError, "Throttle: burst = 0"),
        ({"rate": 1, "floor": 2}, SpecError, "Throttle: floor = 2"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(values: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Throttle(**values)
