"""Senders that wait for a full pool wait in one line: whoever of its members has room first takes the next message."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest
import trio
from attrs import frozen
from trio.testing import wait_all_tasks_blocked

from actorkit import (
    Actor,
    MailboxFull,
    OutPort,
    Route,
    SupervisorSpec,
    System,
    child,
    in_port,
    least_loaded,
    open_system,
    pool,
    round_robin,
    supervisor,
)
from actorkit.events import DeadlockFound

ROUTES = [round_robin, least_loaded]


@frozen
class Task:
    """Something that takes a while."""

    name: str
    seconds: float = 1.0


class Desk(Actor):
    """Does tasks, and writes down when."""

    def __init__(self, done: list[tuple[float, str]]) -> None:
        self.done = done

    @in_port(capacity=1)
    async def in_task(self, task: Task) -> str:
        return await self.do(task)

    @in_port(capacity=1, block_timeout=3.0)
    async def in_hurry(self, task: Task) -> str:
        return await self.do(task)

    async def do(self, task: Task) -> str:
        """Does it; bad ones fail."""
        await trio.sleep(task.seconds)
        if task.name == "bug":
            raise KeyError(task)
        self.done.append((trio.current_time(), task.name))
        return self.name


def desks(done: list[tuple[float, str]], route: Route = round_robin, size: int = 2) -> SupervisorSpec:
    """A pool of desks."""
    return supervisor(pool(Desk, done, size=size, route=route).options(name="desks"), name="top")


async def fill(system: System, seconds: float = 100.0) -> None:
    """One member is busy for so long, the other for a second, and each has one more waiting."""
    for task in (Task("long", seconds), Task("short"), Task("a"), Task("b")):
        await system.ref(Desk).send(Desk.in_task, task)
        await wait_all_tasks_blocked()


@pytest.mark.parametrize("route", ROUTES)
async def test_senders_and_askers_wait_for_whichever_member_has_room_first_and_in_order(route: Route) -> None:
    done: list[tuple[float, str]] = []
    async with open_system(desks(done, route)) as system, trio.open_nursery() as nursery:
        ref = system.ref(Desk)
        await fill(system)
        for name in "cdefg":
            nursery.start_soon(partial(ref.ask, timeout=50.0) if name in "df" else ref.send, Desk.in_task, Task(name))
            await wait_all_tasks_blocked()
        with pytest.raises(MailboxFull):
            ref.send_nowait(Desk.in_task, Task("too many"))

        await trio.sleep(50)
        assert done[:2] == [(1, "short"), (2, "b" if done[1][1] == "b" else "a")]
        assert done[2:] == [(3, "c"), (4, "d"), (5, "e"), (6, "f"), (7, "g")]
        system.ledger().check()

        await system.settle()
        assert system.ledger().processed == 9


async def test_once_the_line_is_gone_there_is_room_again_at_once() -> None:
    done: list[tuple[float, str]] = []
    async with open_system(desks(done)) as system:
        ref = system.ref(Desk)
        await fill(system)
        for _ in range(3):
            with trio.move_on_after(0.1) as cancelled:
                await ref.send(Desk.in_task, Task("never"))
            assert cancelled.cancelled_caught
        await trio.sleep(1)
        ref.send_nowait(Desk.in_task, Task("c"))
        with pytest.raises(MailboxFull):
            ref.send_nowait(Desk.in_task, Task("too many"))

        await system.settle()
        assert sorted(name for _, name in done) == ["a", "b", "c", "long", "short"]
        system.ledger().check()


async def test_who_has_waited_too_long_goes_and_those_behind_move_up() -> None:
    done: list[tuple[float, str]] = []
    async with open_system(desks(done)) as system, trio.open_nursery() as nursery:
        ref = system.ref(Desk)
        for task in (Task("long", 100), Task("longer", 4), Task("a"), Task("b")):
            await ref.send(Desk.in_hurry, task)
            await wait_all_tasks_blocked()
        nursery.start_soon(ref.send, Desk.in_hurry, Task("c"))
        await trio.sleep(2)
        nursery.start_soon(ref.send, Desk.in_hurry, Task("d"))
        await system.settle()

        assert system.ledger().dead_lettered_by == {"overflow_timeout": 1}
        assert [letter.message for letter in await system.dead_letters.inspect()] == [Task("c")]
        assert (6, "d") in done
        system.ledger().check()


async def test_a_new_member_and_one_that_is_left_take_from_the_line() -> None:
    done: list[tuple[float, str]] = []
    async with open_system(desks(done)) as system, trio.open_nursery() as nursery:
        ref, members = system.ref(Desk), system.supervisor("root/top/desks")
        await fill(system)
        for name in "cde":
            nursery.start_soon(ref.send, Desk.in_task, Task(name))
            await wait_all_tasks_blocked()

        await members.resize(3)
        await trio.sleep(0.5)
        system.ledger().check()
        await members.resize(1)
        await system.settle()

        assert {name for _, name in done} == {"long", "short", *"abcde"}
        assert [name for _, name in done if name in "cde"] == ["c", "d", "e"]
        system.ledger().check()


class Caller(Actor):
    """Sends to a pool whose members ask it."""

    out_task = OutPort(Task)

    @in_port(capacity=1)
    async def in_call(self, count: int) -> None:
        for number in range(count):
            await self.out_task.send(Task(f"task {number}"))


class Asking(Actor):
    """One member asks its caller, which may wait for this very pool; the others do not, or do as well."""

    def __init__(self, all_ask: bool) -> None:
        self.all_ask = all_ask

    @in_port(capacity=1)
    async def in_task(self, task: Task) -> None:
        await trio.sleep(1)
        if self.all_ask or self.name == "asking-1":
            await self.system.ref(Caller).ask(Caller.in_call, 0, timeout=None)


@pytest.mark.parametrize("all_ask", [False, True])
async def test_a_wait_for_a_pool_is_stuck_only_if_all_members_are(all_ask: bool) -> None:
    tree = supervisor(
        child(Caller), pool(Asking, all_ask, size=2, route=round_robin), wires=[Caller.out_task >> Asking.in_task], name="top"
    )
    async with open_system(tree) as system:
        found = system.events(DeadlockFound)
        await system.ref(Caller).ask(Caller.in_call, 8, timeout=1000)
        await system.settle()

        system.ledger().check()
        assert system.ledger().dead_lettered == 4 * all_ask
    circles = [event async for event in found]
    assert bool(circles) is all_ask
    assert all("root/top/caller waits for room at root/top/asking.in_task" in str(event) for event in circles)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("seed", range(30))
async def test_nobody_is_left_in_the_line_whatever_happens_to_senders_and_members(route: Route, seed: int) -> None:
    random = Random(seed)
    done: list[tuple[float, str]] = []
    sent: list[str] = []
    async with open_system(desks(done, route, size=3), seed=seed) as system:
        ref, members = system.ref(Desk), system.supervisor("root/top/desks")

        async def sender(name: str) -> None:
            for number in range(12):
                task = Task("bug" if random.random() < 0.05 else f"{name}{number}", random.choice([0.0, 0.5, 3.0]))
                port = random.choice([Desk.in_task, Desk.in_task, Desk.in_hurry])
                with trio.move_on_after(random.choice([0.3, 2.0, 1e9])) as scope:
                    await ref.send(port, task)
                if not scope.cancelled_caught:
                    sent.append(task.name)
                system.ledger().check()

        async with trio.open_nursery() as nursery:
            for name in "abcdefg":
                nursery.start_soon(sender, name)
            for size in (4, 2, 3, 1, 3):
                await trio.sleep(random.random() * 5)
                await members.resize(size)
        await system.settle()

        ledger = system.ledger()
        ledger.check()
        assert ledger.accepted == len(sent) == ledger.processed + ledger.dead_lettered + ledger.queued
        ref.send_nowait(Desk.in_task, Task("there is room"))
