"""Wires that come with a child that is started while the system runs."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actorkit import Actor, OutPort, SupervisionError, WiringError, child, dynamic_supervisor, in_port, open_system, supervisor
from tests.trees import Bug, Scene, Worker


class Source(Actor):
    """Sends so many numbers, then waits for the end."""

    out_number = OutPort(int)

    def __init__(self, count: int = 0) -> None:
        self.count = count

    async def run(self) -> None:
        for number in range(self.count):
            await self.out_number.send(number)
        await trio.sleep_forever()


class Sink(Actor):
    """Keeps what it gets; does not like a number below 0 the first time."""

    def __init__(self, got: list[int]) -> None:
        self.got = got

    @in_port
    def in_number(self, number: int) -> None:
        if number < 0 and number not in self.got:
            self.got.append(number)
            raise Bug
        self.got.append(number)


class Relay(Actor):
    """Sends on what it gets."""

    out_number = OutPort(int)

    @in_port
    async def in_number(self, number: int) -> None:
        await self.out_number.send(number)


async def test_wires_of_a_new_child_are_named_by_its_class_or_its_spec() -> None:
    got: list[int] = []
    async with open_system(supervisor(child(Sink, got), dynamic_supervisor(name="pool"), name="top")) as system:
        pool = system.supervisor("root/top/pool")
        spec = child(Source, 4)

        for _ in range(2):
            await pool.start_child(child(Source, 3), [Source.out_number >> Sink.in_number])
            await pool.start_child(spec, [spec[Source.out_number] >> Sink.in_number])
        await trio.testing.wait_all_tasks_blocked()

        assert sorted(got) == sorted([0, 1, 2, 0, 1, 2, 3] * 2)
        assert len(pool.which_children()) == 4


async def test_a_new_child_can_be_wired_to_from_one_that_runs() -> None:
    got: list[int] = []

    async with open_system(supervisor(child(Relay), dynamic_supervisor(name="pool"), name="top")) as system:
        relay = system.ref(Relay)
        await relay.send(Relay.in_number, 1)
        await system.settle()

        await system.supervisor("root/top/pool").start_child(child(Sink, got), [Relay.out_number >> Sink.in_number])
        await relay.send(Relay.in_number, 2)
        await system.settle()

        assert got == [2]


async def test_a_child_with_a_bad_wire_is_not_started() -> None:
    scene = Scene()

    class Other(Actor):
        out_number = OutPort(int)

    async with open_system(supervisor(child(Sink, []), dynamic_supervisor(name="pool"), name="top")) as system:
        pool = system.supervisor("root/top/pool")

        with pytest.raises(WiringError, match=r"Other\.out_number\(int\) >> Sink\.in_number\(int\): there is no .*Other in this tree"):
            await pool.start_child(child(Worker, scene), [Other.out_number >> Sink.in_number])
        with pytest.raises(TypeError, match="wires"):
            await pool.start_child(child(Worker, scene), ["not a wire"])  # type: ignore[list-item]

        assert scene.take() == []
        assert pool.which_children() == []


async def test_a_required_wire_is_asked_for_at_run_time_too() -> None:
    class Careful(Actor):
        out_number = OutPort(int, required=True)

    async with open_system(dynamic_supervisor(name="top")) as system:
        top = system.supervisor("root/top")

        with pytest.raises(WiringError, match=r"root/top/careful-1\.out_number requires a wire"):
            await top.start_child(child(Careful))

        assert top.which_children() == []


async def test_a_child_that_does_not_start_leaves_the_wires_of_others_as_they_were() -> None:
    got: list[int] = []

    class Broken(Sink):
        async def on_start(self) -> None:
            raise Bug

    async with open_system(supervisor(child(Relay), dynamic_supervisor(name="pool"), name="top")) as system:
        pool = system.supervisor("root/top/pool")

        with pytest.raises(SupervisionError):
            await pool.start_child(child(Broken, got), [Relay.out_number >> Broken.in_number])
        await system.ref(Relay).send(Relay.in_number, 1)
        await system.settle()

        assert system.ledger().dead_lettered == 0
        assert got == []


async def test_an_actor_fed_only_by_a_child_that_did_not_start_is_not_drained_by_that() -> None:
    class Broken(Source):
        async def on_start(self) -> None:
            raise Bug

    got: list[int] = []
    async with open_system(supervisor(child(Sink, got), dynamic_supervisor(name="pool"), name="top")) as system:
        with pytest.raises(SupervisionError):
            await system.supervisor("root/top/pool").start_child(child(Broken, 1), [Broken.out_number >> Sink.in_number])

        await system.ref(Sink).send(Sink.in_number, -7)
        await system.wait()

        assert got == [-7, -7]
        assert system.ref(Sink).is_alive
