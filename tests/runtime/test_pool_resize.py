"""Pools that grow and shrink: by hand or with the work, without losing a message or reordering a key."""

from __future__ import annotations

from collections import defaultdict

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from actorkit import (
    Actor,
    OverflowStrategy,
    Route,
    SpecError,
    SupervisionError,
    by_key,
    child,
    in_port,
    least_loaded,
    open_system,
    pool,
    round_robin,
    supervisor,
)


def last_digits(number: int) -> int:
    """The key of a number."""
    return number % 20


ROUTES = pytest.mark.parametrize("route", [round_robin, least_loaded, by_key(last_digits)], ids=["round_robin", "least", "key"])


class Busy(Actor):
    """Takes its time for each number, and writes down when it begins and when it is done."""

    def __init__(self, log: list[tuple[str, str, int]], takes: float = 0.1) -> None:
        self.lines = log
        self.takes = takes

    @in_port(capacity=50)
    async def in_number(self, number: int) -> str:
        self.lines.append(("begin", self.name, number))
        await trio.sleep(self.takes)
        self.lines.append(("end", self.name, number))
        return self.name

    @in_port(capacity=5, overflow=OverflowStrategy.SPILL_TO_DISK)
    async def in_many(self, number: int) -> None:
        await self.in_number(number)


def check_order(log: list[tuple[str, str, int]], numbers: int) -> None:
    """Each number was handled once, those of a key in order, and never two of a key at once."""
    ends: defaultdict[int, list[int]] = defaultdict(list)
    at_work: dict[int, int] = {}
    for what, _, number in log:
        key = number % 20
        if what == "begin":
            assert key not in at_work, f"{number} began while {at_work[key]} was being handled"
            at_work[key] = number
        else:
            del at_work[key]
            ends[key].append(number)
    assert sorted(number for each in ends.values() for number in each) == list(range(numbers))
    assert all(each == sorted(each) for each in ends.values())


@ROUTES
async def test_a_pool_can_be_made_bigger_and_smaller_while_it_works(route: Route) -> None:
    log: list[tuple[str, str, int]] = []
    async with open_system(pool(Busy, log, size=2, route=route)) as system:
        busy, members = system.ref(Busy), system.supervisor("root/supervisor/busy")
        for number in range(300):
            if number == 60:
                await members.resize(6)
            if number == 180:
                await members.resize(1)
            await busy.send(Busy.in_number, number)
            await trio.sleep(0.02)
        await system.settle()

        assert sorted(number for what, _, number in log if what == "end") == list(range(300))
        assert len({name for _, name, _ in log}) == 6
        assert [each.name for each in members.which_children()] == ["busy-1"]
        assert {each.path for each in system.supervisor("root/supervisor").which_children()} == {"root/supervisor/busy"}
        system.ledger().check()


async def test_keys_keep_their_order_through_a_resize_and_are_never_handled_twice_at_once() -> None:
    log: list[tuple[str, str, int]] = []
    async with open_system(pool(Busy, log, size=2, route=by_key(last_digits))) as system:
        busy, members = system.ref(Busy), system.supervisor("root/supervisor/busy")
        for number in range(300):
            if number in (40, 80, 160, 200):
                await members.resize({40: 5, 80: 3, 160: 8, 200: 1}[number])
            await busy.send(Busy.in_number, number)
        await system.settle()

    check_order(log, 300)


@given(
    sizes=st.lists(st.tuples(st.integers(0, 199), st.integers(1, 6)), max_size=6),
    takes=st.sampled_from([0.0, 0.05, 0.3]),
    pause=st.sampled_from([0.0, 0.02]),
)
@settings(deadline=None, max_examples=40)
def test_no_key_is_lost_or_reordered_however_often_the_size_changes(sizes: list[tuple[int, int]], takes: float, pause: float) -> None:
    log: list[tuple[str, str, int]] = []
    changes = dict(sizes)

    async def go() -> None:
        async with open_system(pool(Busy, log, takes, size=3, route=by_key(last_digits))) as system:
            async with trio.open_nursery() as nursery:
                for number in range(200):
                    if number in changes:
                        nursery.start_soon(system.supervisor("root/supervisor/busy").resize, changes[number])
                    await system.ref(Busy).send(Busy.in_number, number)
                    await trio.sleep(pause)
            await system.settle()
            system.ledger().check()

    trio.run(go, clock=trio.testing.MockClock(autojump_threshold=0))

    check_order(log, 200)


