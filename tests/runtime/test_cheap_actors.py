"""Actors are cheap: to make, to keep, and to look up among very many."""

from __future__ import annotations

import gc
import tracemalloc
import weakref

import pytest
import trio

from actorkit import Actor, OutPort, SupervisionError, child, dynamic_supervisor, in_port, keyed, open_system, supervisor
from actorkit._runtime.register import Register
from actorkit.events import OutPortUnwired


class Session(Actor):
    """One of many."""

    out_line = OutPort(str)

    def __init__(self, user: int = 0) -> None:
        self.user = user

    @in_port
    async def in_line(self, line: str) -> None:
        await self.out_line.send(line)


class Reader(Actor):
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    @in_port
    def in_line(self, line: str) -> None:
        self.lines.append(line)


class Forgetful(Actor):
    """Sends what it gets nowhere."""

    out_number = OutPort(int)

    @in_port
    async def in_number(self, number: int) -> None:
        await self.out_number.send(number)


class Slow(Session):
    """Waits when it starts."""

    async def on_start(self) -> None:
        await trio.sleep(1)


class Wrong(Session):
    def __init__(self) -> None:
        raise ValueError("no session")


async def test_an_idle_actor_takes_less_than_two_kilobytes() -> None:
    async with open_system(dynamic_supervisor(name="sessions")) as system:
        sessions, spec = system.supervisor("root/sessions"), child(Session)
        for _ in range(10):
            await sessions.start_child(spec)
        gc.collect()
        tracemalloc.start()
        try:
            for _ in range(1_000):
                await sessions.start_child(spec)
            size, _peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert size / 1_000 < 2_000


async def test_children_that_wait_for_nothing_are_started_and_stopped_without_a_task() -> None:
    async with open_system(dynamic_supervisor(name="sessions")) as system:
        sessions, before = system.supervisor("root/sessions"), trio.lowlevel.current_statistics().tasks_living
        for _ in range(100):
            await sessions.start_child(child(Session))

        assert trio.lowlevel.current_statistics().tasks_living == before
        assert sessions.count_children().active == 100


async def test_who_starts_very_many_children_lets_others_go_on() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with open_system(dynamic_supervisor(name="sessions")) as system, trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        for _ in range(320):
            await system.supervisor("root/sessions").start_child(child(Session))
        assert turns >= 5
        nursery.cancel_scope.cancel()


async def test_a_start_that_is_cancelled_beforehand_starts_nothing() -> None:
    async with open_system(dynamic_supervisor(name="sessions")) as system:
        sessions = system.supervisor("root/sessions")
        with trio.CancelScope() as scope:
            scope.cancel()
            await sessions.start_child(child(Session))

        assert scope.cancelled_caught
        assert sessions.which_children() == []


async def test_a_start_that_fails_at_once_leaves_nothing() -> None:
    async with open_system(dynamic_supervisor(name="sessions")) as system:
        sessions = system.supervisor("root/sessions")
        with pytest.raises(SupervisionError, match="no session"):
            await sessions.start_child(child(Wrong))

        assert sessions.which_children() == []
        assert (await sessions.start_child(child(Session))).path == "root/sessions/session-1"


async def test_a_child_waits_for_the_one_that_is_starting(autojump_clock: trio.testing.MockClock) -> None:
    async with open_system(dynamic_supervisor(name="sessions")) as system, trio.open_nursery() as nursery:
        sessions = system.supervisor("root/sessions")
        nursery.start_soon(sessions.start_child, child(Slow))
        await trio.sleep(0.5)

        await sessions.start_child(child(Session))
        assert trio.current_time() - 1 >= 0
        assert [each.name for each in sessions.which_children()] == ["slow-1", "session-1"]
        assert all(each.is_running for each in sessions.which_children())


async def test_a_tree_of_very_many_children_starts_and_stops() -> None:
    tree = supervisor(*(child(Session, user).options(name=f"session-{user}") for user in range(200)), name="sessions")
    async with open_system(tree) as system:
        assert system.supervisor("root/sessions").count_children().active == 200
    assert system.supervisor("root/sessions").count_children().active == 0


async def test_a_child_that_is_gone_is_freed_at_once() -> None:
    kept: list[weakref.ref[Actor]] = []

    class Brief(Session):
        @in_port
        def in_end(self, message: int) -> None:
            kept.append(weakref.ref(self))
            self.stop()

    async with open_system(dynamic_supervisor(name="sessions")) as system:
        gc.disable()
        try:
            brief = await system.supervisor("root/sessions").start_child(child(Brief))
            await brief.send(Brief.in_end, 1)
            await system.wait()
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            assert kept[0]() is None
        finally:
            gc.enable()


async def test_each_new_child_may_be_wired_by_class() -> None:
    lines: list[str] = []
    async with open_system(supervisor(child(Reader, lines), dynamic_supervisor(name="sessions"), name="top")) as system:
        for user in range(3):
            wires = [Session.out_line >> Reader.in_line]
            session = await system.supervisor("root/top/sessions").start_child(child(Session, user), wires)
            await session.send(Session.in_line, str(user))
        await system.settle()

    assert lines == ["0", "1", "2"]


async def test_the_register_knows_actors_by_class_and_by_spec() -> None:
    spec = child(Slow)
    async with open_system(dynamic_supervisor(name="sessions")) as system:
        register, sessions = system.kernel.cells, system.supervisor("root/sessions")
        one, two, slow = [(await sessions.start_child(each)).cell for each in (child(Session), child(Session), spec)]
        assert isinstance(register, Register)

        assert register.candidates(Session) == [one, two]
        assert register.candidates(Actor) == [one, two, slow]
        assert register.candidates(Reader) == []
        assert (register.of_spec(spec, Slow), register.has(spec), list(register.classes)) == (slow, True, [Session, Slow])

        for each in (one, two, slow):
            register.remove(each)
            register.remove(each)
        assert (register, list(register.classes), register.has(spec), register.of_spec(spec, Slow)) == ({}, [], False, None)
        for each in (one, two, slow):
            register.add(each)


async def test_that_a_group_s_port_has_no_wire_is_reported_once_not_for_each_key() -> None:
    async with open_system(keyed(Forgetful, by=lambda number: number, max_active=5)) as system:
        events = system.events(OutPortUnwired)
        for number in range(20):
            await system.ref(Forgetful).send(Forgetful.in_number, number)
        await system.settle()

        [group] = system.snapshot()["children"][0]["children"]
        assert group["discarded"] == {"out_number": 20}
    assert [each.path async for each in events] == ["root/supervisor/forgetful.out_number"]


async def test_of_a_key_without_state_nothing_is_kept() -> None:
    sizes: list[int] = []
    tracemalloc.start()
    try:
        async with open_system(keyed(Forgetful, by=lambda number: number, max_active=5)) as system:
            for first in (0, 1_000, 2_000, 3_000):
                for number in range(first, first + 1_000):
                    await system.ref(Forgetful).send(Forgetful.in_number, number)
                await system.settle()
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()

    assert sizes[-1] - sizes[1] < 10_000
