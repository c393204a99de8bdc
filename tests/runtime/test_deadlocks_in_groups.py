"""Circles that lead through a member of a pool, or the actor of a key: found like those between any two actors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest
import trio
from attrs import frozen
from trio.testing import wait_all_tasks_blocked

from actorkit import Actor, ActorRef, AskFailed, DeadlockError, by_key, child, in_port, keyed, open_system, pool, round_robin, supervisor
from actorkit.events import DeadlockFound

Plan = Callable[["Player"], Awaitable[Any]]


@frozen
class Do:
    """What an actor is to do when it handles this; in a group, who has this key."""

    plan: Plan
    key: int = 0


def key_of(do: Do) -> int:
    """The key of a message."""
    return do.key


class Player(Actor):
    """Does what its messages say."""

    @in_port
    async def in_do(self, do: Do) -> Any:
        return await do.plan(self)

    @in_port(capacity=1)
    async def in_narrow(self, do: Do) -> Any:
        return await do.plan(self)

    @in_port
    async def in_query(self, do: Do) -> AsyncIterator[Any]:
        yield await do.plan(self)

    def other(self, name: str) -> ActorRef[Player]:
        """Another, or a group."""
        return self.system.ref(f"root/top/{name}", Player)


async def nothing(_: Player) -> str:
    return "done"


def naps(seconds: float) -> Plan:
    """Takes its time."""

    async def plan(_: Player) -> None:
        await trio.sleep(seconds)

    return plan


def asks(name: str, plan: Plan = nothing, *, key: int = 0, after: float = 0.0) -> Plan:
    """Asks somebody to do something, and waits for as long as it takes."""

    async def plan_(me: Player) -> Any:
        await trio.sleep(after)
        return await me.other(name).ask(Player.in_do, Do(plan, key), timeout=None)

    return plan_


def reads(name: str, plan: Plan, *, key: int = 0) -> Plan:
    """Reads rows from somebody, who does something before each."""

    async def plan_(me: Player) -> Any:
        return [row async for row in me.other(name).stream(Player.in_query, Do(plan, key), timeout=None)]

    return plan_


GROUPS = pytest.mark.parametrize(
    "group",
    [pool(Player, size=2, route=round_robin), pool(Player, size=2, route=by_key(key_of)), keyed(Player, by=key_of)],
    ids=["pool", "pool_by_key", "keyed"],
)


@GROUPS
@pytest.mark.parametrize("way", [asks, reads])
async def test_a_member_that_asks_back_who_waits_for_it_is_found(group: Any, way: Callable[..., Plan]) -> None:
    tree = supervisor(child(Player).options(name="a"), group.options(name="g"), name="top")
    async with open_system(tree) as system:
        found = system.events(DeadlockFound)
        with pytest.raises(AskFailed):
            await system.ref("root/top/a", Player).ask(Player.in_do, Do(way("g", asks("a"))), timeout=None)
        await system.settle()

        assert trio.current_time() == 0
        system.ledger().check()
    (event,) = [each async for each in found]
    member = event.path
    assert member.startswith("root/top/g/")
    words, port = ("asks", "in_do") if way is asks else ("waits for rows from", "in_query")
    assert event.circle == (f"{member} asks root/top/a.in_do", f"root/top/a {words} {member}.{port}")


async def test_a_member_that_waits_for_another_that_waits_for_it_is_found() -> None:
    tree = supervisor(keyed(Player, by=key_of).options(name="g"), name="top")
    async with open_system(tree) as system:
        found = system.events(DeadlockFound)
        with pytest.raises(AskFailed):
            await system.ref("root/top/g", Player).ask(Player.in_do, Do(asks("g", asks("g", key=1), key=2), key=1), timeout=None)

        assert trio.current_time() == 0
    assert [each.circle async for each in found] == [("root/top/g/2 asks root/top/g/1.in_do", "root/top/g/1 asks root/top/g/2.in_do")]


async def test_a_request_at_another_member_closes_no_circle() -> None:
    tree = supervisor(child(Player).options(name="a"), pool(Player, size=2, route=by_key(key_of)).options(name="g"), name="top")
    async with open_system(tree) as system, trio.open_nursery() as nursery:
        found = system.events(DeadlockFound)
        nursery.start_soon(system.ref("root/top/a", Player).ask, Player.in_do, Do(asks("g", naps(3), key=1)))
        await wait_all_tasks_blocked()

        assert await system.ref("root/top/g", Player).ask(Player.in_do, Do(asks("a"), key=0)) == "done"
    assert [each async for each in found] == []


@pytest.mark.parametrize("way", [asks, reads])
async def test_a_request_that_a_resize_gives_to_whom_its_asker_keeps_waiting_is_found(way: Callable[..., Plan]) -> None:
    group = pool(Player, size=3, route=by_key(key_of)).options(name="g")  # 3 is a key of g-2; 1 is one of g-3, then of g-2
    tree = supervisor(child(Player).options(name="a"), group, name="top")
    async with open_system(tree) as system, trio.open_nursery() as nursery:
        found = system.events(DeadlockFound)
        members, a = system.ref("root/top/g", Player), system.ref("root/top/a", Player)
        outcome: list[str] = []

        async def ask_a() -> None:
            with pytest.raises(AskFailed):
                await a.ask(Player.in_do, Do(way("g", nothing, key=1)), timeout=None)
            outcome.append("failed")

        async def ask_member() -> None:
            outcome.append(await members.ask(Player.in_do, Do(asks("a"), key=3), timeout=None))

        await members.send(Player.in_do, Do(naps(2), key=1))
        for what in (ask_a, ask_member):
            await wait_all_tasks_blocked()
            nursery.start_soon(what)
        await wait_all_tasks_blocked()
        await system.supervisor("root/top/g").resize(2)
        await system.settle()
        await wait_all_tasks_blocked()

        assert trio.current_time() == 2
        assert sorted(outcome) == ["done", "failed"]
        system.ledger().check()
    (event,) = [each async for each in found]
    assert event.circle[0] == "root/top/g/g-2 asks root/top/a.in_do"


async def test_a_request_that_waits_for_room_at_a_pool_is_stuck_only_if_all_members_are() -> None:
    tree = supervisor(child(Player).options(name="a"), pool(Player, size=2, route=round_robin).options(name="g"), name="top")
    async with open_system(tree) as system:
        found = system.events(DeadlockFound)

        async def fills(me: Player) -> Any:
            members = me.other("g")
            for plan in (naps(5), asks("a", after=1), nothing, nothing):
                await members.send(Player.in_narrow, Do(plan))
            return await members.ask(Player.in_narrow, Do(nothing), timeout=None)

        assert await system.ref("root/top/a", Player).ask(Player.in_do, Do(fills), timeout=None) == "done"
        await system.settle()
    assert [each async for each in found] == []


PLACES = ("a", "b", "pool", "keys", "keyed")


def random_plan(random: Random, depth: int) -> Plan:
    """Asks, sends and naps, one after the other; what is asked for or sent is a plan as well."""
    ways = random.choices(["ask", "ask", "send", "nap"], k=random.randint(0, 2)) if depth else []
    steps = [(way, random.choice(PLACES), Do(random_plan(random, depth - 1), random.randint(0, 4))) for way in ways]

    async def plan(me: Player) -> None:
        for way, name, do in steps:
            with suppress(DeadlockError):
                if way == "ask":
                    await me.other(name).ask(Player.in_do, do, timeout=None)
                elif way == "send":
                    await me.other(name).send(Player.in_narrow, do)
                else:
                    await trio.sleep(do.key)

    return plan


@pytest.mark.parametrize("seed", range(40))
async def test_nobody_waits_for_ever_whoever_asks_whom_and_whatever_is_resized(seed: int) -> None:
    random = Random(seed)
    names = [child(Player).options(name=name) for name in "ab"]
    groups = [pool(Player, size=2).options(name="pool"), pool(Player, size=2, route=by_key(key_of)).options(name="keys")]
    tree = supervisor(*names, *groups, keyed(Player, by=key_of).options(name="keyed"), name="top")

    async def ask(name: str, do: Do) -> None:
        with suppress(AskFailed, DeadlockError):
            await system.ref(f"root/top/{name}", Player).ask(Player.in_do, do, timeout=None)

    async with open_system(tree, seed=seed) as system:
        with trio.fail_after(10_000):
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(ask, random.choice(PLACES), Do(random_plan(random, 4), random.randint(0, 4)))
                for _ in range(4):
                    await trio.sleep(random.randint(0, 3))
                    await system.supervisor(f"root/top/{random.choice(['pool', 'keys'])}").resize(random.randint(1, 4))
            await system.settle()
        system.ledger().check()