async def test_senders_that_wait_at_a_member_that_goes_are_let_in_elsewhere() -> None:
    log: list[tuple[str, str, int]] = []
    async with open_system(pool(Busy, log, size=2)) as system:
        busy = system.ref(Busy)
        async with trio.open_nursery() as nursery:
            for number in range(150):
                nursery.start_soon(busy.send, Busy.in_number, number)
            await trio.sleep(0.05)

            await system.supervisor("root/supervisor/busy").resize(1)
        await system.settle()

        assert sorted(number for what, _, number in log if what == "end") == list(range(150))
        system.ledger().check()


async def test_what_a_member_that_goes_has_on_disk_is_not_lost() -> None:
    log: list[tuple[str, str, int]] = []
    async with open_system(pool(Busy, log, size=3, route=by_key(last_digits))) as system:
        busy, members = system.ref(Busy), system.supervisor("root/supervisor/busy")
        for number in range(200):
            await busy.send(Busy.in_many, number)
            if number == 100:
                assert system.ledger().spilled
                await members.resize(5)
                await members.resize(2)
        await system.settle()

        check_order(log, 200)
        system.ledger().check()


async def test_asks_under_way_are_answered_through_a_resize() -> None:
    log: list[tuple[str, str, int]] = []
    answers: list[str] = []
    async with open_system(pool(Busy, log, 0.01, size=1)) as system:
        busy = system.ref(Busy)

        async def ask(number: int) -> None:
            answers.append(await busy.ask(Busy.in_number, number))

        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(ask, number)
            await trio.sleep(0.05)
            await system.supervisor("root/supervisor/busy").resize(4)
            await system.supervisor("root/supervisor/busy").resize(2)

    assert len(answers) == 40
    assert len(set(answers)) > 1


async def test_a_new_member_takes_its_part_of_what_waits() -> None:
    log: list[tuple[str, str, int]] = []
    async with open_system(pool(Busy, log, size=1)) as system:
        for number in range(40):
            await system.ref(Busy).send(Busy.in_number, number)

        await system.supervisor("root/supervisor/busy").resize(4)
        before = trio.current_time()
        await system.settle()

        assert trio.current_time() - before == pytest.approx(1.0, abs=0.21)


async def test_a_pool_with_limits_grows_with_the_work_and_shrinks_when_there_is_none() -> None:
    log: list[tuple[str, str, int]] = []
    async with open_system(pool(Busy, log, size=(1, 4))) as system:
        busy, members = system.ref(Busy), system.supervisor("root/supervisor/busy")
        for number in range(20):
            await busy.send(Busy.in_number, number)
            await trio.sleep(0.1)
        assert len(members.which_children()) == 1

        for number in range(20, 200):
            await busy.send(Busy.in_number, number)
        await trio.sleep(0.1)
        assert len(members.which_children()) == 4

        await system.settle()
        await trio.sleep(60)
        assert len(members.which_children()) == 1
        assert sorted(number for what, _, number in log if what == "end") == list(range(200))
        system.ledger().check()


async def test_a_pool_with_limits_keeps_no_run_alive() -> None:
    async with open_system(pool(Busy, [], 0.1, size=(1, 4))) as system:
        for number in range(100):
            await system.ref(Busy).send(Busy.in_number, number)
        await system.settle()
        before = trio.current_time()

        await system.wait()

        assert trio.current_time() == before


