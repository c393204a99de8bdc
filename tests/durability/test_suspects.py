"""Suspects: the messages that may have killed an earlier process, handled one at a time after an unclean start."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actorkit import DeadLetterReason, MemoryStore, SupervisorSpec, child, in_port, open_system, supervisor
from tests.durability.shop import Item, Keeper, Script, killed, messages, names
from tests.durability.stores import Failing


class Tills(Keeper):
    """Its messages wait for the commit of others."""

    @in_port(durable=True, commit_every=(1_000, 3.0))
    def in_slow(self, item: Item) -> None:
        self.names.append(item.name)


class Asker(Keeper):
    """Asks another one, which has messages of its own."""

    @in_port(durable=True)
    async def in_question(self, item: Item) -> None:
        await self.system.ref("root/top/b", Keeper).ask(Keeper.in_item, item, timeout=None)
        self.names.append(item.name)


def two(script: Script) -> SupervisorSpec:
    """Two keepers."""
    return supervisor(child(Keeper, script).options(name="a", shutdown=0.1), child(Keeper, script).options(name="b"), name="top")


async def left_with(*items: str) -> MemoryStore:
    """What is left when the process is killed while these wait, at the keepers that their first letters name."""
    store = MemoryStore()
    async with open_system(two(Script(gate=trio.Event())), store=store) as system:
        for each in items:
            await system.ref(f"root/top/{each[0]}", Keeper).send(Keeper.in_item, Item(each))
        left = killed(store)
        await system.supervisor("root/top").stop_child("a")
        await system.supervisor("root/top").stop_child("b")
    return left


@pytest.mark.parametrize("deletes", [False, True])
async def test_a_suspect_whose_actor_is_stopped_does_not_hold_up_the_others(deletes: bool) -> None:
    left, script = await left_with("a1", "a2", "b1", "b2"), Script(waits={"a1": 1_000.0})

    async with open_system(two(script), store=left) as system:
        await trio.sleep(0.1)
        assert script.seen == ["a1"]
        await system.supervisor("root/top").stop_child("a")
        if deletes:
            await system.supervisor("root/top").delete_child("a")
        with trio.fail_after(60):
            await system.settle()

        assert await names(system, "root/top/b") == ["b1", "b2"]
        system.ledger().check()


async def test_a_suspect_that_takes_long_does_not_hold_up_the_others_for_long() -> None:
    left, script = await left_with("a1", "a2", "b1", "b2"), Script(waits={"a1": 1_000.0})

    async with open_system(two(script), store=left) as system:
        await trio.sleep(1)

        assert await names(system, "root/top/b") == ["b1", "b2"]
        await system.wait()
        assert await names(system, "root/top/a") == ["a1", "a2"]


async def test_a_suspect_may_ask_an_actor_that_has_suspects() -> None:
    store, gate = MemoryStore(), Script(gate=trio.Event())
    tree = supervisor(child(Asker).options(name="a"), child(Keeper, gate).options(name="b"), name="top")
    async with open_system(tree, store=store) as system:
        for number in range(5):
            await system.ref("root/top/b", Keeper).send(Keeper.in_item, Item(f"b{number}"))
        await system.ref("root/top/a", Asker).send(Asker.in_question, Item("a"))
        left = killed(store)
        assert gate.gate is not None
        gate.gate.set()
    tree = supervisor(child(Asker).options(name="a"), child(Keeper).options(name="b"), name="top")

    async with open_system(tree, store=left) as system:
        with trio.fail_after(60):
            await system.wait()

        assert await names(system, "root/top/a") == ["a"]
        assert await names(system, "root/top/b") == ["b0", "b1", "b2", "b3", "b4", "a"]


async def test_a_suspect_is_committed_at_once_whatever_commit_every_says() -> None:
    store = MemoryStore()
    async with open_system(child(Tills), store=store) as system:
        for name in "abc":
            await system.ref(Tills).send(Tills.in_slow, Item(name))
        left = killed(store)

    async with open_system(child(Tills), store=left) as system:
        await trio.sleep(0.1)

        assert messages(left) == {}
        assert await names(system, Tills) == ["a", "b", "c"]


async def killed_at(store: MemoryStore, name: str, *, others: Sequence[str] = ()) -> MemoryStore:
    """Runs until this item is handled; what a kill then leaves. The items `others` are sent meanwhile."""
    script = Script(waits={name: 1_000.0})
    left = store
    async with open_system(two(script), store=store) as system:
        await wait_all_tasks_blocked()
        assert name in script.seen
        for each in others:
            await system.ref(f"root/top/{each[0]}", Keeper).send(Keeper.in_item, Item(each))
        left = killed(store)
        for each in "ab":
            await system.supervisor("root/top").stop_child(each)
    return left


async def dead(store: MemoryStore) -> list[tuple[str, DeadLetterReason]]:
    """The dead letters of a run to the end."""
    async with open_system(two(Script()), store=store) as system:
        await system.wait()
        return [(letter.message.name, letter.reason) for letter in await system.dead_letters.inspect()]


async def test_a_message_that_was_claimed_at_three_deaths_is_a_dead_letter() -> None:
    left = await left_with("a1", "a2")
    for _ in range(3):
        left = await killed_at(left, "a1")

    assert await dead(left) == [("a1", DeadLetterReason.CRASHED_PROCESS)]


async def test_two_deaths_are_no_proof() -> None:
    left = await left_with("a1", "a2")
    for _ in range(2):
        left = await killed_at(left, "a1")

    assert await dead(left) == []


async def test_an_earlier_death_at_another_message_saves_nobody() -> None:
    left = await left_with("b1")
    left = await killed_at(left, "b1", others=["a1"])  # from outside; a1 comes before b1 at the next start
    for _ in range(3):
        left = await killed_at(left, "a1")

    assert await dead(left) == [("a1", DeadLetterReason.CRASHED_PROCESS)]


async def test_a_message_that_is_stashed_has_not_killed_anybody() -> None:
    class Stasher(Keeper):
        @in_port(durable=True)
        def in_later(self, item: Item) -> None:
            if item.name == "a":
                self.stash()
            else:
                self.names.append(item.name)

    store = MemoryStore()
    async with open_system(child(Stasher), store=store) as system:
        ref = system.ref(Stasher)
        for name in "abc":
            await ref.send(Stasher.in_later, Item(name))
        left = killed(store)

    async with open_system(child(Stasher), store=left) as system:
        await trio.sleep(0.1)

        assert await names(system, Stasher) == ["b", "c"]


@pytest.mark.parametrize("deaths", [0, 1])
async def test_suspects_are_handled_while_the_disk_is_full(deaths: int) -> None:
    left = await left_with("a1", "a2", "b1")
    for _ in range(deaths):
        left = await killed_at(left, "a1")
    full = Failing(left, lambda _: None)
    full.is_full = lambda: True

    with trio.fail_after(60):
        async with open_system(two(Script()), store=full) as system:
            await trio.sleep(5)

            assert await names(system, "root/top/a") == ["a1", "a2"]
            assert await names(system, "root/top/b") == ["b1"]
            assert messages(left) == {}
