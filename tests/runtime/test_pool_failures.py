"""Members of a pool that fail: restarted one by one, set aside when their restarts are used up, and no key loses its order."""

from __future__ import annotations

from collections import defaultdict

import pytest
import trio

from actorkit import (
    Actor,
    DeadLetterReason,
    OnExhausted,
    OutPort,
    Restart,
    Route,
    SupervisionError,
    TransientError,
    by_key,
    child,
    in_port,
    least_loaded,
    open_system,
    pool,
    round_robin,
    supervisor,
)
from actorkit.events import ChildQuarantined, SupervisorGaveUp
from tests.pipelines import Numbers
from tests.runs import run_inside


class Fragile(Actor):
    """Writes down numbers; crashes at those that the scene says."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        scene.born.append(self.name)

    @in_port(capacity=100)
    async def in_number(self, number: int) -> str:
        await trio.sleep(self.scene.takes)
        if self.scene.crashes.get(number, 0) > 0:
            self.scene.crashes[number] -= 1
            raise self.scene.error(number)
        self.scene.done.append((self.name, number))
        return self.name

    @in_port
    def in_stop(self, _: None) -> None:
        self.stop()


class Scene:
    """What members share with their test.

    Attributes:
        done: who did which number.
        born: the names of the objects that were made.
        crashes: at which numbers they crash, and how often.
    """

    def __init__(self, takes: float = 0.0, **crashes: int) -> None:
        self.takes = takes
        self.done: list[tuple[str, int]] = []
        self.born: list[str] = []
        self.crashes = {int(number[1:]): times for number, times in crashes.items()}
        self.error: type[Exception] = KeyError

    def numbers(self) -> list[int]:
        """The numbers that were handled, in order of their size."""
        return sorted(number for _, number in self.done)


def tens(number: int) -> int:
    """The key of a number."""
    return number // 10


ROUTES = pytest.mark.parametrize("route", [round_robin, least_loaded, by_key(tens)], ids=repr)


@ROUTES
async def test_only_the_member_that_failed_is_restarted_and_its_messages_wait_for_it(route: Route) -> None:
    scene = Scene(0.1, n3=1)
    async with open_system(pool(Fragile, scene, size=3, route=route)) as system:
        for number in range(30):
            await system.ref(Fragile).send(Fragile.in_number, number)
        await system.settle()

        assert scene.numbers() == list(range(30))
        assert len(scene.born) == 4
        assert sorted(each.restarts for each in system.supervisor("root/supervisor/fragile").which_children()) == [0, 0, 1]
        system.ledger().check()


async def test_restarts_are_counted_per_member() -> None:
    scene = Scene(n0=1, n1=1, n2=1, n3=1)
    async with open_system(pool(Fragile, scene, size=4).options(max_restarts=1, within=60)) as system:
        for number in range(8):
            await system.ref(Fragile).send(Fragile.in_number, number)
        await system.settle()

        children = system.supervisor("root/supervisor/fragile").which_children()
        assert [(each.restarts, each.is_quarantined) for each in children] == [(1, False)] * 4
        assert scene.numbers() == list(range(8))


@ROUTES
async def test_a_member_without_restarts_left_is_set_aside_with_what_it_failed_on_and_the_others_do_the_rest(route: Route) -> None:
    scene = Scene(0.1, n3=1)
    async with open_system(pool(Fragile, scene, size=3, route=route).options(max_restarts=0, within=60)) as system:
        events = system.events(ChildQuarantined)
        for number in range(30):
            await system.ref(Fragile).send(Fragile.in_number, number)
        out = (await anext(events)).path
        for number in range(30, 60):
            await system.ref(Fragile).send(Fragile.in_number, number)
        await system.settle()

        assert scene.numbers() == [number for number in range(60) if number != 3]
        assert system.ledger().queued == 1
        assert system.ref("root/supervisor/fragile").is_alive

        await system.supervisor("root/supervisor/fragile").release(out.rpartition("/")[2])
        await system.settle()
        assert scene.numbers() == list(range(60))
        assert (out.rpartition("/")[2], 3) in scene.done
        system.ledger().check()


async def test_a_released_member_gets_messages_again() -> None:
    scene = Scene(n0=1)
    async with open_system(pool(Fragile, scene, size=2).options(max_restarts=0, within=60)) as system:
        fragile, members = system.ref(Fragile), system.supervisor("root/supervisor/fragile")
        await fragile.send(Fragile.in_number, 0)
        await system.settle()

        await members.release("fragile-1")
        for number in range(1, 5):
            await fragile.send(Fragile.in_number, number)
        await system.settle()

        assert {name for name, number in scene.done if number} == {"fragile-1", "fragile-2"}


async def test_a_key_keeps_its_order_when_its_owner_is_set_aside_and_comes_back() -> None:
    scene = Scene(0.1, n5=1, n105=1)
    order: defaultdict[int, list[int]] = defaultdict(list)
    async with open_system(pool(Fragile, scene, size=4, route=by_key(tens)).options(max_restarts=0, within=60)) as system:
        fragile, members, events = system.ref(Fragile), system.supervisor("root/supervisor/fragile"), system.events(ChildQuarantined)
        for number in range(10):
            for key in range(20):
                await fragile.send(Fragile.in_number, 10 * key + number)
        for _ in range(2):
            await members.release((await anext(events)).path.rpartition("/")[2])
        for number in range(200, 300):
            await fragile.send(Fragile.in_number, number)
        await system.settle()

    for _, number in scene.done:
        order[tens(number)].append(number)
    assert scene.numbers() == list(range(300))
    assert all(numbers == sorted(numbers) for key, numbers in order.items() if key not in (0, 10))
    for key in (0, 10):  # what they failed on was set aside; all else kept its order
        assert sorted(order[key]) == list(range(10 * key, 10 * key + 10))
        rest = [number for number in order[key] if number not in (5, 105)]
        assert rest == sorted(rest)


@pytest.mark.parametrize(("size", "goes_on"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
async def test_a_pool_fails_when_more_than_half_of_it_is_set_aside(size: int, goes_on: int) -> None:
    scene = Scene()
    tree = supervisor(pool(Fragile, scene, size=size).options(max_restarts=0, within=60), name="top")
    async with open_system(tree) as system:
        events = system.events(SupervisorGaveUp)
        pool_of_them = system.supervisor("root/top/fragile")
        for number in range(goes_on):
            scene.crashes[number] = 1
            await system.ref(f"root/top/fragile/fragile-{number + 1}", Fragile).send(Fragile.in_number, number)
        await system.settle()
        assert sum(each.is_quarantined for each in pool_of_them.which_children()) == goes_on

        scene.crashes[99] = 1
        await system.ref(f"root/top/fragile/fragile-{goes_on + 1}", Fragile).send(Fragile.in_number, 99)

        assert (await anext(events)).path == "root/top/fragile"
        await system.wait()
        [info] = system.supervisor("root/top").which_children()
        assert (info.is_running, info.restarts) == (True, 1)
        assert 99 in scene.numbers()
        assert all(each.is_running and not each.is_quarantined for each in pool_of_them.which_children())
        system.ledger().check()


async def test_a_pool_that_is_told_to_escalates_at_the_first_member_without_restarts() -> None:
    scene = Scene(n0=5)
    tree = supervisor(pool(Fragile, scene, size=4).options(max_restarts=0, within=60, on_exhausted=OnExhausted.ESCALATE), max_restarts=0)
    with pytest.raises(SupervisionError):
        async with open_system(tree) as system:
            await system.ref(Fragile).send(Fragile.in_number, 0)
            await trio.sleep_forever()


async def test_what_waits_at_a_pool_that_is_given_up_for_good_becomes_dead_letters() -> None:
    scene = Scene(1.0, n0=1)
    tree = supervisor(
        pool(Fragile, scene, size=1).options(max_restarts=0, within=60, restart=Restart.TEMPORARY), child(Numbers), name="top"
    )
    async with open_system(tree) as system:
        fragile = system.ref(Fragile)
        for number in range(4):
            await fragile.send(Fragile.in_number, number)
        await system.wait()
        await fragile.send(Fragile.in_number, 4)

        letters = await system.dead_letters.inspect()
        assert sorted(letter.message for letter in letters) == [0, 1, 2, 3, 4]
        assert {letter.port for letter in letters} == {"root/top/fragile.in_number"}
        assert not fragile.is_alive
        system.ledger().check()


async def test_a_dead_letter_of_a_member_is_sent_again_through_the_pool() -> None:
    scene = Scene(n1=9)
    async with open_system(pool(Fragile, scene, size=2, route=by_key(tens))) as system:
        await system.ref(Fragile).send(Fragile.in_number, 1)
        await system.settle()
        [letter] = await system.dead_letters.inspect()
        assert (letter.reason, letter.port) == (DeadLetterReason.POISON, "root/supervisor/fragile.in_number")

        scene.crashes.clear()
        await system.dead_letters.reprocess()
        await system.settle()

        assert scene.numbers() == [1]
        system.ledger().check()


async def test_a_retry_in_one_member_does_not_hold_up_the_others() -> None:
    scene = Scene(n0=2)
    scene.error = TransientError
    async with open_system(pool(Fragile, scene, size=2)) as system:
        for number in range(10):
            await system.ref(Fragile).send(Fragile.in_number, number)
        await system.settle()

        assert scene.done[:5] == [("fragile-2", number) for number in (1, 3, 5, 7, 9)]
        assert scene.numbers() == list(range(10))


async def test_what_waits_at_a_member_that_ends_itself_goes_to_the_others_and_the_last_one_ends_the_pool() -> None:
    scene = Scene()
    async with open_system(supervisor(pool(Fragile, scene, size=2), name="top")) as system:
        fragile = system.ref(Fragile)
        await fragile.send(Fragile.in_stop, None)  # the first
        for number in range(6):
            await fragile.send(Fragile.in_number, number)
        await system.settle()
        assert {name for name, _ in scene.done} == {"fragile-2"}
        assert scene.numbers() == list(range(6))

        await fragile.send(Fragile.in_stop, None)
        await system.wait()

        assert not fragile.is_alive
        [info] = system.supervisor("root/top").which_children()
        assert (info.is_running, info.restarts) == (False, 0)
        system.ledger().check()


class Stage(Fragile):
    """Sends on what it has handled, and says a last word, which fails when it says so."""

    out_number = OutPort(int)

    async def on_drained(self) -> None:
        await self.out_number.send(1000)
        if self.scene.crashes.get(1000, 0) > 0:
            self.scene.crashes[1000] -= 1
            raise KeyError(1000)

    @in_port
    async def in_pass(self, number: int) -> None:
        await self.in_number(number)
        await self.out_number.send(number)


class Collector(Actor):
    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers

    @in_port
    def in_number(self, number: int) -> None:
        self.numbers.append(number)


@ROUTES
@pytest.mark.parametrize("crashes", [{}, {"n1": 1, "n15": 2}, {"n1000": 1}], ids=["none", "in messages", "in last words"])
async def test_a_pool_in_a_stream_drains_whatever_fails_in_it(route: Route, crashes: dict[str, int]) -> None:
    scene, numbers = Scene(0.1, **crashes), list[int]()
    tree = supervisor(
        child(Numbers, 40),
        pool(Stage, scene, size=3, route=route),
        child(Collector, numbers),
        wires=[Numbers.out_number >> Stage.in_pass, Stage.out_number >> Collector.in_number],
    )
    report = await run_inside(tree)

    assert sorted(number for number in numbers if number < 1000) == list(range(40))
    assert numbers.count(1000) == 3 + crashes.get("n1000", 0)
    assert report.outcome == "completed"
    report.ledger.check()


async def test_a_stream_ends_although_a_member_was_set_aside() -> None:
    scene, numbers = Scene(0.1, n1=1), list[int]()
    tree = supervisor(
        child(Numbers, 40),
        pool(Stage, scene, size=3).options(max_restarts=0, within=60),
        child(Collector, numbers),
        wires=[Numbers.out_number >> Stage.in_pass, Stage.out_number >> Collector.in_number],
    )
    report = await run_inside(tree)

    assert sorted(number for number in numbers if number < 1000) == [number for number in range(40) if number != 1]
    assert [letter.message for letter in report.dead_letters] == [1]
    report.ledger.check()