async def test_limits_can_be_changed_at_run_time() -> None:
    async with open_system(pool(Busy, [], 0.1, size=1)) as system:
        members = system.supervisor("root/supervisor/busy")

        await members.resize((2, 3))
        assert len(members.which_children()) == 2
        for number in range(100):
            await system.ref(Busy).send(Busy.in_number, number)
        await trio.sleep(0.1)
        assert len(members.which_children()) == 3

        await members.resize(1)
        await system.settle()
        assert len(members.which_children()) == 1


class Stubborn(Busy):
    """Does not start when it is told so."""

    starts = True

    async def on_start(self) -> None:
        if not Stubborn.starts:
            raise KeyError(self.name)


async def test_a_member_that_does_not_start_is_not_added() -> None:
    log: list[tuple[str, str, int]] = []
    async with open_system(pool(Stubborn, log, 0.01, size=2, route=by_key(last_digits))) as system:
        members = system.supervisor("root/supervisor/stubborn")
        Stubborn.starts = False
        try:
            with pytest.raises(SupervisionError):
                await members.resize(3)
        finally:
            Stubborn.starts = True
        for number in range(40):
            await system.ref(Stubborn).send(Busy.in_number, number)
        await system.settle()

        assert len(members.which_children()) == 2
        check_order(log, 40)


async def test_only_a_pool_has_a_size() -> None:
    async with open_system(supervisor(child(Busy, []), pool(Busy, []).options(name="pool"), name="top")) as system:
        with pytest.raises(SpecError, match="only a pool can be resized"):
            await system.supervisor("root/top").resize(3)
        with pytest.raises(SpecError, match=r"root/top/pool: size = 0"):
            await system.supervisor("root/top/pool").resize(0)


class Pausing(Busy):
    """Its first member pauses its port at the first number, for a while."""

    @in_port(capacity=50)
    async def in_number(self, number: int) -> str:
        if number == 0:
            self.pause(Pausing.in_number)
            self.start_soon(self.resume_later)
        self.lines.append(("end", self.name, number))
        return self.name

    async def resume_later(self) -> None:
        """Takes up its mail again."""
        await trio.sleep(10)
        self.resume(Pausing.in_number)

    @in_port(capacity=50)
    async def in_other(self, number: int) -> None:
        await trio.sleep(0.2)


@ROUTES
async def test_what_waits_at_a_paused_port_of_a_member_goes_where_it_belongs_and_the_books_balance(route: Route) -> None:
    log: list[tuple[str, str, int]] = []
    async with open_system(pool(Pausing, log, size=1, route=route).options(name="busy")) as system:
        ref, members = system.ref(Pausing), system.supervisor("root/supervisor/busy")
        for number in range(20):
            await ref.send(Pausing.in_number, number)
            await ref.send(Pausing.in_other, number)
        await trio.sleep(1)

        await members.resize(2)
        await trio.sleep(5)
        system.ledger().check()
        others = {name for what, name, _ in log if what == "end"}
        assert others == {"busy-1", "busy-2"}  # the new member did not wait for the pause of the old one

        await trio.sleep(10)
        await system.settle()
        ends = [number for what, _, number in log if what == "end"]
        assert sorted(ends) == list(range(20))
        for name in others:
            done = [number for what, each, number in log if what == "end" and each == name]
            assert done == sorted(done)
        system.ledger().check()


@pytest.mark.parametrize("route", [round_robin, least_loaded], ids=["round_robin", "least"])
async def test_a_new_member_gets_its_part_of_what_waits_at_a_paused_port_whose_turn_has_been(route: Route) -> None:
    log: list[tuple[str, str, int]] = []
    async with open_system(pool(Pausing, log, size=1, route=route).options(name="busy")) as system:
        for number in range(21):
            await system.ref(Pausing).send(Pausing.in_number, number)
        await trio.sleep(1)  # all have had their turn: 0 was handled, and the rest was set aside

        await system.supervisor("root/supervisor/busy").resize(2)
        await trio.sleep(1)

        assert [number for _, name, number in log if name == "busy-2"] == list(range(11, 21))
        await system.settle()
        await trio.sleep(10)
        assert [number for _, name, number in log if name == "busy-1"] == list(range(11))
        system.ledger().check()
