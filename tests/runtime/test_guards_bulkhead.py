"""A bulkhead around calls: how many at once, who waits, who comes next."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actorkit import Bulkhead, BulkheadFull, SpecError, SpecTypeError


class Visits:
    """Calls that go on until they are told to end, and notes who came in, in order."""

    def __init__(self, bulkhead: Bulkhead, nursery: trio.Nursery) -> None:
        self.bulkhead, self.nursery = bulkhead, nursery
        self.entered: list[int] = []
        self.scopes: dict[int, trio.CancelScope] = {}
        self.endings: dict[int, trio.Event] = {}

    async def come(self, *names: int) -> None:
        for name in names:
            self.nursery.start_soon(self._visit, name)
            await wait_all_tasks_blocked()

    async def end(self, *names: int) -> None:
        for name in names:
            self.endings[name].set()
        await wait_all_tasks_blocked()

    async def cancel(self, *names: int) -> None:
        for name in names:
            self.scopes[name].cancel()
        await wait_all_tasks_blocked()

    async def _visit(self, name: int) -> None:
        self.endings[name] = trio.Event()
        with trio.CancelScope() as self.scopes[name]:
            await self.bulkhead.execute(self._stay, name)

    async def _stay(self, name: int) -> None:
        self.entered.append(name)
        await self.endings[name].wait()


async def test_it_answers_what_the_call_answers_and_raises_what_it_raises() -> None:
    bulkhead, error = Bulkhead(1), KeyError("x")

    async def call(value: int) -> int:
        await trio.lowlevel.checkpoint()
        if value < 0:
            raise error
        return value

    assert await bulkhead.execute(call, 7) == 7
    with pytest.raises(KeyError) as caught:
        await bulkhead.execute(call, -1)
    assert caught.value is error
    assert bulkhead.in_flight == 0


async def test_so_many_are_inside_and_the_others_come_in_in_turn() -> None:
    async with trio.open_nursery() as nursery:
        visits = Visits(bulkhead := Bulkhead(2), nursery)
        await visits.come(1, 2, 3, 4, 5)
        assert visits.entered == [1, 2]
        assert (bulkhead.in_flight, bulkhead.waiting, bulkhead.utilization) == (2, 3, 1.0)

        await visits.end(2)
        assert visits.entered == [1, 2, 3]
        await visits.end(1)
        assert visits.entered == [1, 2, 3, 4]
        await visits.end(4)
        assert visits.entered == [1, 2, 3, 4, 5]
        await visits.end(3, 5)

    assert (bulkhead.in_flight, bulkhead.waiting, bulkhead.utilization) == (0, 0, 0.0)


@pytest.mark.parametrize("max_queued", [0, 2])
async def test_when_as_many_wait_as_may_the_next_is_refused(max_queued: int) -> None:
    async with trio.open_nursery() as nursery:
        visits = Visits(bulkhead := Bulkhead(1, max_queued, name="the bank"), nursery)
        await visits.come(*range(1 + max_queued))

        with pytest.raises(BulkheadFull, match=f"the bank is full: 1 of 1 inside, {max_queued} of {max_queued} waiting") as caught:
            await bulkhead.execute(trio.sleep, 0)
        assert caught.value.retry_after is None

        await visits.end(*range(1 + max_queued))
        await bulkhead.execute(trio.sleep, 0)


async def test_nobody_comes_in_before_those_who_wait() -> None:
    async with trio.open_nursery() as nursery:
        visits = Visits(Bulkhead(1), nursery)
        await visits.come(1, 2)
        visits.endings[1].set()  # its place is free, but 2 has not run yet

        await visits.come(3)

        assert visits.entered == [1, 2]
        await visits.end(2, 3)


async def test_one_that_is_cancelled_while_it_waits_leaves_its_turn_to_the_next() -> None:
    async with trio.open_nursery() as nursery:
        visits = Visits(bulkhead := Bulkhead(1), nursery)
        await visits.come(1, 2, 3)

        await visits.cancel(2)
        assert bulkhead.waiting == 1
        await visits.end(1)

        assert visits.entered == [1, 3]
        await visits.end(3)


async def test_one_that_is_cancelled_inside_frees_its_place() -> None:
    async with trio.open_nursery() as nursery:
        visits = Visits(Bulkhead(1), nursery)
        await visits.come(1, 2)

        await visits.cancel(1)

        assert visits.entered == [1, 2]
        await visits.end(2)


async def test_a_place_given_to_one_that_is_cancelled_that_very_moment_is_not_lost() -> None:
    async with trio.open_nursery() as nursery:
        visits = Visits(bulkhead := Bulkhead(1), nursery)
        await visits.come(1, 2, 3)

        visits.endings[1].set()
        await trio.lowlevel.checkpoint()  # by now 1 has left, and its place is given to 2, which has not run yet
        await visits.cancel(2)

        assert 3 in visits.entered
        await visits.end(3)
    assert (bulkhead.in_flight, bulkhead.waiting) == (0, 0)


async def test_one_that_is_cancelled_already_does_not_come_in() -> None:
    bulkhead, entered = Bulkhead(1), list[int]()

    async def call() -> None:
        entered.append(1)

    with trio.CancelScope() as scope:
        scope.cancel()
        await bulkhead.execute(call)

    assert entered == []
    assert bulkhead.in_flight == 0


async def test_made_smaller_it_lets_nobody_in_until_enough_have_left() -> None:
    async with trio.open_nursery() as nursery:
        visits = Visits(bulkhead := Bulkhead(3), nursery)
        await visits.come(1, 2, 3, 4)

        bulkhead.resize(1)
        assert (bulkhead.max_concurrent, bulkhead.in_flight, bulkhead.utilization) == (1, 3, 3.0)
        await visits.end(1, 2)
        assert visits.entered == [1, 2, 3]
        await visits.end(3)
        assert visits.entered == [1, 2, 3, 4]
        await visits.end(4)


async def test_made_larger_it_lets_those_in_who_wait() -> None:
    async with trio.open_nursery() as nursery:
        visits = Visits(bulkhead := Bulkhead(1, 5), nursery)
        await visits.come(1, 2, 3, 4)

        bulkhead.resize(3)
        await wait_all_tasks_blocked()

        assert sorted(visits.entered) == [1, 2, 3]
        assert bulkhead.max_queued == 5
        await visits.end(1, 2, 3, 4)


async def test_the_block_form_holds_a_place() -> None:
    bulkhead = Bulkhead(2)

    async with bulkhead:
        assert bulkhead.in_flight == 1
        assert repr(bulkhead) == "<Bulkhead 'bulkhead', 1 of 2 inside, 0 waiting>"

    assert bulkhead.in_flight == 0


def test_it_can_be_made_looked_at_and_resized_outside_trio() -> None:
    bulkhead = Bulkhead()
    bulkhead.resize(4)

    assert (bulkhead.max_concurrent, bulkhead.max_queued, bulkhead.in_flight, bulkhead.utilization) == (4, None, 0, 0.0)


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"max_concurrent": 0}, SpecError, "Bulkhead: max_concurrent = 0"),
        ({"max_queued": -1}, SpecError, "Bulkhead: max_queued = -1"),
        ({"max_queued": "10"}, SpecTypeError, "Bulkhead: max_queued = '10'"),
        ({"name": None}, SpecTypeError, "Bulkhead: name = None: expected a text"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(values: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Bulkhead(**values)
    with pytest.raises(SpecError, match="max_concurrent = -1"):
        Bulkhead().resize(-1)
