"""`emit` never waits: a full port takes the message, and the emitter is held until that port is back within its capacity."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actorkit import Actor, OutPort, Shutdown, child, in_port, open_system, run, supervisor


class Slow(Actor):
    def __init__(self, got: list[int], seconds: float = 1.0) -> None:
        self.got, self.seconds = got, seconds

    @in_port(capacity=2)
    async def in_x(self, x: int) -> None:
        await trio.sleep(self.seconds)
        self.got.append(x)


class Emits(Actor):
    """Emits each message so many times."""

    out_x = OutPort(int)

    def __init__(self, times: int = 1, handled: list[int] | None = None) -> None:
        self.times = times
        self.handled = [] if handled is None else handled

    @in_port
    def in_x(self, x: int) -> None:
        self.handled.append(x)
        for _ in range(self.times):
            self.out_x.emit(x)


async def test_an_emitter_is_held_while_the_port_is_above_its_capacity_and_order_and_books_are_kept() -> None:
    got: list[int] = []
    handled: list[int] = []
    async with open_system(supervisor(child(Slow, got), child(Emits, 3, handled), wires=[Emits.out_x >> Slow.in_x], name="s")) as system:
        for i in range(20):
            await system.ref(Emits).send(Emits.in_x, i)
        most = 0

        for _ in range(70):
            await trio.sleep(1)
            most = max(most, system.ledger().ports["root/s/slow.in_x"].queued)
            system.ledger().check()

        assert got == [i for i in range(20) for _ in range(3)]
        assert most <= 2 + 3
        assert handled == list(range(20))


async def test_stopping_the_receiver_lets_a_held_emitter_go() -> None:
    got: list[int] = []
    handled: list[int] = []
    slow = child(Slow, got, 1000.0).options(shutdown=Shutdown.KILL)
    async with open_system(supervisor(slow, child(Emits, 4, handled), wires=[Emits.out_x >> Slow.in_x], name="s")) as system:
        for i in range(3):
            await system.ref(Emits).send(Emits.in_x, i)
        await trio.testing.wait_all_tasks_blocked()
        assert handled == [0]

        await system.supervisor("root/s").stop_child("slow")
        await system.settle()

        assert handled == [0, 1, 2]
        assert system.ledger().dead_lettered_by == {"receiver_stopped": 8}
        system.ledger().check()


async def test_settle_notices_that_what_it_waits_for_was_stopped() -> None:
    slow = child(Slow, [], 1000.0).options(shutdown=Shutdown.KILL)
    async with open_system(supervisor(slow, name="s")) as system, trio.open_nursery() as nursery:
        await system.ref(Slow).send(Slow.in_x, 1)
        began = trio.current_time()

        async def stop_it() -> None:
            await trio.sleep(5)
            await system.supervisor("root/s").stop_child("slow")

        nursery.start_soon(stop_it)
        await system.settle()

        assert trio.current_time() - began == 5


@pytest.mark.parametrize("again", [False, True])
async def test_a_held_actor_can_be_stopped_and_started_again(again: bool) -> None:
    got: list[int] = []
    handled: list[int] = []
    tree = supervisor(child(Slow, got), child(Emits, 4, handled), wires=[Emits.out_x >> Slow.in_x], name="s")
    async with open_system(tree) as system:
        for i in range(3):
            await system.ref(Emits).send(Emits.in_x, i)
        await trio.sleep(0.5)

        await system.supervisor("root/s").stop_child("emits")
        if again:
            await system.supervisor("root/s").restart_child("emits")
        await system.settle()

        assert got == [i for i in handled for _ in range(4)]
        assert handled == ([0, 1, 2] if again else [0])
        system.ledger().check()


async def test_a_source_and_a_background_task_that_emit_hold_their_actor_too() -> None:
    got: list[int] = []
    handled: list[int] = []

    class Both(Emits):
        @in_port
        def in_task(self, x: int) -> None:
            self.start_soon(self.emit_later, x)

        async def emit_later(self, x: int) -> None:
            await trio.sleep(1)
            for _ in range(5):
                self.out_x.emit(x)

    tree = supervisor(child(Slow, got), child(Both, 1, handled), wires=[Both.out_x >> Slow.in_x], name="s")
    async with open_system(tree) as system:
        await system.ref(Both).send(Both.in_task, 7)
        await trio.sleep(1.5)
        await system.ref(Both).send(Both.in_x, 8)
        assert handled == []

        await system.settle()

        assert got == [7] * 5 + [8]


def test_actors_that_emit_to_each_other_above_capacity_do_not_hold_each_other_for_ever() -> None:
    class Pong(Actor):
        """Answers each number with two, one less."""

        out_x = OutPort(int)

        @in_port(capacity=1)
        def in_x(self, x: int) -> None:
            for _ in range(2 if x else 0):
                self.out_x.emit(x - 1)

    class Begins(Actor):
        out_x = OutPort(int)

        async def run(self) -> None:
            await self.out_x.send(8)

    a, b, c = (child(Pong).options(name=name) for name in "abc")
    wires = [x[Pong.out_x] >> y[Pong.in_x] for x, y in ((a, b), (b, c), (c, a))] + [Begins.out_x >> a[Pong.in_x]]

    report = run(supervisor(a, b, c, child(Begins), wires=wires), handle_signals=False)

    assert report.ledger.processed == 2**9 - 1
    assert report.outcome == "completed"
    report.ledger.check()
