"""Mail that an emergency holds back: of batch ports, of groups whose members come and go, of ports that fill up."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actorkit import (
    CascadePhase,
    HealthStatus,
    MailboxFull,
    RecoveryAction,
    RecoveryPolicy,
    Rule,
    SupervisorSpec,
    child,
    in_batch,
    in_port,
    keyed,
    pool,
    supervisor,
)
from actorkit.events import ChildExited, HandlerFailed
from tests.scenarios.plant import Machine, Plant, Source, at_work, machines, until_phase

NORMAL, EMERGENCY = CascadePhase.NORMAL, CascadePhase.EMERGENCY
OTHERS = {"n0", "n1", "n2"}
PROBES = 3
"""Messages of a held component that are handled from poll to poll."""


def into(plant: Plant, sink: Any, port: Any, rate: float = 100, most: int = 10**9) -> SupervisorSpec:
    """A source that sends to this port of `sink`, and five more that do nothing."""
    source = child(Source, plant, rate, most).options(name="source")
    return supervisor(
        source, sink, *machines(plant, 5, "n"), wires=[source[Source.out_number] >> sink[port]], name="top", max_restarts=10_000
    )


# ---- batches


class Collector(Machine):
    """Takes numbers in batches, too."""

    @in_batch(size=10, wait=0.5)
    def in_many(self, numbers: list[int]) -> None:
        assert isinstance(numbers, list)
        self.plant.done.setdefault("many", []).extend(numbers)


async def test_a_held_port_hands_no_single_message_to_a_batch_port_beside_it() -> None:
    plant = Plant()
    async with at_work(into(plant, child(Collector, plant).options(name="m0"), Machine.in_number), plant) as system:
        plant.ill = {"m0", *OTHERS}
        await until_phase(system, EMERGENCY)
        await trio.sleep(20)
        collector = system.ref("root/top/m0", Collector)
        for number in range(50):
            await collector.send(Collector.in_many, number)
            await trio.sleep(0.3)

        assert plant.done["many"] == list(range(50))
        assert plant.of(HandlerFailed) == []


async def test_a_held_batch_port_lets_others_of_its_actor_pass_and_keeps_its_order() -> None:
    plant = Plant()
    async with at_work(into(plant, child(Collector, plant).options(name="m0"), Collector.in_many, most=3_000), plant) as system:
        await trio.sleep(20.3)
        plant.ill = {"m0", *OTHERS}
        await until_phase(system, EMERGENCY)
        await trio.sleep(20.7)
        before = len(plant.done["many"])
        collector = system.ref("root/top/m0", Collector)
        assert [await collector.ask(Machine.in_question, number, timeout=1) for number in range(20)] == list(range(1, 21))
        await trio.sleep(20)
        assert 0 < len(plant.done["many"]) - before <= 40  # a batch from poll to poll
        plant.ill = set()
        await until_phase(system, NORMAL)
        await system.wait()
        assert plant.done["many"] == list(range(3_000))


# ---- groups


class Member(Machine):
    """One of several, of which all are ill if the group is."""

    async def health(self) -> HealthStatus:
        return HealthStatus.UNHEALTHY if "members" in self.plant.ill else HealthStatus.HEALTHY

    @in_port(capacity=100)
    def in_item(self, number: int) -> None:
        self.plant.done.setdefault("items", []).append(number)
        if "keys" in self.plant.ill:
            raise ValueError(number)


@pytest.mark.parametrize(("size", "then"), [(2, 4), (4, 2), ((1, 8), None)])
async def test_a_pool_is_held_as_one_while_it_is_resized_and_does_not_grow_for_what_is_held(size: Any, then: int | None) -> None:
    plant = Plant()
    workers = pool(Member, plant, size=size).options(name="workers")
    async with at_work(into(plant, workers, Member.in_item, 100, most=4_000), plant) as system:
        await trio.sleep(20)
        plant.ill = {"members", *OTHERS}
        await until_phase(system, EMERGENCY)
        boss = system.supervisor("root/top/workers")
        await trio.sleep(11)
        before, members = len(plant.done["items"]), len(boss.which_children())
        if isinstance(then, int):
            await boss.resize(then)
        await trio.sleep(50)
        assert len(plant.done["items"]) - before <= 11 * PROBES
        assert len(boss.which_children()) == (then or members)
        plant.ill = set()
        await until_phase(system, NORMAL)
        await system.wait()
        assert sorted(plant.done["items"]) == list(range(4_000))


@pytest.mark.parametrize("options", [{}, {"passivate_after": 3.0}, {"max_active": 10}])
async def test_keyed_actors_are_held_as_one_also_those_that_wake(options: dict[str, Any]) -> None:
    plant = Plant()
    skip = RecoveryPolicy(rules=[Rule(RecoveryAction.LOG_AND_CONTINUE, exception=ValueError)])
    group = keyed(Member, plant, by=lambda number: number % 500, **options).options(name="group", recovery=skip)
    async with at_work(into(plant, group, Member.in_item, 200, most=6_000), plant) as system:
        await trio.sleep(20)
        plant.ill = {"keys", *OTHERS}
        await until_phase(system, EMERGENCY)
        await trio.sleep(11)
        before = len(plant.done["items"])
        await trio.sleep(50)
        assert 0 < len(plant.done["items"]) - before <= 11 * PROBES
        plant.ill = set()
        await until_phase(system, NORMAL)
        await system.wait()
        done = plant.done["items"]
        assert sorted(done) == list(range(6_000))
        assert all(ours == sorted(ours) for ours in [[each for each in done if each % 500 == key] for key in range(0, 500, 50)])


# ---- room


async def test_a_held_port_has_very_much_room_but_not_without_end() -> None:
    plant = Plant()
    async with at_work(into(plant, child(Machine, plant).options(name="m0"), Machine.in_number, 1), plant) as system:
        plant.ill = {"m0", *OTHERS}
        await until_phase(system, EMERGENCY)
        await trio.sleep(6)
        sink, taken = system.ref("root/top/m0", Machine), 0
        with pytest.raises(MailboxFull):
            while True:
                sink.send_nowait(Machine.in_number, 1)
                taken += 1
        assert 100_000 <= taken <= 100_100
        system.cascade.abort()
        await system.settle()
        with pytest.raises(MailboxFull):  # as much as ever
            for taken in range(102):
                sink.send_nowait(Machine.in_number, taken)
        assert taken == 100


async def test_probes_are_no_more_however_often_an_operator_forces_it() -> None:
    plant = Plant()
    async with at_work(into(plant, child(Machine, plant).options(name="m0"), Machine.in_number), plant) as system:
        plant.ill = {"m0", *OTHERS}
        await until_phase(system, EMERGENCY)
        await trio.sleep(20)
        before = len(plant.done["m0"])
        for _ in range(100):
            system.cascade.force()
            await trio.sleep(0.1)
        assert len(plant.done["m0"]) - before == 2 * PROBES


async def test_a_port_that_hears_less_of_a_source_slowed_down_is_not_restarted_for_its_silence() -> None:
    class Attentive(Machine):
        @in_port(idle_timeout=1.0)
        def in_pulse(self, number: int) -> None: ...

    plant = Plant()
    async with at_work(into(plant, child(Attentive, plant).options(name="attentive"), Attentive.in_pulse, 5, most=1_000), plant) as system:
        await trio.sleep(20)
        system.cascade.force()
        await until_phase(system, NORMAL)
        assert plant.of(ChildExited) == []
        await trio.sleep(1_000)
        assert plant.of(ChildExited) == []  # the stream has ended, so that silence is none either
