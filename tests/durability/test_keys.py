"""Keys: a durable port takes one message with a key, whoever sends it, and however often."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actorkit import MemoryStore, SpecError, StoreBlocked, child, in_port, open_system, supervisor
from tests.durability.shop import Item, Keeper, Script, Sink, Tight, killed, names
from tests.durability.stores import Failing


class Window(Keeper):
    """Remembers two keys."""

    @in_port(durable=True, dedupe_window=2)
    def in_few(self, item: Item) -> None:
        self.names.append(item.name)


class Caller(Keeper):
    """Sends with a key, in its step, and takes its time then."""

    @in_port(durable=True)
    async def in_call(self, item: Item) -> None:
        await self.system.ref(Sink).send(Sink.in_item, item, key="same")
        await self.script.play(item.name)


async def test_a_second_message_with_a_key_is_not_accepted() -> None:
    async with open_system(child(Keeper), store=MemoryStore()) as system:
        ref = system.ref(Keeper)
        for name in ("a", "b", "a"):
            await ref.send(Keeper.in_item, Item(name), key=name)
        await system.wait()

        assert await names(system) == ["a", "b"]
        assert system.ledger().accepted == 2 + 1  # the question for the names


async def test_a_key_is_remembered_after_a_kill_and_after_an_end_in_order() -> None:
    store = MemoryStore()
    async with open_system(child(Keeper), store=store) as system:
        await system.ref(Keeper).send(Keeper.in_item, Item("a"), key="a")
        await system.wait()
        left = killed(store)

    for each in (left, store):
        async with open_system(child(Keeper), store=each) as system:
            await system.ref(Keeper).send(Keeper.in_item, Item("a"), key="a")
            await system.ref(Keeper).send(Keeper.in_item, Item("b"), key="b")
            await system.wait()
            assert await names(system) == ["a", "b"]


async def test_only_the_last_keys_of_the_window_are_remembered() -> None:
    store, found = MemoryStore(), list[str]()
    for sent in ("abca", "bcab"):  # of three in turn, none is among the last two
        async with open_system(child(Window), store=store) as system:
            for name in sent:
                await system.ref(Window).send(Window.in_few, Item(name), key=name)
            await system.wait()
            found = await names(system, Window)

    assert "".join(found) == "abca" + "bcab"
    store.open()
    assert len(store.scan("key root/supervisor/window.in_few")) == 2


async def test_a_key_within_the_window_is_remembered_by_the_next_run() -> None:
    store, found = MemoryStore(), list[str]()
    for sent in ("abc", "cbcd"):
        async with open_system(child(Window), store=store) as system:
            for name in sent:
                await system.ref(Window).send(Window.in_few, Item(name), key=name)
            await system.wait()
            found = await names(system, Window)

    assert "".join(found) == "abcd"


async def test_one_of_several_that_wait_for_room_with_the_same_key_comes_in() -> None:
    script = Script(gate=trio.Event())
    async with open_system(child(Tight, script), store=MemoryStore()) as system:
        ref = system.ref(Tight)
        for name in "ab":
            await ref.send(Tight.in_tight, Item(name))
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(partial(ref.send, Tight.in_tight, Item("k"), key="k"))
            nursery.start_soon(partial(ref.send, Tight.in_tight, Item("l"), key="l"))
            await wait_all_tasks_blocked()
            assert script.gate is not None
            script.gate.set()
        await system.wait()

        assert sorted(await names(system, Tight)) == ["a", "b", "k", "l"]


async def test_one_of_two_steps_that_send_the_same_key_at_the_same_time_has_it() -> None:
    script = Script(waits={"x": 1.0, "y": 2.0})
    tree = supervisor(child(Caller, script).options(name="a"), child(Caller, script).options(name="b"), child(Sink), name="top")
    async with open_system(tree, store=MemoryStore()) as system:
        await system.ref("root/top/a", Caller).send(Caller.in_call, Item("x"))
        await system.ref("root/top/b", Caller).send(Caller.in_call, Item("y"))
        await system.wait()

        assert await names(system, Sink) == ["x"]
        system.ledger().check()


async def test_a_key_whose_sender_was_cancelled_before_it_came_in_is_free() -> None:
    script = Script(gate=trio.Event())
    async with open_system(child(Tight, script), store=MemoryStore()) as system:
        ref = system.ref(Tight)
        for name in "ab":
            await ref.send(Tight.in_tight, Item(name))
        with trio.move_on_after(1) as scope:
            await ref.send(Tight.in_tight, Item("k"), key="k")
        assert scope.cancelled_caught
        assert script.gate is not None
        script.gate.set()
        await ref.send(Tight.in_tight, Item("k"), key="k")
        await system.wait()

        assert await names(system, Tight) == ["a", "b", "k"]


async def test_a_key_whose_message_is_withdrawn_while_it_is_written_is_free() -> None:
    full = True
    store = Failing(MemoryStore(), lambda _: StoreBlocked("no room") if full else None)
    async with open_system(child(Keeper), store=store) as system:
        ref = system.ref(Keeper)
        with trio.move_on_after(1) as scope:
            await ref.send(Keeper.in_item, Item("k"), key="k")
        assert scope.cancelled_caught
        full = False
        await ref.send(Keeper.in_item, Item("k"), key="k")
        await ref.send(Keeper.in_item, Item("k"), key="k")
        await system.wait()

        assert await names(system) == ["k"]


async def test_a_message_that_a_step_has_relied_on_is_not_withdrawn() -> None:
    full = False
    store = Failing(MemoryStore(), lambda _: StoreBlocked("no room") if full else None)
    script = Script(waits={"x": 1.0})
    tree = supervisor(child(Caller, script), child(Sink), name="top")
    async with open_system(tree, store=store) as system:
        await system.ref(Caller).send(Caller.in_call, Item("x"))
        await trio.sleep(0.5)
        full = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(system.ref(Sink).send, Sink.in_item, Item("other"), key="same"))
            await trio.sleep(1)  # the step ends, and leaves its own message out
            nursery.cancel_scope.cancel()
            full = False
        await system.wait()

        assert await names(system, Sink) == ["other"]


@pytest.mark.parametrize("is_killed", [False, True])
async def test_the_key_of_a_message_to_an_actor_that_is_stopped_is_remembered(is_killed: bool) -> None:
    store = MemoryStore()
    tree = supervisor(child(Keeper), name="top")
    async with open_system(tree, store=store) as system:
        ref, top = system.ref(Keeper), system.supervisor("root/top")
        await top.stop_child("keeper")
        for _ in range(2):
            await ref.send(Keeper.in_item, Item("k"), key="k")
        left = killed(store)
        assert [letter.message.name for letter in await system.dead_letters.inspect()] == ["k"]
        await top.restart_child("keeper")
        await ref.send(Keeper.in_item, Item("k"), key="k")
        assert await system.dead_letters.reprocess() == 1
        await system.settle()
        assert await names(system) == ["k"]
        system.ledger().check()

    async with open_system(tree, store=left if is_killed else store) as system:
        await system.ref(Keeper).send(Keeper.in_item, Item("k"), key="k")
        await system.dead_letters.reprocess()
        await system.settle()
        assert await names(system) == ["k"]


@pytest.mark.parametrize("stops", [False, True])
async def test_the_key_of_a_message_that_gives_up_waiting_for_room_is_remembered(stops: bool) -> None:
    class Hasty(Keeper):
        @in_port(durable=True, capacity=1, block_timeout=None if stops else 1.0)
        async def in_tight(self, item: Item) -> None:
            await self.script.play(item.name)
            self.names.append(item.name)

    script = Script(gate=trio.Event())
    tree = supervisor(child(Hasty, script).options(shutdown=1.0), name="top")
    async with open_system(tree, store=MemoryStore()) as system:
        ref = system.ref(Hasty)
        for name in "ab":
            await ref.send(Hasty.in_tight, Item(name))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(ref.send, Hasty.in_tight, Item("k"), key="k"))
            await wait_all_tasks_blocked()
            if stops:
                await system.supervisor("root/top").stop_child("hasty")
        await ref.send(Hasty.in_tight, Item("k"), key="k")
        assert [letter.message.name for letter in await system.dead_letters.inspect()] == ["k"]
        assert script.gate is not None
        script.gate.set()
        if stops:
            await system.supervisor("root/top").restart_child("hasty")
        await system.dead_letters.reprocess()
        await system.settle()

        assert await names(system, Hasty) == ["a", "b", "k"]
        system.ledger().check()


async def test_a_port_that_is_not_durable_takes_no_key() -> None:
    async with open_system(child(Keeper), store=MemoryStore()) as system:
        with pytest.raises(SpecError, match="only durable ports remember keys"):
            await system.ref(Keeper).send(Keeper.in_names, None, key="a")
