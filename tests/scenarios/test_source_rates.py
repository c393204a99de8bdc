"""How fast sources go in an emergency: a share of what they send themselves, as far as that is known."""

from __future__ import annotations

import pytest
import trio

from actorkit import CascadePhase, OutPort, child, supervisor
from tests.scenarios.plant import Machine, Plant, Rates, Source, at_work, machines, until_step

NORMAL = CascadePhase.NORMAL


async def test_what_others_send_to_a_port_is_not_the_sources_rate() -> None:
    plant = Plant()
    sink, source = child(Machine, plant).options(name="sink"), child(Source, plant, 5).options(name="source")
    tree = supervisor(sink, source, *machines(plant, 5), wires=[source[Source.out_number] >> sink[Machine.in_number]], name="top")
    async with at_work(tree, plant) as system:
        while trio.current_time() < 60:
            await system.ref("root/top/sink", Machine).send(Machine.in_number, 1)
            await trio.sleep(0.01)
        system.cascade.force()
        assert (await Rates(plant).over(40))["source"] == pytest.approx(0.5, rel=0.15)


async def test_a_source_of_the_same_port_that_goes_leaves_the_others_rate_alone() -> None:
    plant = Plant()
    sink, source, other = (
        child(Machine, plant).options(name="sink"),
        *(child(Source, plant, 100).options(name=name) for name in ("a", "b")),
    )
    tree = supervisor(sink, source, *machines(plant, 5), wires=[source[Source.out_number] >> sink[Machine.in_number]], name="top")
    async with at_work(tree, plant) as system:
        boss = system.supervisor("root/top")
        await boss.start_child(other, wires=[other[Source.out_number] >> sink[Machine.in_number]])
        await trio.sleep(200)
        await boss.stop_child("b")
        await boss.delete_child("b")
        await trio.sleep(20)
        system.cascade.force()
        assert (await Rates(plant).over(20))["a"] == pytest.approx(10, rel=0.15)


@pytest.mark.parametrize("before", [0.0, 2.0])
async def test_a_source_that_is_not_known_yet_is_counted_first(before: float) -> None:
    plant = Plant()
    sink, source, late = (
        child(Machine, plant).options(name="sink"),
        *(child(Source, plant, 100).options(name=name) for name in ("a", "late")),
    )
    tree = supervisor(sink, source, *machines(plant, 5), wires=[source[Source.out_number] >> sink[Machine.in_number]], name="top")
    async with at_work(tree, plant) as system:
        await trio.sleep(before)
        system.cascade.force()
        await trio.sleep_until(11)
        await system.supervisor("root/top").start_child(late, wires=[late[Source.out_number] >> sink[Machine.in_number]])
        await trio.sleep_until(21)
        rates = await Rates(plant).over(10)
        assert rates == pytest.approx({"a": 10, "late": 10}, rel=0.15)
        await until_step(system, 1.0)
        assert await Rates(plant).over(20) == pytest.approx({"a": 100, "late": 100}, rel=0.05)


class Alternating(Source):
    """Sends by `send` and by `emit` in turn."""

    out_other = OutPort(int)

    async def run(self) -> None:
        for number in range(self.most):
            self.out_other.emit(number)
            await self.out_number.send(number)
            self.plant.sent[self.name] += 1
            await trio.sleep(1 / self.rate)


async def test_only_what_a_source_waits_for_slows_it_down() -> None:
    plant = Plant()
    sink, source = child(Machine, plant).options(name="sink"), child(Alternating, plant, 100).options(name="source")
    wires = [source[Alternating.out_number] >> sink[Machine.in_number], source[Alternating.out_other] >> sink[Machine.in_number]]
    async with at_work(supervisor(sink, source, *machines(plant, 5), wires=wires, name="top"), plant) as system:
        await trio.sleep(20)
        system.cascade.force()
        assert (await Rates(plant).over(20))["source"] == pytest.approx(10, rel=0.15)
        system.cascade.abort()
        assert (await Rates(plant).over(20))["source"] == pytest.approx(100, rel=0.05)


class Bursting(Source):
    """Is slow for a while, and then sends very many at once."""

    async def run(self) -> None:
        for number in range(self.most):
            await self.out_number.send(number)
            self.plant.sent[self.name] += 1
            if number < 100 or number % 1_000 == 0:
                await trio.sleep(1 / self.rate)


async def test_one_that_was_slow_and_sends_very_many_at_once_is_known_to_be_fast() -> None:
    plant = Plant()
    sink, source = child(Machine, plant).options(name="sink"), child(Bursting, plant, 10, most=200_000).options(name="source")
    tree = supervisor(sink, source, *machines(plant, 5), wires=[source[Bursting.out_number] >> sink[Machine.in_number]], name="top")
    async with at_work(tree, plant) as system:
        await trio.sleep(16)
        system.cascade.force()
        assert (await Rates(plant).over(2))["source"] == pytest.approx(1_000, rel=0.15)  # 10 % of 1,000 each 0.1 s
        system.cascade.abort()
        await system.wait()
        assert plant.done["sink"] == list(range(200_000))
